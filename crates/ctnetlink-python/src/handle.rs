//! `Conntrack`. Every call into the kernel is made without the interpreter lock.

use std::fs::File;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use ctnetlink::Error;
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::capability::Capabilities;
use crate::deletion::{DeleteReport, Deletions, Zeroed};
use crate::desired::DesiredState;
use crate::dump::Dump;
use crate::error::{raise, raise_io};
use crate::filter::{self, AnyFilter};
use crate::flow::Flow;
use crate::options::{Options, lock, seconds};
use crate::report::Report;

/// The conntrack table of one network namespace.
#[pyclass(frozen, module = "ctnetlink", name = "Conntrack")]
pub(crate) struct Conntrack(Mutex<Option<Arc<ctnetlink::Conntrack>>>);

impl Conntrack {
    fn open_handle(&self) -> PyResult<Arc<ctnetlink::Conntrack>> {
        let handle = lock(&self.0).clone();
        handle.ok_or_else(|| PyValueError::new_err("the conntrack handle is closed"))
    }

    /// Runs an operation without the interpreter lock.
    pub(crate) fn detached<T: Send>(
        &self,
        py: Python<'_>,
        operation: impl FnOnce(&ctnetlink::Conntrack) -> Result<T, Error> + Send,
    ) -> PyResult<T> {
        let handle = self.open_handle()?;
        py.detach(|| operation(&handle)).map_err(raise)
    }
}

#[pymethods]
impl Conntrack {
    #[new]
    #[pyo3(signature = (netns=None, *, pid=None))]
    fn new(py: Python<'_>, netns: Option<&Bound<'_, PyAny>>, pid: Option<u32>) -> PyResult<Self> {
        let place = match (netns, pid) {
            (None, None) => Place::Here,
            (Some(netns), None) => place(netns)?,
            (None, Some(pid)) => Place::Process(pid),
            (Some(_), Some(_)) => {
                return Err(PyTypeError::new_err("netns= and pid= cannot be combined"));
            }
        };
        let opened = py.detach(|| match place {
            Place::Here => ctnetlink::Conntrack::open(),
            Place::Named(name) => ctnetlink::Conntrack::open_named(&name),
            Place::Path(path) => ctnetlink::Conntrack::open_path(path),
            Place::File(file) => ctnetlink::Conntrack::open_in(file),
            Place::Process(pid) => ctnetlink::Conntrack::open_pid(pid),
        });
        Ok(Conntrack(Mutex::new(Some(Arc::new(opened.map_err(raise)?)))))
    }

    fn __enter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    #[pyo3(signature = (*_exception))]
    fn __exit__(&self, _exception: &Bound<'_, PyAny>) {
        self.close();
    }

    /// Close the handle. Running dumps continue.
    fn close(&self) {
        lock(&self.0).take();
    }

    /// Count the entries that match a filter or keywords; without either, return the kernel's
    /// count.
    #[pyo3(signature = (filter=None, **criteria))]
    fn count(
        &self,
        py: Python<'_>,
        filter: Option<AnyFilter>,
        criteria: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<u64> {
        let filter = filter::from_call(filter, criteria)?;
        self.detached(py, |ct| match &filter {
            Some(filter) => ct.dump(filter)?.count(),
            None => ct.count().map(u64::from),
        })
    }

    /// Find out what the running kernel can be trusted with; this handle then uses it.
    #[pyo3(signature = (*, within=None))]
    fn capabilities(&self, py: Python<'_>, within: Option<f64>) -> PyResult<Capabilities> {
        let limit = within.map(|limit| seconds("within", limit)).transpose()?;
        let found = self.detached(py, |ct| match limit {
            Some(limit) => ct.capabilities_within(limit),
            None => ct.capabilities(),
        });
        found.map(Capabilities)
    }

    /// Trust the kernel as far as these capabilities say, from another handle on this machine.
    fn use_capabilities(&self, capabilities: &Capabilities) -> PyResult<()> {
        self.open_handle()?.use_capabilities(&capabilities.0).map_err(raise)
    }

    /// Entries the kernel allows (nf_conntrack_max); 0 means unlimited.
    fn limit(&self, py: Python<'_>) -> PyResult<u32> {
        self.detached(py, ctnetlink::Conntrack::limit)
    }

    /// Stream the entries that match a filter or keywords; all of them without either.
    #[pyo3(signature = (filter=None, **criteria))]
    fn dump(
        &self,
        py: Python<'_>,
        filter: Option<AnyFilter>,
        criteria: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<Dump> {
        let filter = filter::from_call(filter, criteria)?;
        let dump = self.detached(py, |ct| ct.dump(filter.as_ref()))?;
        Ok(Dump::new(dump))
    }

    /// Delete exactly this entry, by reply tuple, zone and id as dumped.
    fn delete(&self, py: Python<'_>, flow: &Flow) -> PyResult<()> {
        self.detached(py, |ct| ct.delete(&flow.0))
    }

    /// Delete many entries, each as delete() does; one failure does not stop the rest.
    fn delete_many(&self, py: Python<'_>, flows: &Bound<'_, PyAny>) -> PyResult<Deletions> {
        let flows: Vec<Py<Flow>> = flows
            .try_iter()?
            .map(|flow| Ok(flow?.cast::<Flow>()?.clone().unbind()))
            .collect::<PyResult<_>>()?;
        let done =
            self.detached(py, |ct| ct.delete_many(flows.iter().map(|flow| &flow.get().0)))?;
        Ok(Deletions(done))
    }

    /// Delete the entries that match a filter or keywords, or count them with dry_run.
    #[pyo3(signature = (filter=None, *, dry_run=false, in_kernel=false, **criteria))]
    fn delete_matching(
        &self,
        py: Python<'_>,
        filter: Option<AnyFilter>,
        dry_run: bool,
        in_kernel: bool,
        criteria: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<Option<DeleteReport>> {
        let filter = filter::required(filter, criteria)?;
        if dry_run && in_kernel {
            return Err(PyValueError::new_err(
                "dry_run and in_kernel cannot be combined: the kernel does not count",
            ));
        }
        self.detached(py, |ct| {
            let deletion = ct.delete_matching(&filter).dry_run(dry_run);
            if in_kernel {
                return deletion.in_kernel().map(|()| None);
            }
            deletion.run().map(|report| Some(DeleteReport(report)))
        })
    }

    /// Read the entries that match and zero their counters, each in one step.
    #[pyo3(signature = (filter=None, **criteria))]
    fn zero(
        &self,
        py: Python<'_>,
        filter: Option<AnyFilter>,
        criteria: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<Zeroed> {
        let filter = filter::required(filter, criteria)?;
        self.detached(py, |ct| {
            let mut flows = Vec::new();
            let result = ct.zero(&filter, |flow| flows.push(flow));
            match result {
                // What was zeroed must not be lost with the error.
                Err(error) if flows.is_empty() => Err(error),
                result => Ok(Zeroed::new(flows, result.err())),
            }
        })
    }

    /// Remove the entries that are stale with respect to a desired state, and only those.
    #[pyo3(signature = (
        desired, *, profile="strict", dry_run=false, protocols=None, zones=None, recheck=Some(0.1),
        previous=None
    ), text_signature = "($self, desired, *, profile='strict', dry_run=False, protocols=None, zones=None, \
        recheck=0.1, previous=None)")]
    #[allow(clippy::too_many_arguments)]
    fn reconcile(
        &self,
        py: Python<'_>,
        desired: &DesiredState,
        profile: &str,
        dry_run: bool,
        protocols: Option<Vec<Bound<'_, PyAny>>>,
        zones: Option<Bound<'_, PyAny>>,
        recheck: Option<f64>,
        previous: Option<&DesiredState>,
    ) -> PyResult<Report> {
        let authority = "rules";
        let options = Options { profile, dry_run, protocols, zones, authority, recheck, previous };
        let mut reconciler = options.reconciler()?;
        self.detached(py, |ct| reconciler.run(ct, &desired.0)).map(Report)
    }
}

/// Which namespace to open.
enum Place {
    Here,
    Named(String),
    Path(PathBuf),
    File(File),
    Process(u32),
}

/// A namespace from a name, a path, or an object with `fileno()`.
fn place(netns: &Bound<'_, PyAny>) -> PyResult<Place> {
    if let Ok(text) = netns.extract::<String>() {
        return Ok(if text.contains('/') { Place::Path(text.into()) } else { Place::Named(text) });
    }
    if let Ok(path) = netns.extract::<PathBuf>() {
        return Ok(Place::Path(path));
    }
    let Ok(number) = netns.call_method0("fileno") else {
        return Err(PyTypeError::new_err(format!(
            "netns={}: expected a name as `ip netns` knows it, a path, or an object with fileno(); \
             for the namespace of a process, use pid=",
            netns.repr()?
        )));
    };
    // Opens the same namespace again, so that the caller may close its descriptor.
    let path = PathBuf::from(format!("/proc/self/fd/{}", number.extract::<u32>()?));
    File::open(&path).map(Place::File).map_err(|e| raise_io(&e, path))
}
