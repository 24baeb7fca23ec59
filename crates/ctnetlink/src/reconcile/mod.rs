//! Runs the rules over the table: a streamed pass over each family, deletes in batches, a re-check.

pub(crate) mod desired;
pub(crate) mod memory;
mod pass;
pub(crate) mod progress;
pub(crate) mod report;
pub(crate) mod rules;
pub(crate) mod scope;

use std::collections::BTreeSet;
use std::fmt;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use self::desired::DesiredState;
use self::memory::Memory;
use self::memory::evidence::Evidence;
use self::memory::history::History;
use self::memory::schedule::{RunOutcome, Schedule};
use self::pass::{Pass, REMOVED_KEPT};
use self::progress::{Progress, ProgressCallback, wait};
use self::report::{FamilyReport, Report};
use self::rules::Reason;
use self::rules::change::Affected;
use self::scope::{Authority, Profile, Scope, Zones};
use crate::conntrack::Conntrack;
use crate::conntrack::cancel::Canceller;
use crate::error::{Error, Result};
use crate::model::protocol::Protocol;
use crate::model::tuple::Family;

/// How long after the first pass the re-check runs by default.
const RECHECK_DELAY: Duration = Duration::from_millis(100);
/// Practically forever, but far from the limit of the clock.
const LONGEST: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

/// Removes the entries that are stale with respect to a desired state, and only those.
///
/// The first run makes one pass over the table per family (none for a family without frontends),
/// filtered in the kernel to what could be stale. From then on the cost follows the change. A run
/// looks only at frontends that are new, have vanished, have lost a backend, or have gone from no
/// backend to some. It asks the kernel for what those frontends have in common. Without such
/// a frontend it sends nothing. After any failure, after a node address was lost, at a
/// [resync](Reconciler::resync) and when [asked](Reconciler::look_at_everything), it looks at
/// everything again.
///
/// Both families are walked at once, IPv6 in a thread that ends with the pass. Nothing is
/// collected: memory does not depend on the size of the table, only on the size of the desired
/// state, the last of which is kept. A stale entry is deleted by its reply tuple, zone and id as
/// dumped. So an entry that was re-created toward a live backend in the meantime survives.
///
/// After a pass that looked because something changed, a second pass follows after a short delay,
/// narrowed to the affected frontends: an entry whose first packet was in flight when the rules
/// changed appears in dumps only a moment later. While such a re-check deletes something, another one
/// is [due](Self::due), with twice the delay each time, up to a minute: the rules may be late.
///
/// Keep the reconciler between runs, and change the rules of the packet filter *before* calling
/// [`run`](Reconciler::run). The reconciler learns of changes only through the desired state. If
/// anything else makes entries toward dead backends (a restored table, another daemon), call
/// [`look_at_everything`](Reconciler::look_at_everything).
///
/// ```no_run
/// # fn f(desired: ctnetlink::DesiredState) -> ctnetlink::Result<()> {
/// use ctnetlink::{Conntrack, Profile, Reconciler};
/// let ct = Conntrack::open()?;
/// let report = Reconciler::new(Profile::Strict).run(&ct, &desired)?;
/// println!("{report}");
/// # Ok(()) }
/// ```
///
/// A daemon keeps one reconciler, passes it every state for which packet filter rules were written,
/// and runs it again when something is [due](Self::due):
///
/// ```no_run
/// # use std::time::{Duration, Instant};
/// # use std::sync::mpsc::{Receiver, RecvTimeoutError};
/// # use ctnetlink::{Conntrack, DesiredState, Profile, Reconciler};
/// # fn write_rules(_: &DesiredState) {}
/// fn daemon(ct: &Conntrack, states: Receiver<DesiredState>) {
///     let mut reconciler = Reconciler::new(Profile::Strict)
///         .defer_recheck(true)
///         .min_interval(Duration::from_secs(1))
///         .resync(Duration::from_secs(600));
///     let Ok(mut desired) = states.recv() else { return };
///     write_rules(&desired);
///     loop {
///         match reconciler.run(ct, &desired) {
///             Ok(report) => println!("{report}"),
///             Err(error) => eprintln!("{error}"), // unless half a state: a retry is due soon
///         }
///         let next = match reconciler.due() {
///             Some(due) => states.recv_timeout(due.saturating_duration_since(Instant::now())),
///             None => states.recv().map_err(RecvTimeoutError::from),
///         };
///         match next {
///             Ok(newer) => {
///                 // Only the newest state counts: no rules were written for those before it.
///                 desired = states.try_iter().last().unwrap_or(newer);
///                 write_rules(&desired);
///             }
///             Err(RecvTimeoutError::Timeout) => {} // something is due
///             Err(RecvTimeoutError::Disconnected) => return,
///         }
///     }
/// }
/// ```
pub struct Reconciler {
    scope: Scope,
    dry_run: bool,
    deferred: bool,
    memory: Memory,
    progress: Mutex<Option<Box<ProgressCallback>>>,
    canceller: Canceller,
}

impl Reconciler {
    /// A reconciler that looks at UDP, in [the default zones](Zones::Default), and re-checks after
    /// 100 ms.
    pub fn new(profile: Profile) -> Self {
        Reconciler {
            scope: Scope { profile, ..Scope::default() },
            dry_run: false,
            deferred: false,
            memory: Memory::new(Schedule::new(RECHECK_DELAY, jitter())),
            progress: Mutex::new(None),
            canceller: Canceller::default(),
        }
    }

    /// Looks at these protocols instead of UDP alone.
    #[must_use]
    pub fn protocols(mut self, protocols: impl IntoIterator<Item = Protocol>) -> Self {
        self.scope.protocols = protocols.into_iter().collect();
        self
    }

    /// Looks at these zones: all, or those named, instead of [the default](Zones::Default).
    ///
    /// ```
    /// use ctnetlink::{Profile, Reconciler, Zones};
    /// let ovn = Reconciler::new(Profile::Strict).zones([7, 9]);
    /// let all = Reconciler::new(Profile::Strict).zones(Zones::All);
    /// ```
    #[must_use]
    pub fn zones(mut self, zones: impl Into<Zones>) -> Self {
        self.scope.zones = zones.into();
        self
    }

    /// Whether the caller writes the rules, or only watches.
    #[must_use]
    pub fn authority(mut self, authority: Authority) -> Self {
        self.memory.evidence.authority = authority;
        self
    }

    /// Looks at everything again after this time, as part of [`due`](Reconciler::due); never, unless
    /// told. It finds what nobody can know of: a restored table, entries of another daemon. For a
    /// daemon 10 minutes are a good value. The moment varies by 10 %, and these passes never
    /// take more than 1 % of the time.
    ///
    /// ```
    /// # use ctnetlink::{Profile, Reconciler};
    /// # use std::time::Duration;
    /// let reconciler = Reconciler::new(Profile::Strict)
    ///     .defer_recheck(true)
    ///     .resync(Duration::from_secs(600));
    /// ```
    #[must_use]
    pub fn resync(mut self, interval: Duration) -> Self {
        self.memory.schedule.resync = Some(interval.min(LONGEST));
        self
    }

    /// With `true`, runs judge and count, but delete nothing and remember nothing, except what an
    /// [observer](Authority::Observer) has in quarantine.
    #[must_use]
    pub fn dry_run(mut self, dry_run: bool) -> Self {
        self.dry_run = dry_run;
        self
    }

    /// Sets the delay before the second pass; `None` for no second pass. Without one, an entry that is
    /// [suspect](crate::Verdict::Suspect) is deleted by a later run at the earliest.
    #[must_use]
    pub fn recheck(mut self, delay: Option<Duration>) -> Self {
        self.memory.schedule.recheck_delay = delay.map(|delay| delay.min(LONGEST));
        self
    }

    /// Sets the minimum time from the end of one run that looked at the table to the start of the
    /// next; 0 by default. A run that comes sooner sends nothing, and its report is marked as
    /// [postponed](Report::postponed). Everything that changes during the interval is handled as
    /// one change. The states in between count too, because clients have made entries by their
    /// rules. (Of vanished services, the profile `kube-proxy` remembers only those of the last
    /// run.) [`due`](Reconciler::due) says when the interval is over. Dry runs do not wait.
    ///
    /// ```
    /// # use ctnetlink::{Profile, Reconciler};
    /// # use std::time::Duration;
    /// let reconciler = Reconciler::new(Profile::Strict)
    ///     .defer_recheck(true)
    ///     .min_interval(Duration::from_secs(1));
    /// ```
    #[must_use]
    pub fn min_interval(mut self, interval: Duration) -> Self {
        self.memory.schedule.min_interval = interval.min(LONGEST);
        self
    }

    /// Sets the grace time: how long the flows of an endpoint that has stopped serving are kept,
    /// counted from the first run that saw it not serving; 0 by default. With a grace time, a
    /// readiness probe that fails for a moment ends no flows (kubernetes#137986).
    ///
    /// An endpoint that is no longer listed has no grace time, because its address may belong to
    /// another pod by now. Nor has an endpoint that did not serve in the state of the previous run
    /// (or in [`previous`](Reconciler::previous)).
    ///
    /// The end of a grace time counts for [`due`](Reconciler::due).
    #[must_use]
    pub fn grace(mut self, time: Duration) -> Self {
        self.memory.grace.length = time.min(LONGEST);
        self
    }

    /// With `true`, a run does not wait for its second pass. The next run that comes late enough
    /// makes it, even if nothing has changed by then. [`due`](Reconciler::due) says when.
    ///
    /// This is for daemons that must not block during the delay. What changes between two calls of
    /// [`run`](Reconciler::run) is handled as one change.
    #[must_use]
    pub fn defer_recheck(mut self, deferred: bool) -> Self {
        self.deferred = deferred;
        self
    }

    /// When to run again even if the desired state has not changed; `None` if nothing is waiting,
    /// and for dry runs.
    ///
    /// What waits is a deferred second pass, a postponed run, a failed run (retried after a second,
    /// then after twice as long each time, up to a minute), a call of
    /// [`look_at_everything`](Reconciler::look_at_everything), the end of a grace time, a
    /// [resync](Reconciler::resync), and the re-check of a pass that deleted something, which comes
    /// again, later each time, as long as it deletes something.
    ///
    /// An [observer](Authority::Observer) with something [in quarantine](Report::in_quarantine)
    /// waits for a state that was fetched later: fetch it before this run. A run with an old state
    /// sends nothing for it.
    ///
    /// [`run`](Reconciler::run) does not wait for this moment: an earlier call tries at once,
    /// unless [`min_interval`](Reconciler::min_interval) holds it back.
    pub fn due(&self) -> Option<Instant> {
        match self.dry_run {
            true => None,
            false => self.memory.due(),
        }
    }

    /// Makes the next run look at everything, as the first one does.
    pub fn look_at_everything(&mut self) {
        self.memory.schedule.forget(Instant::now());
    }

    /// Sets the desired state of an earlier process, from its last run that succeeded and was not
    /// postponed. Entries of frontends in it that have vanished since are removed.
    #[must_use]
    pub fn previous(mut self, previous: DesiredState) -> Self {
        let grace = std::mem::take(&mut self.memory.grace);
        self.memory.grace = grace.after_state(previous.clone());
        self.memory.history = History::after(previous);
        self
    }

    /// A handle that can end a run of this reconciler early.
    ///
    /// ```
    /// # use ctnetlink::{Profile, Reconciler};
    /// let reconciler = Reconciler::new(Profile::Strict);
    /// let canceller = reconciler.canceller();
    /// std::thread::spawn(move || canceller.cancel());
    /// ```
    pub fn canceller(&self) -> Canceller {
        self.canceller.clone()
    }

    /// Sets a callback for every few thousand entries and for the end of each pass. Calls come one
    /// at a time. Both families are walked at once, so their calls interleave, and those for IPv6
    /// can come from another thread. A callback that has panicked is not called again.
    #[must_use]
    pub fn on_progress(mut self, callback: impl FnMut(&Progress) + Send + 'static) -> Self {
        self.progress = Mutex::new(Some(Box::new(callback)));
        self
    }

    /// Makes the table agree with the desired state.
    ///
    /// # Errors
    ///
    /// If the state is only half a picture ([`Error::is_half_state`]: pass a whole one), or if nothing
    /// could be read at all. What goes wrong after that is in the report: a pass that ended early in
    /// [`FamilyReport::error`], deletes that failed in [`FamilyReport::failures`].
    pub fn run(&mut self, ct: &Conntrack, desired: &DesiredState) -> Result<Report> {
        if let Err(error) = self.memory.history.check(desired) {
            self.memory.schedule.refuse(Instant::now());
            return Err(error);
        }
        let started = Instant::now();
        let plan = self.memory.plan(desired, &self.scope, started, self.dry_run);
        let mut comebacks = plan.comebacks.clone();
        // A dry run remembers only what an observer has in quarantine.
        let mut evidence = match self.dry_run {
            true => self.memory.evidence.clone(),
            // If a callback panics, the evidence is lost, but not who writes the rules.
            false => {
                let nothing = Evidence::of(self.memory.evidence.authority);
                std::mem::replace(&mut self.memory.evidence, nothing)
            }
        };
        evidence.begin(self.memory.history.previous(), desired);
        let mut families = Family::ALL.map(FamilyReport::new);
        let delay = self.memory.schedule.recheck_delay;
        let ct = ct.cancelled_by(&self.canceller);
        let pass = Pass {
            ct: &ct,
            rules: &plan.rules,
            desired,
            delete: !self.dry_run,
            suspicion: delay,
            progress: &self.progress,
        };
        let mut removed_at = BTreeSet::new();
        let mut look = |at: &Affected, families: &mut [FamilyReport; 2], again: bool| {
            let found = pass.run(&at.filters(&plan.rules), families, &evidence, again);
            let covers = found.each_ref().map(|family| family.suspect.clone());
            let [mut cover4, mut cover6] = covers;
            let mut removed = Vec::new();
            let mut learned = [None, None];
            let mut all = true;
            for (at, (found, family)) in found.into_iter().zip(&*families).enumerate() {
                if self.dry_run || family.tally.deleted + family.tally.already_gone > 0 {
                    let cover = if at == 0 { &mut cover4 } else { &mut cover6 };
                    *cover = cover.clone().or(found.stale);
                }
                all &= found.removed.len() < REMOVED_KEPT;
                removed.extend(found.removed);
                learned[at] = found.learned;
            }
            // What could not be deleted has not come back.
            let failed = families.iter().any(|f| f.error.is_some() || f.tally.failed > 0);
            if !at.is_nothing() && !failed {
                comebacks.looked(at, &removed, all, |frontend| plan.rules.can_give_up(frontend));
            }
            let gone = removed.iter().filter(|removed| removed.reason == Reason::FrontendRemoved);
            removed_at = gone.map(|removed| removed.frontend).collect();
            evidence.learn(at, learned, Instant::now());
            Affected::Frontends([cover4, cover6])
        };
        let found = look(&plan.work.at, &mut families, false);
        let mut took = started.elapsed();
        let mut rechecked = None;
        let recheck = plan.work.recheck(found.clone());
        let failed = families.iter().any(|family| family.error.is_some());
        if let (Some(delay), false, true, false, false) =
            (delay, self.deferred, plan.work.is_fresh(), recheck.is_nothing(), failed)
        {
            wait(delay, || ct.is_cancelled());
            let again = Instant::now();
            rechecked = Some(look(&recheck, &mut families, self.dry_run));
            took += again.elapsed();
        }
        // A cancel that came too late for this run stays set for the next one.
        let is_cancelled =
            |family: &FamilyReport| family.error.as_ref().is_some_and(Error::is_cancelled);
        if families.iter().any(is_cancelled) {
            self.canceller.reset();
        }

        let mut report = Report {
            profile: self.scope.profile,
            dry_run: self.dry_run,
            elapsed: started.elapsed(),
            node_ports_judged: plan.rules.node_ports_judged(),
            nothing_changed: plan.work.at.is_nothing() && !plan.work.is_postponed(),
            postponed: plan.work.is_postponed(),
            in_grace: plan.in_grace,
            unknown_services: desired.unknown().len(),
            in_quarantine: evidence.in_quarantine(),
            comes_back: comebacks.report(),
            families,
        };
        if self.dry_run {
            self.memory.evidence.keep_seen(&evidence);
            evidence.settle(desired, report.succeeded(), Instant::now());
            report.in_quarantine = evidence.in_quarantine();
        } else {
            self.memory.evidence = evidence;
            self.memory.comebacks = comebacks;
            let succeeded = report.succeeded();
            let outcome = RunOutcome {
                succeeded,
                found,
                rechecked,
                took,
                removed_at,
                ..RunOutcome::default()
            };
            self.memory.settle(desired, plan, outcome, Instant::now());
            report.in_quarantine = self.memory.evidence.in_quarantine();
        }
        let mut walked = report.families.iter().filter(|family| family.passes > 0);
        let nothing_received = walked.all(|family| {
            let refused = family.error.as_ref().is_some_and(|error| !error.is_cancelled());
            family.received == 0 && refused
        });
        let error = report.families.iter().find_map(|family| family.error.clone());
        let error = error.filter(|_| nothing_received);
        error.map_or(Ok(report), Err)
    }
}

/// A number from -1 to 1, another one in each process.
fn jitter() -> f64 {
    let random = RandomState::new().build_hasher().finish();
    f64::from(u32::try_from(random >> 32).unwrap_or(0)) / f64::from(u32::MAX) * 2.0 - 1.0
}

impl fmt::Debug for Reconciler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reconciler")
            .field("scope", &self.scope)
            .field("dry_run", &self.dry_run)
            .field("recheck", &self.memory.schedule.recheck_delay)
            .field("min_interval", &self.memory.schedule.min_interval)
            .field("grace", &self.memory.grace.length)
            .finish_non_exhaustive()
    }
}
