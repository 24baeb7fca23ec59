//! What a run did: figures, and one screen of text.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use crate::conntrack::tally::{Failure, Tally, failure_lines};
use crate::error::Error;
use crate::model::flow::Flow;
use crate::model::tuple::Family;
use crate::reconcile::desired::service::Frontend;
use crate::reconcile::memory::comebacks::ComesBack;
use crate::reconcile::rules::Reason;
use crate::reconcile::scope::Profile;

/// How many groups (by frontend, backend and reason) are shown; more are only counted, so that the
/// report stays on one screen and memory stays constant.
const REMOVALS_SHOWN: usize = 8;
/// Frontends whose entries come back that are shown.
const COMEBACKS_SHOWN: usize = 3;

/// What a run of the [`Reconciler`](crate::Reconciler) found and did.
///
/// `Display` is one screen of text for people.
///
/// ```no_run
/// # fn f(ct: &ctnetlink::Conntrack, desired: &ctnetlink::DesiredState) -> ctnetlink::Result<()> {
/// use ctnetlink::{Profile, Reconciler};
/// let report = Reconciler::new(Profile::Strict).run(ct, desired)?;
/// let deleted: u64 = report.families.iter().map(|family| family.deleted).sum();
/// println!("{deleted} deleted, {}", if report.succeeded() { "ok" } else { "not everything" });
/// # Ok(()) }
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub struct Report {
    /// Whose rules were followed.
    pub profile: Profile,
    /// Nothing was deleted; `stale` says what would have been.
    pub dry_run: bool,
    /// Wall time, including the delay before the re-check.
    pub elapsed: Duration,
    /// False if services have node ports but no node address of their family is known, so that
    /// flows to those ports were left alone.
    pub node_ports_judged: bool,
    /// Nothing that changed since the previous run can have made an entry stale, so nothing was
    /// sent.
    pub nothing_changed: bool,
    /// There is something to do, but the [minimum interval](crate::Reconciler::min_interval) is not
    /// over: nothing was sent, and a later run will do it.
    pub postponed: bool,
    /// How many endpoints are in their [grace time](crate::Reconciler::grace): they do not serve,
    /// and their flows were kept.
    pub in_grace: usize,
    /// Services that were not judged: another proxy's, or not completely known.
    pub unknown_services: usize,
    /// Backends that an [observer](crate::Authority::Observer) cannot judge before there is a newer
    /// state.
    pub in_quarantine: usize,
    /// Entries that come back after they were deleted.
    pub comes_back: Vec<ComesBack>,
    /// IPv4, then IPv6.
    pub families: [FamilyReport; 2],
}

/// One family's part of a [`Report`].
///
/// ```no_run
/// # fn f(report: ctnetlink::Report) {
/// for family in &report.families {
///     println!("{}: {} of {} received", family.family, family.stale, family.received);
///     for failure in &family.failures {
///         eprintln!("{} x {}", failure.count, failure.error);
///     }
/// }
/// # }
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub struct FamilyReport {
    /// The family.
    pub family: Family,
    /// Entries that the kernel sent, stale or not, over all passes.
    pub received: u64,
    /// Stale entries: `deleted + already_gone + unknown + failed`, or in a dry run what would be
    /// deleted. An entry that the dump of a changing table contains twice counts twice.
    pub stale: u64,
    /// Kept because of their zone, which is not looked at: they would be stale or suspect.
    pub other_zones: u64,
    /// Suspect, and kept for now: untranslated and unanswered at an external or load-balancer IP that
    /// is the node's own. The re-check deletes those that are still there. As of the last pass.
    pub suspect: u64,
    /// Kept in quarantine: a newer state decides. As of the pass that met most of them.
    pub quarantined: u64,
    /// Kept because nothing translates there, see [`Report::comes_back`]. As of the pass that met most of
    /// them.
    pub given_up: u64,
    /// Deleted.
    pub deleted: u64,
    /// Gone, or replaced by an entry toward another backend, before the delete arrived. After an
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
    /// Passes over the table: 0 if nothing could be stale, 2 with a re-check in the same run. The
    /// kernel may walk its table several times for one pass, see `pushdown`.
    pub passes: u32,
    /// What the kernel filtered by in the first pass, in the words of the filter; empty without a
    /// pass.
    pub pushdown: String,
    /// Stale entries by reason.
    pub reasons: Reasons,
    /// Where the stale entries pointed: the first few groups that were found.
    pub removals: Vec<Removal>,
    /// The error that ended a pass early. Entries found before it were dealt with.
    pub error: Option<Error>,
    /// The outcomes of the deletes of all passes.
    pub(super) tally: Tally,
    before: Before,
    /// The walk of this pass has begun.
    pub(super) begun: bool,
}

/// Stale entries by reason.
///
/// ```no_run
/// # fn f(report: ctnetlink::Report) {
/// for (reason, count) in report.families[0].reasons.iter() {
///     println!("{}: {count}", reason.name());
/// }
/// # }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Reasons {
    /// [`Reason::BackendGone`].
    pub backend_gone: u64,
    /// [`Reason::BackendPortChanged`].
    pub backend_port_changed: u64,
    /// [`Reason::NotTranslated`].
    pub not_translated: u64,
    /// [`Reason::FrontendRemoved`].
    pub frontend_removed: u64,
}

/// A group of stale entries that differ in the client only.
///
/// ```no_run
/// # fn f(report: ctnetlink::Report) {
/// for removal in &report.families[0].removals {
///     println!("{} -> {}: {} ({})", removal.frontend, removal.backend, removal.count, removal.reason);
/// }
/// # }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Removal {
    /// What the clients dialled.
    pub frontend: Frontend,
    /// The backend the entries led to.
    pub backend: SocketAddr,
    /// Why the entries are stale.
    pub reason: Reason,
    /// How many entries.
    pub count: u64,
}

impl Report {
    /// Whether nothing failed: every pass reached its end, no delete was refused, and the outcome
    /// of each delete is known. A [postponed](Report::postponed) run, which has done nothing yet,
    /// counts as succeeded.
    pub fn succeeded(&self) -> bool {
        let done = |f: &FamilyReport| f.failed == 0 && f.unknown == 0 && f.error.is_none();
        self.families.iter().all(done)
    }
}

impl Reasons {
    /// The number of stale entries, for all reasons together.
    pub fn total(&self) -> u64 {
        self.iter().map(|(_, count)| count).sum()
    }

    /// Each reason with its count.
    pub fn iter(&self) -> impl Iterator<Item = (Reason, u64)> {
        [
            (Reason::BackendGone, self.backend_gone),
            (Reason::BackendPortChanged, self.backend_port_changed),
            (Reason::NotTranslated, self.not_translated),
            (Reason::FrontendRemoved, self.frontend_removed),
        ]
        .into_iter()
    }

    fn add(&mut self, reason: Reason) {
        *match reason {
            Reason::BackendGone => &mut self.backend_gone,
            Reason::BackendPortChanged => &mut self.backend_port_changed,
            Reason::NotTranslated => &mut self.not_translated,
            Reason::FrontendRemoved => &mut self.frontend_removed,
        } += 1;
    }
}

/// What the passes before the current one have counted.
#[derive(Debug, Clone, Default)]
struct Before {
    other_zones: u64,
    quarantined: u64,
    given_up: u64,
    reasons: Reasons,
    removals: Vec<Removal>,
}

impl FamilyReport {
    pub(super) fn new(family: Family) -> Self {
        FamilyReport {
            family,
            received: 0,
            stale: 0,
            other_zones: 0,
            suspect: 0,
            quarantined: 0,
            given_up: 0,
            deleted: 0,
            already_gone: 0,
            unknown: 0,
            failed: 0,
            failures: Vec::new(),
            passes: 0,
            pushdown: String::new(),
            reasons: Reasons::default(),
            removals: Vec::new(),
            error: None,
            tally: Tally::default(),
            before: Before::default(),
            begun: false,
        }
    }

    /// What the client of an entry dials.
    pub(super) fn frontend_of<B: AsRef<[u8]>>(flow: &Flow<B>) -> Frontend {
        let orig = flow.orig().destination();
        Frontend::new(orig.ip(), orig.port(), flow.protocol())
    }

    /// Begins a pass. What is kept is counted in each pass, and the largest number is reported: the
    /// first pass sees more of it than a narrow one. Only of suspects the last number counts.
    pub(super) fn begin_pass(&mut self) {
        self.passes += 1;
        self.begun = false;
        let before = &self.before;
        self.before = Before {
            other_zones: self.other_zones.max(before.other_zones),
            quarantined: self.quarantined.max(before.quarantined),
            given_up: self.given_up.max(before.given_up),
            reasons: self.reasons,
            removals: self.removals.clone(),
        };
        self.count_again(false);
    }

    /// A pass walks again: what the walk has counted does not count, except what it has deleted, of
    /// which a dry run has none.
    pub(super) fn count_again(&mut self, dry_run: bool) {
        (self.suspect, self.quarantined, self.given_up, self.other_zones) = (0, 0, 0, 0);
        if dry_run {
            self.reasons = self.before.reasons;
            self.removals.clone_from(&self.before.removals);
        }
    }

    /// True if a walk has not begun because the process has no descriptor left; then it can be
    /// tried again.
    pub(super) fn forget_lack_of_descriptors(&mut self) -> bool {
        let lacks = |e: &Error| matches!(e.raw_os_error(), Some(libc::EMFILE | libc::ENFILE));
        let lacks = !self.begun && self.error.as_ref().is_some_and(lacks);
        if lacks {
            self.error = None;
            self.passes -= 1;
        }
        lacks
    }

    pub(super) fn found<B: AsRef<[u8]>>(&mut self, flow: &Flow<B>, reason: Reason) {
        self.reasons.add(reason);
        let frontend = FamilyReport::frontend_of(flow);
        let backend = flow.reply().source();
        let full = self.removals.len() >= REMOVALS_SHOWN;
        let known = self
            .removals
            .iter_mut()
            .find(|r| (r.frontend, r.backend, r.reason) == (frontend, backend, reason));
        match known {
            Some(group) => group.count += 1,
            None if !full => {
                self.removals.push(Removal { frontend, backend, reason, count: 1 });
            }
            None => {}
        }
    }

    /// Brings the figures of the deletes up to date at the end of a pass.
    pub(super) fn close_pass(&mut self, dry_run: bool) {
        let Tally { deleted, already_gone, unknown, failed, failures } = &self.tally;
        self.deleted = *deleted;
        self.already_gone = *already_gone;
        self.unknown = *unknown;
        self.failed = *failed;
        self.failures.clone_from(failures);
        self.other_zones = self.other_zones.max(self.before.other_zones);
        self.quarantined = self.quarantined.max(self.before.quarantined);
        self.given_up = self.given_up.max(self.before.given_up);
        self.stale = if dry_run { self.reasons.total() } else { self.tally.total() };
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let dry = if self.dry_run { ", dry run: nothing deleted" } else { "" };
        writeln!(
            f,
            "reconcile, profile {}, {:.3} s{dry}",
            self.profile,
            self.elapsed.as_secs_f64()
        )?;
        if self.postponed {
            writeln!(f, "  postponed: the minimum interval is not over, nothing sent")?;
        } else if self.nothing_changed {
            writeln!(f, "  nothing has changed that could make an entry stale: nothing sent")?;
        } else {
            for family in &self.families {
                write!(f, "{family}")?;
            }
        }
        if self.in_grace > 0 {
            let s = if self.in_grace == 1 { "" } else { "s" };
            let count = self.in_grace;
            writeln!(f, "  grace time: flows to {count} endpoint{s} not serving are kept for now")?;
        }
        if self.unknown_services > 0 {
            let count = self.unknown_services;
            let s = if count == 1 { "" } else { "s" };
            writeln!(f, "  not judged: {count} service{s} of another proxy, or not readable")?;
        }
        if self.in_quarantine > 0 {
            let count = self.in_quarantine;
            let s = if count == 1 { "" } else { "s" };
            writeln!(f, "  quarantine: {count} backend{s} not judged before a newer state")?;
        }
        for back in self.comes_back.iter().take(COMEBACKS_SHOWN) {
            let ComesBack { frontend, backend, looks, .. } = back;
            write!(f, "  comes back: {frontend} -> {backend}, deleted in {looks} looks in a row")?;
            writeln!(f, "{}", if back.given_up { "; left alone, nothing translates" } else { "" })?;
        }
        if !self.node_ports_judged {
            writeln!(f, "  node ports: not judged, no node address of their family is known")?;
        }
        f.write_str(if self.succeeded() { "  ok" } else { "  NOT everything succeeded" })
    }
}

impl fmt::Display for FamilyReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "  {}: ", self.family)?;
        if self.passes == 0 {
            return writeln!(f, "nothing to judge, table not read");
        }
        let s = if self.passes == 1 { "" } else { "es" };
        writeln!(
            f,
            "received {} in {} pass{s}, kernel filter \"{}\"",
            self.received, self.passes, self.pushdown
        )?;
        write!(
            f,
            "    stale {:<8} deleted {:<8} already gone {:<8} failed {}",
            self.stale, self.deleted, self.already_gone, self.failed
        )?;
        match self.unknown {
            0 => writeln!(f)?,
            unknown => writeln!(f, "        unknown {unknown}")?,
        }
        for (reason, count) in self.reasons.iter().filter(|(_, count)| *count > 0) {
            writeln!(f, "      {count:>8}  {reason}")?;
        }
        let mut removals: Vec<_> = self.removals.iter().collect();
        removals.sort_by_key(|removal| std::cmp::Reverse(removal.count));
        if !removals.is_empty() {
            writeln!(f, "    by frontend -> backend:")?;
        }
        for removal in removals {
            writeln!(
                f,
                "      {:>8}  {} -> {}  ({})",
                removal.count, removal.frontend, removal.backend, removal.reason
            )?;
        }
        let shown: u64 = self.removals.iter().map(|removal| removal.count).sum();
        if let more @ 1.. = self.reasons.total().saturating_sub(shown) {
            writeln!(f, "      {more:>8}  in other groups")?;
        }
        for (count, what) in [
            (self.other_zones, "in zones that are not looked at"),
            (self.suspect, "suspect: untranslated, unanswered, at an address of the node"),
            (self.quarantined, "in quarantine"),
            (self.given_up, "untranslated where nothing translates"),
        ] {
            if count > 0 {
                writeln!(f, "    kept  {count:>8}  {what}")?;
            }
        }
        for line in failure_lines(self.failed, &self.failures) {
            writeln!(f, "    {line}")?;
        }
        if let Some(error) = &self.error {
            writeln!(f, "    incomplete: {error}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
#[cfg(target_endian = "little")]
mod tests {
    use super::*;
    use crate::conntrack::batch::Outcome;
    use crate::model::flow::tests::dumped;
    use crate::model::sample::Sample;

    fn report() -> Report {
        let mut families = Family::ALL.map(FamilyReport::new);
        let ipv4 = &mut families[0];
        ipv4.passes = 2;
        ipv4.received = 10;
        ipv4.pushdown = "ip and udp".into();
        for outcome in [
            Outcome::Done,
            Outcome::NotFound,
            Outcome::Failed(Error::kernel(crate::Operation::Batch, libc::EBUSY)),
        ] {
            ipv4.found(&dumped(), Reason::BackendGone);
            ipv4.tally.add(outcome);
        }
        ipv4.close_pass(false);
        Report {
            profile: Profile::Strict,
            dry_run: false,
            elapsed: Duration::from_millis(12),
            nothing_changed: false,
            postponed: false,
            in_grace: 2,
            node_ports_judged: false,
            unknown_services: 0,
            in_quarantine: 0,
            comes_back: Vec::new(),
            families,
        }
    }

    #[test]
    fn one_screen_says_what_was_removed_and_why() {
        let text = report().to_string();
        for line in [
            "reconcile, profile strict, 0.012 s",
            "  ipv4: received 10 in 2 passes, kernel filter \"ip and udp\"",
            "    stale 3        deleted 1        already gone 1        failed 1",
            "             3  backend gone",
            "    by frontend -> backend:",
            "             3  udp 10.96.0.10:53 -> 10.244.1.5:5353  (backend gone)",
            "    failed: 1 x batch: Device or resource busy (EBUSY, errno 16)",
            "  ipv6: nothing to judge, table not read",
            "  grace time: flows to 2 endpoints not serving are kept for now",
            "  node ports: not judged, no node address of their family is known",
            "  NOT everything succeeded",
        ] {
            assert!(text.lines().any(|l| l == line), "{line:?} is missing in\n{text}");
        }
    }

    #[test]
    fn a_dry_run_counts_what_would_be_deleted() {
        let mut family = FamilyReport::new(Family::Ipv4);
        family.found(&dumped(), Reason::NotTranslated);
        family.close_pass(true);
        assert_eq!((family.stale, family.deleted), (1, 0));
    }

    #[test]
    fn groups_are_bounded_and_the_rest_is_counted() {
        let mut family = FamilyReport::new(Family::Ipv4);
        family.passes = 1;
        for n in 1..=20 {
            let flow = Sample::udp("10.96.0.10:53", &format!("10.244.1.{n}:53")).flow();
            (0..n).for_each(|_| family.found(&flow, Reason::BackendGone));
        }
        assert_eq!(family.removals.len(), REMOVALS_SHOWN);
        assert_eq!(family.removals[7].count, 8);
        let rest = (9..=20).sum::<u64>();
        assert!(family.to_string().contains(&format!("{rest}  in other groups")), "{family}");
    }

    #[test]
    fn an_error_is_not_success() {
        let mut report = report();
        for family in &mut report.families {
            family.failed = 0;
        }
        assert!(report.succeeded());
        report.families[1].error = Some(Error::DumpInterrupted);
        assert!(!report.succeeded());
    }
}
