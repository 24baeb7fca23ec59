//! The progress of a run, and how to end it early.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::model::tuple::Family;

/// How soon a wait notices that it is to end.
const STEP: Duration = Duration::from_millis(10);

/// The callback. It is called from either family's thread.
pub(super) type ProgressCallback = dyn FnMut(&Progress) + Send;

/// Ends a run of a [`Reconciler`](crate::Reconciler) early, from any thread or signal handler. Made by
/// [`Reconciler::canceller`](crate::Reconciler::canceller).
///
/// ```
/// use ctnetlink::{Profile, Reconciler};
/// let reconciler = Reconciler::new(Profile::Strict);
/// let canceller = reconciler.canceller();
/// std::thread::spawn(move || canceller.cancel()); // wherever the process is told to stop
/// ```
#[derive(Debug, Clone, Default)]
pub struct Canceller(Arc<AtomicBool>);

impl Canceller {
    /// Ends the run that is under way, or else the next one that looks at the table. Entries that
    /// it has judged by then are dealt with, [`FamilyReport::error`](crate::FamilyReport::error)
    /// says that it was cancelled, and the run after it looks at everything.
    pub fn cancel(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_cancelled(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// Waits for so long, or until it is to end. In short steps, because a flag is all that a signal
    /// handler can set.
    pub(super) fn wait(&self, time: Duration) {
        let end = Instant::now() + time;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() || self.is_cancelled() {
                return;
            }
            thread::sleep(left.min(STEP));
        }
    }

    /// Clears the request, once it has ended a run.
    pub(super) fn reset(&self) {
        self.0.store(false, Ordering::Relaxed);
    }
}

/// The progress of a run, for the callback of
/// [`Reconciler::on_progress`](crate::Reconciler::on_progress).
///
/// ```
/// use ctnetlink::{Profile, Progress, Reconciler};
/// let reconciler = Reconciler::new(Profile::Strict).on_progress(|progress: &Progress| {
///     eprintln!("{}: {} received, {} stale", progress.family, progress.received, progress.stale);
/// });
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Progress {
    /// Family being walked.
    pub family: Family,
    /// 1 for the first pass of the run, 2 for a re-check in the same run.
    pub pass: u32,
    /// Entries that came from the kernel in this family, over all passes.
    pub received: u64,
    /// Stale entries found in this family, over all passes.
    pub stale: u64,
}
