//! How to end a long operation early.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::error::{Error, Operation, Result};

/// Ends long operations early, from any thread or signal handler: those of a
/// [handle](crate::Conntrack::cancelled_by), or a run of a
/// [`Reconciler`](crate::Reconciler::canceller).
///
/// ```
/// use ctnetlink::{Canceller, Conntrack};
/// # fn f() -> ctnetlink::Result<()> {
/// let canceller = Canceller::new();
/// let ct = Conntrack::open()?.cancelled_by(&canceller);
/// let counting = std::thread::spawn(move || ct.dump(None)?.count());
/// canceller.cancel(); // the count ends with an error: `is_cancelled`
/// # Ok(()) }
/// ```
#[derive(Debug, Clone, Default)]
pub struct Canceller(Arc<AtomicBool>);

impl Canceller {
    /// A canceller that has not cancelled anything yet.
    pub fn new() -> Canceller {
        Canceller::default()
    }

    /// Cancels.
    ///
    /// The operations of a handle end with [`is_cancelled`](crate::Error::is_cancelled), now and from
    /// then on. A reconciler ends the run that is under way, or else the next one that looks at the
    /// table: entries that it has judged by then are dealt with,
    /// [`FamilyReport::error`](crate::FamilyReport::error) says that it was cancelled, and the run
    /// after it looks at everything.
    pub fn cancel(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether it has cancelled.
    pub fn is_cancelled(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// Clears the request, once it has ended a run.
    pub(crate) fn reset(&self) {
        self.0.store(false, Ordering::Relaxed);
    }
}

/// All those that can end the operations of a handle.
#[derive(Debug, Clone, Default)]
pub(crate) struct Cancellers(Vec<Canceller>);

impl Cancellers {
    pub(super) fn with(&self, another: &Canceller) -> Cancellers {
        Cancellers(self.0.iter().chain([another]).cloned().collect())
    }

    pub(crate) fn is_cancelled(&self) -> bool {
        self.0.iter().any(Canceller::is_cancelled)
    }

    pub(super) fn check(&self, operation: Operation) -> Result<()> {
        if self.is_cancelled() { Err(Error::Cancelled { operation }) } else { Ok(()) }
    }
}
