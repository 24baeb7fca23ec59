//! Deleting by filter.

use std::fmt;
use std::time::{Duration, Instant};

use super::Conntrack;
use super::batch::Outcome;
use super::sweep::{Sweeper, sweep};
use super::tally::{Failure, Tally, failure_lines};
use crate::error::{Error, Operation, Result};
use crate::filter::Filter;
use crate::filter::kernel_part::KernelPart;
use crate::model::flow::FlowRef;
use crate::request::filter as request;

impl Conntrack {
    /// Deletes the entries a filter matches, once it is [run](DeleteMatching::run).
    ///
    /// Which entries match is decided here, on each entry as it was dumped; each match is then
    /// deleted by reply tuple, zone and id. So no kernel can make it delete more than the filter
    /// says, and an entry that was re-created toward another backend in the meantime is not
    /// touched. What can change between dump and delete (mark, status, state, timeout, counters) is
    /// matched as it was in the dump.
    ///
    /// ```no_run
    /// # fn f(ct: &ctnetlink::Conntrack) -> ctnetlink::Result<()> {
    /// let dead = "udp and orig dst port 53 and reply src 10.244.1.5".parse()?;
    /// let would = ct.delete_matching(&dead).dry_run(true).run()?;
    /// println!("{} entries", would.matched);
    /// let report = ct.delete_matching(&dead).run()?;
    /// println!("{report}");
    /// # Ok(()) }
    /// ```
    pub fn delete_matching<'a>(&'a self, filter: &'a Filter) -> DeleteMatching<'a> {
        DeleteMatching { ct: self, filter, dry_run: false, each: None }
    }
}

type OnMatch<'a> = dyn FnMut(&FlowRef<'_>) + 'a;

/// A delete by filter that has not started yet. Made by [`Conntrack::delete_matching`].
///
/// ```no_run
/// # fn f(ct: &ctnetlink::Conntrack) -> ctnetlink::Result<()> {
/// let dead = "udp and reply src 10.244.1.5".parse()?;
/// let report = ct
///     .delete_matching(&dead)
///     .dry_run(true)
///     .on_match(|flow| println!("would delete {flow}"))
///     .run()?;
/// println!("{} entries", report.matched);
/// # Ok(()) }
/// ```
#[must_use = "nothing is deleted until run() or in_kernel() is called"]
pub struct DeleteMatching<'a> {
    ct: &'a Conntrack,
    filter: &'a Filter,
    dry_run: bool,
    each: Option<Box<OnMatch<'a>>>,
}

impl<'a> DeleteMatching<'a> {
    /// With `true`, counts what matches and deletes nothing.
    pub fn dry_run(mut self, dry_run: bool) -> Self {
        self.dry_run = dry_run;
        self
    }

    /// Calls back with each entry that matches, before it is deleted. The callback may use the
    /// handle.
    pub fn on_match(mut self, each: impl FnMut(&FlowRef<'_>) + 'a) -> Self {
        self.each = Some(Box::new(each));
        self
    }

    /// Streams the table once and deletes what matches, 200 to a datagram, in constant memory.
    ///
    /// # Errors
    ///
    /// An invalid filter, or a dump that could not be started; nothing was deleted then. Errors
    /// that occur later are in the report.
    pub fn run(self) -> Result<DeleteReport> {
        let started = Instant::now();
        let dump = self.ct.dump(self.filter)?;
        let pushdown = dump.pushdown().to_owned();
        let mut run = Run { received: 0, matched: 0, tally: Tally::default(), each: self.each };
        let error = sweep(self.ct, dump, !self.dry_run, &mut run).err();
        let Run { received, matched, tally, .. } = run;
        let Tally { deleted, already_gone, unknown, failed, failures } = tally;
        Ok(DeleteReport {
            filter: self.filter.to_string(),
            dry_run: self.dry_run,
            pushdown,
            received,
            matched,
            deleted,
            already_gone,
            unknown,
            failed,
            failures,
            error,
            elapsed: started.elapsed(),
        })
    }

    /// Lets the kernel delete what matches, in one filtered flush for each affected family. The
    /// kernel judges each entry under its lock, as it is at that moment. Nothing is counted,
    /// because the kernel does not report a count. Entries inserted during the flush may survive.
    /// This needs Linux 6.12.
    ///
    /// It works only if the whole filter can be expressed in kernel criteria and they are
    /// proved on this kernel; [`Filter::explain`] tells in advance. The request is
    /// made so that a kernel which ignores the filter refuses it and deletes nothing.
    ///
    /// The first flush of each shape (which fields it compares) is proved before that, in a scratch
    /// namespace, unless the handle has [probed](Conntrack::capabilities) or was
    /// [told](Conntrack::use_capabilities).
    ///
    /// # Errors
    ///
    /// A filter that cannot be left to this kernel, with the reason; a
    /// [`dry_run`](DeleteMatching::dry_run) or an [`on_match`](DeleteMatching::on_match). Nothing
    /// was sent then. If the kernel refuses the flush of the second family, the error says that the
    /// first is done.
    pub fn in_kernel(self) -> Result<()> {
        if self.dry_run || self.each.is_some() {
            return Err(Error::Invalid(
                "delete in the kernel: it cannot count or show entries; run() can do both".into(),
            ));
        }
        let parts = self.ct.proofs.flush_plan(self.filter)?;
        // All requests are built before the first is sent.
        let requests = parts.iter().map(request::flush).collect::<Result<Vec<_>>>()?;
        for (at, request) in requests.into_iter().enumerate() {
            self.ct.act(Operation::Flush, request).map_err(|error| after(&parts[..at], error))?;
        }
        Ok(())
    }
}

/// The error of a flush, with what was flushed before.
fn after(done: &[KernelPart], error: Error) -> Error {
    match (done, error) {
        ([first, ..], Error::Kernel { operation, errno, message, offset }) => {
            let done = format!("\"{first}\" is flushed already");
            let message = message.map_or(done.clone(), |message| format!("{message}; {done}"));
            Error::Kernel { operation, errno, message: Some(message), offset }
        }
        (_, error) => error,
    }
}

impl fmt::Debug for DeleteMatching<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeleteMatching")
            .field("filter", &self.filter.to_string())
            .field("dry_run", &self.dry_run)
            .finish_non_exhaustive()
    }
}

/// The result of a [delete by filter](Conntrack::delete_matching). `Display` is for people.
///
/// ```no_run
/// # fn f(ct: &ctnetlink::Conntrack) -> ctnetlink::Result<()> {
/// let report = ct.delete_matching(&"udp and reply src 10.244.1.5".parse()?).run()?;
/// if !report.succeeded() {
///     eprintln!("{report}");
/// }
/// # Ok(()) }
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub struct DeleteReport {
    /// The filter.
    pub filter: String,
    /// Nothing was deleted; `matched` says what would have been.
    pub dry_run: bool,
    /// What the kernel filtered by, in the words of the filter; empty if it filtered nothing.
    pub pushdown: String,
    /// Entries that the kernel sent, matching or not.
    pub received: u64,
    /// Entries that matched: `deleted + already_gone + unknown + failed`, unless it is a dry run.
    /// An entry that the dump of a changing table contains twice counts twice.
    pub matched: u64,
    /// Deleted.
    pub deleted: u64,
    /// Gone, or replaced by an entry with another reply tuple, before the delete arrived. After an
    /// overrun of the receive buffer (impossible with the default size), this includes our own
    /// deletes whose answer was lost.
    pub already_gone: u64,
    /// The answer was lost, and asking again gave none either. Deletes are asked again, so this is
    /// 0 unless something is wrong with the socket.
    pub unknown: u64,
    /// Deletes that did not succeed.
    pub failed: u64,
    /// Why deletes failed: the first few different reasons, each with its count.
    pub failures: Vec<Failure>,
    /// The error that ended the walk early. Entries that matched before it were dealt with.
    pub error: Option<Error>,
    /// Wall time.
    pub elapsed: Duration,
}

impl DeleteReport {
    /// Whether the walk reached its end, no delete failed, and the outcome of each delete is known.
    pub fn succeeded(&self) -> bool {
        self.failed == 0 && self.unknown == 0 && self.error.is_none()
    }
}

impl fmt::Display for DeleteReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let dry = if self.dry_run { ", dry run: nothing deleted" } else { "" };
        writeln!(f, "delete \"{}\", {:.3} s{dry}", self.filter, self.elapsed.as_secs_f64())?;
        writeln!(f, "  received {}, kernel filter \"{}\"", self.received, self.pushdown)?;
        write!(f, "  matched {}", self.matched)?;
        if !self.dry_run {
            let DeleteReport { deleted, already_gone, failed, .. } = self;
            write!(f, ", deleted {deleted}, already gone {already_gone}, failed {failed}")?;
        }
        if self.unknown > 0 {
            write!(f, ", unknown {}", self.unknown)?;
        }
        for line in failure_lines(self.failed, &self.failures) {
            write!(f, "\n    {line}")?;
        }
        if let Some(error) = &self.error {
            write!(f, "\n  INCOMPLETE: {error}")?;
        }
        Ok(())
    }
}

struct Run<'a> {
    received: u64,
    matched: u64,
    tally: Tally,
    each: Option<Box<OnMatch<'a>>>,
}

impl Sweeper for Run<'_> {
    fn judge(&mut self, flow: &FlowRef<'_>) -> bool {
        self.matched += 1;
        if let Some(each) = &mut self.each {
            each(flow);
        }
        true
    }

    fn received(&mut self, entries: u64) {
        self.received = entries;
    }

    fn deleted(&mut self, outcome: Outcome) {
        self.tally.add(outcome);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::tuple::Family;

    #[test]
    fn a_half_done_flush_says_so() {
        let error = || Error::kernel(Operation::Flush, libc::ENOMEM);
        assert_eq!(after(&[], error()).to_string(), error().to_string());
        let part = KernelPart { family: Some(Family::Ipv4), ..KernelPart::default() };
        let text = after(&[part], error()).to_string();
        assert!(text.ends_with("(ENOMEM, errno 12): \"ip\" is flushed already"), "{text}");
    }
}
