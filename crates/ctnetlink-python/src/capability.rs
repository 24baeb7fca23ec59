//! `Capabilities`: what the kernel can be trusted with.

use std::collections::HashMap;

use ctnetlink::KernelCriterion;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

use crate::error::raise;
use crate::record::copies;
use crate::value::{Criterion, Trust};

/// What the running kernel can be trusted with. ``str()`` is one screen for people.
#[pyclass(frozen, eq, module = "ctnetlink", name = "Capabilities")]
#[derive(PartialEq)]
pub(crate) struct Capabilities(pub(crate) ctnetlink::Capabilities);

#[pymethods]
impl Capabilities {
    /// Return the capabilities as JSON text, for another process of the same boot.
    ///
    /// ``ValueError`` if the boot is not known (no ``/proc``).
    fn json(&self) -> PyResult<String> {
        serde_json::to_string(&self.0).map_err(|error| PyValueError::new_err(error.to_string()))
    }

    /// Read what ``json()`` has made.
    #[staticmethod]
    fn from_json(text: &str) -> PyResult<Capabilities> {
        let read = serde_json::from_str(text);
        read.map(Capabilities).map_err(|error| PyValueError::new_err(error.to_string()))
    }

    fn __reduce__<'py>(&self, py: Python<'py>) -> PyResult<(Bound<'py, PyAny>, (String,))> {
        Ok((py.get_type::<Capabilities>().getattr("from_json")?, (self.json()?,)))
    }

    /// The boot of the machine on which this was found; ``None`` if it cannot be read.
    #[getter]
    fn boot_id(&self) -> Option<&str> {
        self.0.boot_id.as_deref()
    }

    /// Dumps understand a filter on tuples (Linux 5.8).
    #[getter]
    fn dump_filter(&self) -> bool {
        self.0.dump_filter
    }

    /// Flushes understand a filter on tuples (Linux 6.12).
    #[getter]
    fn flush_filter(&self) -> bool {
        self.0.flush_filter
    }

    /// Dumps understand a filter on the status (Linux 5.15).
    #[getter]
    fn status_filter(&self) -> bool {
        self.0.status_filter
    }

    /// Dumps understand a filter on the zone (Linux 6.8).
    #[getter]
    fn zone_filter(&self) -> bool {
        self.0.zone_filter
    }

    /// Why the criteria could not be tried out, if they could not.
    #[getter]
    fn untested(&self) -> Option<&str> {
        self.0.untested.as_deref()
    }

    /// New entries count packets and bytes; ``None`` = cannot be read.
    #[getter]
    fn accounting(&self) -> Option<bool> {
        self.0.accounting
    }

    /// New entries get timestamps; ``None`` = cannot be read.
    #[getter]
    fn timestamps(&self) -> Option<bool> {
        self.0.timestamps
    }

    /// ``nf_conntrack_events``: 0 never, 1 always, 2 only entries made while somebody listens.
    #[getter]
    fn events(&self) -> Option<u8> {
        self.0.events
    }

    /// Entries carry marks; ``None`` = could not be tried out.
    #[getter]
    fn marks(&self) -> Option<bool> {
        self.0.marks
    }

    /// Entries can be in zones; ``None`` = could not be tried out.
    #[getter]
    fn zones(&self) -> Option<bool> {
        self.0.zones
    }

    /// Entries can have labels once a rule of the namespace uses labels.
    #[getter]
    fn labels(&self) -> Option<bool> {
        self.0.labels
    }

    /// Expectations can be listed.
    #[getter]
    fn expectations(&self) -> bool {
        self.0.expectations
    }

    /// Timeout policies are available.
    #[getter]
    fn timeout_policies(&self) -> bool {
        self.0.timeout_policies
    }

    /// For each criterion, trust in dumps and in flushes.
    ///
    /// ``proved``, ``assumed`` (not tried out, but harmless), ``WRONG`` (selects the wrong entries),
    /// ``refused``, ``untested`` or ``distrusted``.
    #[getter]
    fn trust(&self) -> HashMap<Criterion, (Trust, Trust)> {
        let trust = |trust: ctnetlink::Trust| Trust(trust.to_string());
        let both = |criterion| (trust(self.0.dump(criterion)), trust(self.0.flush(criterion)));
        let each = KernelCriterion::ALL.into_iter();
        each.map(|c| (Criterion(c.name().into()), both(c))).collect()
    }

    /// Entries of the namespace.
    #[getter]
    fn entries(&self) -> u32 {
        self.0.entries
    }

    /// Entries the kernel allows (``nf_conntrack_max``); 0 means unlimited.
    #[getter]
    fn limit(&self) -> u32 {
        self.0.limit
    }

    /// Return a copy without trust in any filtered flush, as on kernels before 6.12.
    fn distrust_flushes(&self) -> Capabilities {
        Capabilities(self.0.clone().distrust_flushes())
    }

    /// Return a copy without trust in a criterion, by its name in ``trust``.
    fn distrust(&self, criterion: &str) -> PyResult<Capabilities> {
        let criterion = criterion.parse().map_err(raise)?;
        Ok(Capabilities(self.0.clone().distrust(criterion)))
    }

    fn __str__(&self) -> String {
        self.0.to_string()
    }

    fn __repr__(&self) -> String {
        let trusted = self.trust().values().filter(|(dump, _)| dump.0 == "proved").count();
        format!("<ctnetlink.Capabilities {trusted} criteria proved for dumps>")
    }
}

copies!(Capabilities);
