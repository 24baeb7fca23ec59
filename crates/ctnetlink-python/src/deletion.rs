//! What deletes and zeroing did: `DeleteReport`, `Deletions`, `Zeroed`.

use ctnetlink::Error;
use pyo3::exceptions::PyBaseException;
use pyo3::prelude::*;

use crate::error::raise;
use crate::flow::Flow;

/// What a delete by filter did.
#[pyclass(frozen, module = "ctnetlink", name = "DeleteReport")]
pub(crate) struct DeleteReport(pub(crate) ctnetlink::DeleteReport);

#[pymethods]
impl DeleteReport {
    #[getter]
    fn filter(&self) -> &str {
        &self.0.filter
    }

    #[getter]
    fn dry_run(&self) -> bool {
        self.0.dry_run
    }

    #[getter]
    fn pushdown(&self) -> &str {
        &self.0.pushdown
    }

    #[getter]
    fn received(&self) -> u64 {
        self.0.received
    }

    #[getter]
    fn matched(&self) -> u64 {
        self.0.matched
    }

    #[getter]
    fn deleted(&self) -> u64 {
        self.0.deleted
    }

    #[getter]
    fn already_gone(&self) -> u64 {
        self.0.already_gone
    }

    #[getter]
    fn failed(&self) -> u64 {
        self.0.failed
    }

    #[getter]
    fn failures(&self, py: Python<'_>) -> Vec<Py<PyBaseException>> {
        self.0.failures.iter().map(|error| raise(error.clone()).into_value(py)).collect()
    }

    #[getter]
    fn error(&self, py: Python<'_>) -> Option<Py<PyBaseException>> {
        self.0.error.as_ref().map(|error| raise(error.clone()).into_value(py))
    }

    /// Seconds.
    #[getter]
    fn elapsed(&self) -> f64 {
        self.0.elapsed.as_secs_f64()
    }

    #[getter]
    fn succeeded(&self) -> bool {
        self.0.succeeded()
    }

    fn __str__(&self) -> String {
        self.0.to_string()
    }

    fn __repr__(&self) -> String {
        let ctnetlink::DeleteReport { matched, deleted, already_gone, failed, .. } = &self.0;
        format!(
            "<ctnetlink.DeleteReport matched={matched} deleted={deleted} \
             already_gone={already_gone} failed={failed}>"
        )
    }
}

/// What `zero` has zeroed.
#[pyclass(frozen, module = "ctnetlink", name = "Zeroed")]
pub(crate) struct Zeroed {
    flows: Vec<ctnetlink::Flow>,
    error: Option<Error>,
}

impl Zeroed {
    pub(crate) fn new(flows: Vec<ctnetlink::Flow>, error: Option<Error>) -> Zeroed {
        Zeroed { flows, error }
    }
}

#[pymethods]
impl Zeroed {
    fn __repr__(&self) -> String {
        format!("<ctnetlink.Zeroed {} flows>", self.flows.len())
    }

    #[getter]
    fn flows(&self) -> Vec<Flow> {
        self.flows.iter().cloned().map(Flow).collect()
    }

    #[getter]
    fn error(&self, py: Python<'_>) -> Option<Py<PyBaseException>> {
        self.error.as_ref().map(|error| raise(error.clone()).into_value(py))
    }
}

/// What became of `delete_all`.
#[pyclass(frozen, get_all, module = "ctnetlink", name = "Deletions")]
pub(crate) struct Deletions {
    deleted: u64,
    already_gone: u64,
    failed: Vec<(usize, Py<PyBaseException>)>,
}

impl Deletions {
    pub(crate) fn new(py: Python<'_>, done: ctnetlink::Deletions) -> Deletions {
        let ctnetlink::Deletions { deleted, already_gone, failed, .. } = done;
        let failed = failed.into_iter().map(|(at, error)| (at, raise(error).into_value(py)));
        Deletions { deleted, already_gone, failed: failed.collect() }
    }
}

#[pymethods]
impl Deletions {
    fn __repr__(&self) -> String {
        let Deletions { deleted, already_gone, failed } = self;
        let failed = failed.len();
        format!(
            "<ctnetlink.Deletions deleted={deleted} already_gone={already_gone} failed={failed}>"
        )
    }
}
