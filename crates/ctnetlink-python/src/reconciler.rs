//! `Reconciler`: for a process that reconciles repeatedly.

use std::sync::Mutex;
use std::time::Instant;

use ctnetlink::Canceller;
use pyo3::prelude::*;

use crate::desired::DesiredState;
use crate::handle::Conntrack;
use crate::options::{Options, lock, seconds};
use crate::report::Report;

/// Removes stale entries repeatedly; the cost of a run follows what has changed.
#[pyclass(frozen, module = "ctnetlink", name = "Reconciler")]
pub(crate) struct Reconciler {
    inner: Mutex<ctnetlink::Reconciler>,
    canceller: Canceller,
}

#[pymethods]
impl Reconciler {
    #[new]
    #[pyo3(signature = (
        *, profile="strict", protocols=None, zones=None, authority="rules", recheck=Some(0.1),
        defer_recheck=false, min_interval=0.0, grace=0.0, resync=None, previous=None
    ), text_signature = "(*, profile='strict', protocols=None, zones=None, authority='rules', \
        recheck=0.1, defer_recheck=False, min_interval=0.0, grace=0.0, resync=None, previous=None)")]
    #[expect(clippy::too_many_arguments, reason = "they are keywords")]
    fn new(
        profile: &str,
        protocols: Option<Vec<Bound<'_, PyAny>>>,
        zones: Option<Bound<'_, PyAny>>,
        authority: &str,
        recheck: Option<f64>,
        defer_recheck: bool,
        min_interval: f64,
        grace: f64,
        resync: Option<f64>,
        previous: Option<&DesiredState>,
    ) -> PyResult<Self> {
        let dry_run = false;
        let options = Options { profile, dry_run, protocols, zones, authority, recheck, previous };
        let mut reconciler = options
            .reconciler()?
            .defer_recheck(defer_recheck)
            .min_interval(seconds("min_interval", min_interval)?)
            .grace(seconds("grace", grace)?);
        if let Some(interval) = resync {
            reconciler = reconciler.resync(seconds("resync", interval)?);
        }
        let canceller = reconciler.canceller();
        Ok(Reconciler { inner: Mutex::new(reconciler), canceller })
    }

    /// Make the table agree with a desired state; nothing is sent if nothing can be stale.
    fn run(&self, py: Python<'_>, ct: &Conntrack, desired: &DesiredState) -> PyResult<Report> {
        ct.detached(py, |ct| lock(&self.inner).run(ct, &desired.0)).map(Report)
    }

    /// Make the next run look at everything, as the first one does.
    fn look_at_everything(&self, py: Python<'_>) {
        py.detach(|| lock(&self.inner).look_at_everything());
    }

    /// End the run that is under way, or else the next one; from any thread.
    fn cancel(&self) {
        self.canceller.cancel();
    }

    /// Seconds until there is something to do even if the desired state does not change. Waits for
    /// a run that is under way.
    #[getter]
    fn due(&self, py: Python<'_>) -> Option<f64> {
        let due = py.detach(|| lock(&self.inner).due())?;
        Some(due.saturating_duration_since(Instant::now()).as_secs_f64())
    }
}
