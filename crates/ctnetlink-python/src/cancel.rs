//! `Canceller`.

use pyo3::prelude::*;

/// Ends long operations early, from any thread: those of a handle, or a run of a reconciler.
///
/// ``ct.cancelled_by(canceller)`` is the handle whose operations it ends; ``reconciler.canceller`` is
/// that of a reconciler.
#[pyclass(frozen, module = "ctnetlink", name = "Canceller")]
pub(crate) struct Canceller(pub(crate) ctnetlink::Canceller);

#[pymethods]
impl Canceller {
    #[new]
    fn new() -> Canceller {
        Canceller(ctnetlink::Canceller::new())
    }

    /// Cancel.
    ///
    /// Operations of a handle end with ``Cancelled``, now and from then on. A reconciler ends the run
    /// that is under way, or else the next one; the run after it looks at everything.
    fn cancel(&self) {
        self.0.cancel();
    }

    /// Whether it has cancelled.
    #[getter]
    fn is_cancelled(&self) -> bool {
        self.0.is_cancelled()
    }

    fn __repr__(&self) -> &'static str {
        if self.0.is_cancelled() {
            "<ctnetlink.Canceller, has cancelled>"
        } else {
            "<ctnetlink.Canceller>"
        }
    }
}
