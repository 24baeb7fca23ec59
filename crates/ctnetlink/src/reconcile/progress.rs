//! The progress of a run, and the wait before its second pass.

use std::thread;
use std::time::{Duration, Instant};

use crate::model::tuple::Family;

/// How soon a wait notices that it is to end.
const STEP: Duration = Duration::from_millis(10);

/// The callback. It is called from either family's thread.
pub(super) type ProgressCallback = dyn FnMut(&Progress) + Send;

/// Waits for so long, or until it is to end. In short steps, because a flag is all that a signal
/// handler can set.
pub(super) fn wait(time: Duration, is_cancelled: impl Fn() -> bool) {
    let end = Instant::now() + time;
    loop {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() || is_cancelled() {
            return;
        }
        thread::sleep(left.min(STEP));
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
