//! Reading the table: a streaming cursor with its own socket and one buffer.

use std::fmt;
use std::fs;
use std::ops::Range;

use netlink_packet_core::NLM_F_DUMP_INTR;

use super::cancel::Cancellers;
use crate::error::{Error, Operation, Result};
use crate::filter::Filter;
use crate::filter::kernel_part::KernelPart;
use crate::filter::plan::DumpPlan;
use crate::model::flow::{Flow, FlowRef, Index};
use crate::request::{entry, filter as request};
use crate::transport::answer::Answer;
use crate::transport::socket::{Socket, first_sequence, receive_buffer};
use crate::wire::Messages;

/// What a dump reads.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Source {
    /// The table, filtered in the kernel by this part.
    Table(KernelPart),
    /// The whole table; the kernel zeroes the counters it has read.
    TableAndZero,
    /// The entries whose destroy event is still to be delivered.
    Dying,
}

/// Whether the pass at `at` reports an entry.
///
/// Several passes can bring the same entry, and where the kernel ignores the filter every pass
/// does, but it must be reported once: by the first pass whose kernel part covers it. A pass that
/// is alone reports everything it brings, because no other pass could report it.
fn reported_by(passes: &[Source], at: usize, flow: &FlowRef<'_>) -> bool {
    let is_about = |pass: &Source| match pass {
        Source::Table(part) => part.covers(flow),
        Source::TableAndZero | Source::Dying => true,
    };
    passes.len() == 1
        || (passes.get(at).is_some_and(is_about) && !passes.iter().take(at).any(is_about))
}

const BUCKETS_FILE: &str = "/proc/sys/net/netfilter/nf_conntrack_buckets";

/// The size of the kernel's hash table. It can be read in every namespace; without `/proc` nobody
/// knows, and nothing is compared.
fn buckets() -> Option<u64> {
    fs::read_to_string(BUCKETS_FILE).ok()?.trim().parse().ok()
}

/// A running dump. Made by [`Conntrack::dump`](crate::Conntrack::dump).
///
/// [`next`](Dump::next) lends one entry at a time out of the receive buffer; memory does not
/// depend on the size of the table. To get owned values, iterate over the dump ([`IntoIterator`]
/// yields `Result<Flow>`).
///
/// A dump is not a snapshot. An entry that exists during the whole dump is reported at least once.
/// An entry that is inserted during the dump may be missing, and after a removal another may be
/// reported twice. Resizing the kernel's hash table (`nf_conntrack_buckets`) can hide entries:
/// if its size has changed at the end, the dump ends with
/// [`DumpInterrupted`](crate::Error::DumpInterrupted).
///
/// Dropping a dump ends it.
///
/// ```no_run
/// # fn f() -> ctnetlink::Result<()> {
/// let ct = ctnetlink::Conntrack::open()?;
/// let mut dump = ct.dump(None)?;
/// while let Some(flow) = dump.next()? {
///     println!("{flow}");
/// }
/// println!("{} entries", dump.received());
/// # Ok(()) }
/// ```
pub struct Dump {
    socket: Socket,
    /// End the dump early; looked at before each datagram.
    cancellers: Cancellers,
    buffer: Vec<u8>,
    /// Offset of the next message in the buffer.
    offset: usize,
    filter: Option<Filter>,
    passes: Vec<Source>,
    /// How many of the passes were started; the last of them is under way.
    started: usize,
    pushdown: String,
    sequence: u32,
    received: u64,
    interrupted: bool,
    finished: bool,
    /// Reads the size of the kernel's hash table, and what it was at the start. A dump during which
    /// it changes can miss entries, and the kernel sets no flag (docs/kernel-interface.md, 6.3).
    buckets: fn() -> Option<u64>,
    buckets_at_start: Option<u64>,
    /// The index of the last entry. It is kept here because moving it through the results of
    /// functions costs as much as building it.
    index: Option<Index>,
}

impl Dump {
    /// Starts a dump of what the filter matches, by its plan.
    pub(crate) fn start(
        socket: Socket,
        cancellers: Cancellers,
        filter: Option<&Filter>,
        plan: DumpPlan,
    ) -> Result<Dump> {
        let pushdown = plan.passes.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
        let passes = plan.passes.into_iter().map(Source::Table).collect();
        let filter = filter.map(Filter::cheapest_first);
        Dump::run(socket, cancellers, passes, filter, pushdown, buckets)
    }

    /// Starts an unfiltered dump of a source.
    pub(crate) fn of(socket: Socket, cancellers: Cancellers, source: Source) -> Result<Dump> {
        Dump::run(socket, cancellers, vec![source], None, String::new(), buckets)
    }

    /// Sends the first request and waits for the first answer, so that a refusal shows here.
    fn run(
        socket: Socket,
        cancellers: Cancellers,
        passes: Vec<Source>,
        filter: Option<Filter>,
        pushdown: String,
        buckets: fn() -> Option<u64>,
    ) -> Result<Dump> {
        let mut dump = Dump {
            socket,
            cancellers,
            buffer: receive_buffer(Operation::Dump)?,
            offset: 0,
            filter,
            passes,
            started: 0,
            pushdown,
            sequence: first_sequence(),
            received: 0,
            interrupted: false,
            finished: false,
            buckets,
            buckets_at_start: buckets(),
            index: None,
        };
        dump.send_next()?;
        dump.receive()?;
        let first = Messages::new(&dump.buffer).next().and_then(Result::ok);
        match first.map(|first| Answer::of(Operation::Dump, first)) {
            Some(Answer::Error(error)) => Err(error),
            _ => Ok(dump),
        }
    }

    /// The next entry that matches the filter; `None` at the end.
    ///
    /// # Errors
    ///
    /// Whatever makes the result incomplete: a datagram that was cut or lost, a dump that does not
    /// reach its end, an entry that cannot be read. After an error the dump is over.
    #[inline]
    #[allow(clippy::should_implement_trait)] // lends from self, which Iterator cannot
    pub fn next(&mut self) -> Result<Option<FlowRef<'_>>> {
        loop {
            match self.advance()? {
                Found::Entry(range) => return Ok(self.lend(range)),
                Found::Datagram => {}
                Found::End => return Ok(None),
            }
        }
    }

    /// Like [`next`](Dump::next), but returns after every datagram, even if nothing in it matches, so
    /// that the caller can do something else in between: show progress, look at a signal.
    ///
    /// # Errors
    ///
    /// As [`next`](Dump::next).
    ///
    /// ```no_run
    /// # fn f(mut dump: ctnetlink::Dump) -> ctnetlink::Result<()> {
    /// use ctnetlink::Step;
    /// loop {
    ///     match dump.step()? {
    ///         Step::Entry(flow) => println!("{flow}"),
    ///         Step::Datagram => eprint!("."),
    ///         Step::End => break,
    ///     }
    /// }
    /// # Ok(()) }
    /// ```
    pub fn step(&mut self) -> Result<Step<'_>> {
        Ok(match self.advance()? {
            Found::Entry(range) => self.lend(range).map_or(Step::End, Step::Entry),
            Found::Datagram => Step::Datagram,
            Found::End => Step::End,
        })
    }

    fn lend(&self, range: Range<usize>) -> Option<FlowRef<'_>> {
        let payload = &self.buffer[range];
        self.index.as_ref().map(|index| FlowRef::from_index(payload, *index))
    }

    /// Reads to the end and returns how many entries matched.
    ///
    /// # Errors
    ///
    /// As [`next`](Dump::next).
    pub fn count(mut self) -> Result<u64> {
        let mut count = 0;
        while self.next()?.is_some() {
            count += 1;
        }
        Ok(count)
    }

    /// How many entries the kernel has sent so far, matching or not.
    pub fn received(&self) -> u64 {
        self.received
    }

    /// What the kernel was asked to filter by, in the words of the filter, with `; ` between
    /// requests. Empty if it filters nothing. Every entry is matched again here in any case.
    pub fn pushdown(&self) -> &str {
        &self.pushdown
    }

    /// Finds the next entry and returns its place in the buffer. The caller lends it, because a
    /// borrow that is returned from inside a loop would last through the whole loop.
    fn advance(&mut self) -> Result<Found> {
        let found = self.find();
        self.finished |= found.is_err();
        found
    }

    fn find(&mut self) -> Result<Found> {
        let decode = |source| Error::decode(Operation::Dump, source);
        while !self.finished {
            let mut messages = Messages::resume(&self.buffer, self.offset);
            let Some(message) = messages.next() else {
                self.receive()?;
                return Ok(Found::Datagram);
            };
            let message = message.map_err(decode)?;
            self.offset = messages.offset();
            if message.sequence != self.sequence {
                continue;
            }
            self.interrupted |= message.flags & NLM_F_DUMP_INTR != 0;
            match Answer::of(Operation::Dump, message) {
                Answer::Data(message) => {
                    self.received += 1;
                    let index = self.index.insert(Index::parse(message.payload).map_err(decode)?);
                    let flow = FlowRef::from_index(message.payload, *index);
                    if self.filter.as_ref().is_none_or(|filter| filter.matches(&flow))
                        && reported_by(&self.passes, self.started - 1, &flow)
                    {
                        let start = message.payload_offset;
                        return Ok(Found::Entry(start..start + message.payload.len()));
                    }
                }
                Answer::Done if self.interrupted => return Err(Error::DumpInterrupted),
                Answer::Done => {
                    let sizes = self.buckets_at_start.zip((self.buckets)());
                    if sizes.is_some_and(|(start, end)| start != end) {
                        return Err(Error::DumpInterrupted);
                    }
                    self.send_next()?;
                }
                Answer::Error(error) => return Err(error),
                Answer::Ack | Answer::Noise => {}
            }
        }
        Ok(Found::End)
    }

    /// Sends the request of the next pass; after the last pass the dump is finished.
    fn send_next(&mut self) -> Result<()> {
        match self.passes.get(self.started) {
            Some(source) => {
                // A request that zeroes has done so even if nobody reads the answer.
                self.cancellers.check(Operation::Dump)?;
                self.started += 1;
                self.sequence = self.sequence.wrapping_add(1).max(1);
                let request = match source {
                    Source::Table(part) => request::dump(self.sequence, part),
                    Source::TableAndZero => entry::dump_and_zero(self.sequence),
                    Source::Dying => entry::dying(self.sequence),
                };
                self.socket.send(Operation::Dump, &request)
            }
            None => {
                self.finished = true;
                Ok(())
            }
        }
    }

    fn receive(&mut self) -> Result<()> {
        self.cancellers.check(Operation::Dump)?;
        self.offset = 0;
        self.socket.receive(Operation::Dump, &mut self.buffer)
    }
}

/// The result of [`Dump::step`].
#[derive(Debug)]
pub enum Step<'d> {
    /// The next entry that matches.
    Entry(FlowRef<'d>),
    /// Another datagram has come, or has been read to its end.
    Datagram,
    /// There are no more.
    End,
}

/// The result of [`Dump::advance`]: a [`Step`] with the place of the entry instead of a borrow.
enum Found {
    Entry(Range<usize>),
    Datagram,
    End,
}

impl fmt::Debug for Dump {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dump")
            .field("filter", &self.filter.as_ref().map(ToString::to_string))
            .field("received", &self.received)
            .field("finished", &self.finished)
            .finish_non_exhaustive()
    }
}

impl IntoIterator for Dump {
    type Item = Result<Flow>;
    type IntoIter = Flows;

    fn into_iter(self) -> Flows {
        Flows(self)
    }
}

/// An iterator over the entries of a [`Dump`] as owned values. It ends after an error.
///
/// ```no_run
/// # fn f(ct: &ctnetlink::Conntrack) -> ctnetlink::Result<()> {
/// let flows = ct.dump(None)?.into_iter().collect::<ctnetlink::Result<Vec<_>>>()?;
/// println!("{} entries in memory", flows.len());
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct Flows(Dump);

impl Flows {
    /// The dump that is iterated over, for figures such as [`Dump::received`].
    pub fn dump(&self) -> &Dump {
        &self.0
    }
}

impl Iterator for Flows {
    type Item = Result<Flow>;

    fn next(&mut self) -> Option<Result<Flow>> {
        self.0.next().map(|flow| flow.map(|flow| flow.to_owned())).transpose()
    }
}

#[cfg(test)]
#[cfg(target_endian = "little")]
mod tests {
    use super::*;
    use crate::model::capability::Trusts;
    use crate::model::sample::Sample;

    /// A resize of the hash table in the middle can hide entries, and the kernel says nothing.
    #[test]
    fn a_dump_during_a_resize_is_interrupted() {
        use std::sync::atomic::{AtomicU64, Ordering};
        static READS: AtomicU64 = AtomicU64::new(0);
        ctnetlink_testbed::netns::in_netns(|| {
            let passes = || vec![Source::Dying];
            let open = || Socket::open().unwrap();
            let steady =
                Dump::run(open(), Cancellers::default(), passes(), None, String::new(), || Some(1))
                    .unwrap();
            assert_eq!(steady.count().unwrap(), 0);
            let resized = || Some(READS.fetch_add(1, Ordering::Relaxed));
            let resized =
                Dump::run(open(), Cancellers::default(), passes(), None, String::new(), resized)
                    .unwrap();
            let error = resized.count().unwrap_err();
            assert!(matches!(error, Error::DumpInterrupted), "{error}");
            assert!(error.is_incomplete());
            assert!(buckets().is_some_and(|buckets| buckets > 0), "{BUCKETS_FILE}");
        });
    }

    /// A lost part of the table is an error, and not a shorter table.
    #[test]
    fn a_lost_datagram_is_an_overrun() {
        ctnetlink_testbed::netns::in_netns(|| {
            let socket = Socket::open().unwrap();
            socket.overflow();
            let error =
                Dump::of(socket, Cancellers::default(), Source::Dying).map(|_| ()).unwrap_err();
            assert!(matches!(error, Error::Overrun { operation: Operation::Dump }), "{error}");
            assert!(error.is_incomplete());
        });
    }

    /// A kernel before 5.8 ignores the filter: each pass brings everything.
    #[test]
    fn an_entry_every_pass_brings_is_reported_once() {
        for (text, passes, matching) in [
            ("ip and tcp and orig dst port in {80, 443}", 2, 2),
            ("udp or sctp and orig dst 10.0.0.9", 3, 1),
            ("ip and (orig src 10.0.0.1 or orig dst 10.0.0.9)", 2, 3),
            ("udp", 2, 1),
        ] {
            let filter: Filter = text.parse().unwrap();
            let plan = filter.plan(&Trusts::UNTESTED).unwrap();
            let sources: Vec<_> = plan.passes.into_iter().map(Source::Table).collect();
            assert_eq!(sources.len(), passes, "{text}");
            let of = |protocol, port| {
                let sample = Sample::udp(&format!("10.0.0.9:{port}"), "10.0.0.8:1");
                sample.protocol(protocol).flow()
            };
            use crate::model::protocol::Protocol as P;
            let table = [of(P::TCP, 80), of(P::TCP, 443), of(P::UDP, 80)];
            let matched = table.iter().filter(|flow| filter.matches(flow));
            let reported = matched.map(|flow| {
                (0..sources.len()).filter(|at| reported_by(&sources, *at, &flow.as_ref())).count()
            });
            assert_eq!(reported.collect::<Vec<_>>(), vec![1; matching], "{text}");
        }
    }
}
