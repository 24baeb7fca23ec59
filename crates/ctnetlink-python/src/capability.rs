//! `Capabilities` and `Explanation`: what the kernel can be trusted with, and how a filter uses it.

use std::collections::BTreeMap;

use ctnetlink::KernelCriterion;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

use crate::error::raise;

/// What the running kernel can filter by, flush by, count and timestamp.
#[pyclass(frozen, eq, module = "ctnetlink", name = "Capabilities")]
#[derive(PartialEq)]
pub(crate) struct Capabilities(pub(crate) ctnetlink::Capabilities);

#[pymethods]
impl Capabilities {
    /// The capabilities as JSON text, for another process of the same boot.
    fn json(&self) -> PyResult<String> {
        serde_json::to_string(&self.0).map_err(|error| PyValueError::new_err(error.to_string()))
    }

    /// Reads what `json()` has made.
    #[staticmethod]
    fn from_json(text: &str) -> PyResult<Capabilities> {
        let read = serde_json::from_str(text);
        read.map(Capabilities).map_err(|error| PyValueError::new_err(error.to_string()))
    }

    fn __reduce__<'py>(&self, py: Python<'py>) -> PyResult<(Bound<'py, PyAny>, (String,))> {
        Ok((py.get_type::<Capabilities>().getattr("from_json")?, (self.json()?,)))
    }

    /// The boot of the machine on which this was found.
    #[getter]
    fn boot_id(&self) -> Option<&str> {
        self.0.boot_id.as_deref()
    }

    #[getter]
    fn dump_filter(&self) -> bool {
        self.0.dump_filter
    }

    #[getter]
    fn flush_filter(&self) -> bool {
        self.0.flush_filter
    }

    #[getter]
    fn status_filter(&self) -> bool {
        self.0.status_filter
    }

    #[getter]
    fn zone_filter(&self) -> bool {
        self.0.zone_filter
    }

    #[getter]
    fn untested(&self) -> Option<&str> {
        self.0.untested.as_deref()
    }

    #[getter]
    fn accounting(&self) -> Option<bool> {
        self.0.accounting
    }

    #[getter]
    fn timestamps(&self) -> Option<bool> {
        self.0.timestamps
    }

    #[getter]
    fn events(&self) -> Option<u8> {
        self.0.events
    }

    #[getter]
    fn marks(&self) -> Option<bool> {
        self.0.marks
    }

    #[getter]
    fn zones(&self) -> Option<bool> {
        self.0.zones
    }

    #[getter]
    fn labels(&self) -> Option<bool> {
        self.0.labels
    }

    #[getter]
    fn expectations(&self) -> bool {
        self.0.expectations
    }

    #[getter]
    fn timeout_policies(&self) -> bool {
        self.0.timeout_policies
    }

    /// For each criterion: trust in dumps, trust in flushes.
    #[getter]
    fn trust(&self) -> BTreeMap<&'static str, (String, String)> {
        let both = |criterion: KernelCriterion| {
            (self.0.dump(criterion).to_string(), self.0.flush(criterion).to_string())
        };
        KernelCriterion::ALL.into_iter().map(|c| (c.name(), both(c))).collect()
    }

    /// Entries of the namespace.
    #[getter]
    fn entries(&self) -> u32 {
        self.0.entries
    }

    /// Entries the kernel allows (nf_conntrack_max); 0 means unlimited.
    #[getter]
    fn limit(&self) -> u32 {
        self.0.limit
    }

    fn distrust_flushes(&self) -> Capabilities {
        Capabilities(self.0.clone().distrust_flushes())
    }

    fn distrust(&self, criterion: &str) -> PyResult<Capabilities> {
        let criterion = criterion.parse().map_err(raise)?;
        Ok(Capabilities(self.0.clone().distrust(criterion)))
    }

    fn __str__(&self) -> String {
        self.0.to_string()
    }

    fn __repr__(&self) -> String {
        let trusted = self.trust().values().filter(|(dump, _)| dump == "proved").count();
        format!("<ctnetlink.Capabilities {trusted} criteria proved for dumps>")
    }
}

/// A filter's plan in words.
#[pyclass(frozen, eq, module = "ctnetlink", name = "Explanation")]
#[derive(PartialEq)]
pub(crate) struct Explanation(pub(crate) ctnetlink::Explanation);

#[pymethods]
impl Explanation {
    #[getter]
    fn filter(&self) -> &str {
        &self.0.filter
    }

    #[getter]
    fn never(&self) -> Option<&str> {
        self.0.never.as_deref()
    }

    #[getter]
    fn passes(&self) -> Vec<String> {
        self.0.passes.clone()
    }

    #[getter]
    fn stayed(&self) -> Vec<Stayed> {
        let stayed = self.0.stayed.iter();
        stayed
            .map(|one| Stayed { criterion: one.criterion.clone(), reason: one.reason.clone() })
            .collect()
    }

    /// How many flushes a delete in the kernel would send.
    #[getter]
    fn flushes(&self) -> usize {
        self.0.flushes
    }

    #[getter]
    fn not_in_kernel(&self) -> Option<&str> {
        self.0.not_in_kernel.as_deref()
    }

    fn __str__(&self) -> String {
        self.0.to_string()
    }
    fn __repr__(&self) -> String {
        format!("<ctnetlink.Explanation {:?} in {} passes>", self.0.filter, self.0.passes.len())
    }
}

/// A part of a filter that the kernel is not asked for, and why.
#[pyclass(frozen, eq, get_all, module = "ctnetlink", name = "Stayed")]
#[derive(PartialEq)]
pub(crate) struct Stayed {
    criterion: String,
    reason: String,
}

#[pymethods]
impl Stayed {
    fn __repr__(&self) -> String {
        format!("<ctnetlink.Stayed {:?}: {}>", self.criterion, self.reason)
    }
}
