//! What deletes and zeroing did: `DeleteReport`, `Deletions`, `Failure`, `Zeroed`.

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
    fn unknown(&self) -> u64 {
        self.0.unknown
    }

    #[getter]
    fn failures(&self, py: Python<'_>) -> Vec<Failure> {
        failures(py, &self.0.failures)
    }

    #[getter]
    fn error(&self, py: Python<'_>) -> Option<Py<PyBaseException>> {
        exception(py, self.0.error.as_ref())
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
        exception(py, self.error.as_ref())
    }
}

/// An error as an exception that is not raised.
pub(crate) fn exception(py: Python<'_>, error: Option<&Error>) -> Option<Py<PyBaseException>> {
    error.map(|error| raise(error.clone()).into_value(py))
}

/// Deletes that failed for the same reason.
#[pyclass(frozen, get_all, module = "ctnetlink", name = "Failure")]
pub(crate) struct Failure {
    error: Py<PyBaseException>,
    count: u64,
}

#[pymethods]
impl Failure {
    fn __repr__(&self, py: Python<'_>) -> String {
        format!("<ctnetlink.Failure {} x {}>", self.count, self.error.bind(py))
    }
}

pub(crate) fn failures(py: Python<'_>, failures: &[ctnetlink::Failure]) -> Vec<Failure> {
    let one = |failure: &ctnetlink::Failure| Failure {
        error: raise(failure.error.clone()).into_value(py),
        count: failure.count,
    };
    failures.iter().map(one).collect()
}

/// The result of `delete_many`.
#[pyclass(frozen, module = "ctnetlink", name = "Deletions")]
pub(crate) struct Deletions(pub(crate) ctnetlink::Deletions);

#[pymethods]
impl Deletions {
    #[getter]
    fn deleted(&self) -> u64 {
        self.0.deleted
    }

    #[getter]
    fn already_gone(&self) -> u64 {
        self.0.already_gone
    }

    #[getter]
    fn unknown(&self) -> u64 {
        self.0.unknown
    }

    #[getter]
    fn failed(&self) -> u64 {
        self.0.failed
    }

    #[getter]
    fn failures(&self, py: Python<'_>) -> Vec<Failure> {
        failures(py, &self.0.failures)
    }

    #[getter]
    fn failed_at(&self) -> Vec<usize> {
        self.0.failed_at.clone()
    }

    fn __repr__(&self) -> String {
        let ctnetlink::Deletions { deleted, already_gone, failed, .. } = &self.0;
        format!(
            "<ctnetlink.Deletions deleted={deleted} already_gone={already_gone} failed={failed}>"
        )
    }
}
