//! `Reconciler`: for a process that reconciles repeatedly.

use std::sync::{Arc, Mutex};
use std::time::Instant;

use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;

use crate::call::{self, Callback, Teller};
use crate::cancel::Canceller;
use crate::desired::DesiredState;
use crate::error::raise;
use crate::handle::Conntrack;
use crate::options::Options;
use crate::report::{Progress, Report};
use crate::value::{Profile, Protocol, Span, lock};

/// What a run returns, from its thread.
type Outcome = Result<ctnetlink::Report, ctnetlink::Error>;

/// Where the progress of the run under way goes.
type Telling = Arc<Mutex<Option<Teller<Outcome, ctnetlink::Progress>>>>;

/// Removes stale entries repeatedly; the cost of a run follows what has changed.
///
/// The first run looks at everything, and so does a run after a failure. Other runs look only at
/// frontends that are new, have vanished, have lost a backend, or have gone from no backend to some.
/// Without such a frontend a run sends nothing.
///
/// ``protocols`` are those to look at, UDP alone by default; ``zones`` are numbers or ``"all"``.
/// ``authority`` is ``"rules"`` for the one who writes the rules of the node, and ``"observer"`` for one
/// who knows the cluster from elsewhere, and may lag. ``recheck`` are the seconds until the second
/// look, ``None`` for none; with ``defer_recheck`` a run does not wait for it, and ``due`` says when to
/// call again. Runs come at most every ``min_interval`` seconds. Flows of an endpoint that has stopped
/// serving are spared for ``grace`` seconds. ``resync`` looks at everything every so many seconds.
/// ``previous`` is the desired state of the last run of an earlier process. ``on_progress`` is called
/// with a ``Progress``, in the thread that runs it; an exception in it ends the run.
#[pyclass(frozen, module = "ctnetlink", name = "Reconciler")]
pub(crate) struct Reconciler {
    inner: Arc<Mutex<ctnetlink::Reconciler>>,
    canceller: ctnetlink::Canceller,
    on_progress: Option<Py<PyAny>>,
    telling: Telling,
}

impl Reconciler {
    pub(crate) fn with(reconciler: ctnetlink::Reconciler, on_progress: Option<Py<PyAny>>) -> Self {
        let telling = Telling::default();
        let canceller = reconciler.canceller();
        let reconciler = match &on_progress {
            None => reconciler,
            Some(_) => {
                let telling = Arc::clone(&telling);
                reconciler.on_progress(move |progress| {
                    if let Some(teller) = &*lock(&telling) {
                        teller.tell_if_there_is_room(*progress);
                    }
                })
            }
        };
        let inner = Arc::new(Mutex::new(reconciler));
        Reconciler { inner, canceller, on_progress, telling }
    }

    pub(crate) fn run_on(
        &self,
        py: Python<'_>,
        ct: &Conntrack,
        desired: &DesiredState,
    ) -> PyResult<Report> {
        let (inner, telling) = (Arc::clone(&self.inner), Arc::clone(&self.telling));
        let desired = desired.shared();
        let callback = self.on_progress.as_ref().map(|callback| -> Callback<'_, _> {
            Box::new(|py, progress: ctnetlink::Progress| {
                callback.call1(py, (Progress::from(progress),)).map(|_| ())
            })
        });
        let handle = ct.open_handle()?;
        let outcome = call::long(py, &handle, callback, move |ct, teller| {
            let mut reconciler = lock(&inner);
            *lock(&telling) = Some(teller.clone());
            let outcome = reconciler.run(ct, &desired);
            *lock(&telling) = None;
            outcome
        })?;
        Ok(Report::of(py, &outcome.map_err(raise)?))
    }
}

#[pymethods]
impl Reconciler {
    #[new]
    #[pyo3(signature = (
        *, profile=Profile(ctnetlink::Profile::Strict), dry_run=false, protocols=None, zones=None,
        authority="rules", recheck=Some(Options::RECHECK), defer_recheck=false,
        min_interval=Options::NONE, grace=Options::NONE, resync=None, previous=None, on_progress=None
    ), text_signature = "(*, profile='strict', dry_run=False, protocols=None, zones=None, \
        authority='rules', recheck=0.1, defer_recheck=False, min_interval=0.0, grace=0.0, \
        resync=None, previous=None, on_progress=None)")]
    #[expect(clippy::too_many_arguments, reason = "they are keywords")]
    fn new(
        py: Python<'_>,
        profile: Profile,
        dry_run: bool,
        protocols: Option<Vec<Protocol>>,
        zones: Option<Bound<'_, PyAny>>,
        authority: &str,
        recheck: Option<Span>,
        defer_recheck: bool,
        min_interval: Span,
        grace: Span,
        resync: Option<Span>,
        previous: Option<&DesiredState>,
        on_progress: Option<Py<PyAny>>,
    ) -> PyResult<Self> {
        if on_progress.as_ref().is_some_and(|callback| !callback.bind(py).is_callable()) {
            return Err(PyTypeError::new_err("on_progress: expected a callable"));
        }
        let options = Options { profile, dry_run, protocols, zones, authority, recheck, previous };
        let reconciler = options.reconciler()?;
        let reconciler = reconciler.defer_recheck(defer_recheck).min_interval(min_interval.0);
        let reconciler = reconciler.grace(grace.0);
        let reconciler = resync.into_iter().fold(reconciler, |r, interval| r.resync(interval.0));
        Ok(Reconciler::with(reconciler, on_progress))
    }

    /// Make the table agree with a desired state; nothing is sent if nothing can be stale.
    ///
    /// What goes wrong after the run has begun is in the report.
    fn run(&self, py: Python<'_>, ct: &Conntrack, desired: &DesiredState) -> PyResult<Report> {
        self.run_on(py, ct, desired)
    }

    /// Make the next run look at everything, as the first one does.
    fn look_at_everything(&self, py: Python<'_>) {
        py.detach(|| lock(&self.inner).look_at_everything());
    }

    /// What ends a run, from any thread.
    #[getter]
    fn canceller(&self) -> Canceller {
        Canceller(self.canceller.clone())
    }

    /// End the run that is under way, or else the next one; from any thread.
    fn cancel(&self) {
        self.canceller.cancel();
    }

    /// Seconds until there is something to do even if the desired state does not change.
    ///
    /// ``None`` if there is nothing. Waits for a run that is under way.
    #[getter]
    fn due(&self, py: Python<'_>) -> Option<f64> {
        let due = py.detach(|| lock(&self.inner).due())?;
        Some(due.saturating_duration_since(Instant::now()).as_secs_f64())
    }

    fn __repr__(&self) -> &'static str {
        "<ctnetlink.Reconciler>"
    }
}
