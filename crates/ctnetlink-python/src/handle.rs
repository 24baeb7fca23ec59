//! `Conntrack` and `Dump`. Every call into the kernel is made without the interpreter lock.

use std::collections::VecDeque;
use std::fs::File;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ctnetlink::{Error, Profile, Reconciler};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::capability::Capabilities;
use crate::deletion::{DeleteReport, Deletions, Zeroed};
use crate::desired::DesiredState;
use crate::error::{raise, raise_io};
use crate::filter::{self, AnyFilter, AnyProtocol};
use crate::flow::Flow;
use crate::report::Report;

/// Entries fetched at a time without the interpreter lock.
const CHUNK: usize = 256;

/// The conntrack table of one network namespace.
#[pyclass(frozen, module = "ctnetlink", name = "Conntrack")]
pub(crate) struct Conntrack(Mutex<Option<Arc<ctnetlink::Conntrack>>>);

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Conntrack {
    fn open_handle(&self) -> PyResult<Arc<ctnetlink::Conntrack>> {
        let handle = lock(&self.0).clone();
        handle.ok_or_else(|| PyValueError::new_err("the conntrack handle is closed"))
    }

    /// Runs an operation without the interpreter lock.
    fn detached<T: Send>(
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
    #[pyo3(signature = (netns=None))]
    fn new(py: Python<'_>, netns: Option<&Bound<'_, PyAny>>) -> PyResult<Self> {
        let namespace = netns.map(namespace).transpose()?;
        let opened = py.detach(|| match namespace {
            Some(namespace) => ctnetlink::Conntrack::open_in(namespace),
            None => ctnetlink::Conntrack::open(),
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

    fn close(&self) {
        lock(&self.0).take();
    }

    #[pyo3(signature = (filter=None, **criteria))]
    fn count(
        &self,
        py: Python<'_>,
        filter: Option<AnyFilter<'_>>,
        criteria: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<u64> {
        let filter = filter::from_call(py, filter, criteria)?;
        self.detached(py, |ct| match &filter {
            Some(filter) => ct.dump(filter)?.count(),
            None => ct.count().map(u64::from),
        })
    }

    fn capabilities(&self, py: Python<'_>) -> PyResult<Capabilities> {
        self.detached(py, ctnetlink::Conntrack::capabilities).map(Capabilities)
    }

    fn use_capabilities(&self, capabilities: &Capabilities) -> PyResult<()> {
        self.open_handle()?.use_capabilities(&capabilities.0);
        Ok(())
    }

    fn limit(&self, py: Python<'_>) -> PyResult<u32> {
        self.detached(py, ctnetlink::Conntrack::limit)
    }

    #[pyo3(signature = (filter=None, **criteria))]
    fn dump(
        &self,
        py: Python<'_>,
        filter: Option<AnyFilter<'_>>,
        criteria: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<Dump> {
        let filter = filter::from_call(py, filter, criteria)?;
        let dump = self.detached(py, |ct| ct.dump(filter.as_ref()))?;
        let state = DumpState { dump: Some(dump), chunk: VecDeque::new(), error: None };
        Ok(Dump(Mutex::new(state)))
    }

    fn delete(&self, py: Python<'_>, flow: &Flow) -> PyResult<()> {
        self.detached(py, |ct| ct.delete(&flow.0))
    }

    fn delete_all(&self, py: Python<'_>, flows: &Bound<'_, PyAny>) -> PyResult<Deletions> {
        let flows: Vec<Py<Flow>> = flows
            .try_iter()?
            .map(|flow| Ok(flow?.cast::<Flow>()?.clone().unbind()))
            .collect::<PyResult<_>>()?;
        let done = self.detached(py, |ct| ct.delete_all(flows.iter().map(|flow| &flow.get().0)))?;
        Ok(Deletions::new(py, done))
    }

    #[pyo3(signature = (filter=None, *, dry_run=false, in_kernel=false, **criteria))]
    fn delete_matching(
        &self,
        py: Python<'_>,
        filter: Option<AnyFilter<'_>>,
        dry_run: bool,
        in_kernel: bool,
        criteria: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<Option<DeleteReport>> {
        let filter = one_filter(py, filter, criteria)?;
        self.detached(py, |ct| {
            let mut deletion = ct.delete_matching(&filter);
            if dry_run {
                deletion = deletion.dry_run();
            }
            if in_kernel {
                return deletion.in_kernel().map(|()| None);
            }
            deletion.run().map(|report| Some(DeleteReport(report)))
        })
    }

    #[pyo3(signature = (filter=None, **criteria))]
    fn zero(
        &self,
        py: Python<'_>,
        filter: Option<AnyFilter<'_>>,
        criteria: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<Zeroed> {
        let filter = one_filter(py, filter, criteria)?;
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
        protocols: Option<Vec<AnyProtocol>>,
        zones: Option<Vec<u16>>,
        recheck: Option<f64>,
        previous: Option<&DesiredState>,
    ) -> PyResult<Report> {
        let delay = recheck
            .map(Duration::try_from_secs_f64)
            .transpose()
            .map_err(|e| PyValueError::new_err(format!("recheck: {e}")))?;
        let mut reconciler = Reconciler::new(profile.parse::<Profile>().map_err(raise)?)
            .dry_run(dry_run)
            .recheck(delay);
        if protocols.as_ref().is_some_and(Vec::is_empty)
            || zones.as_ref().is_some_and(Vec::is_empty)
        {
            return Err(PyValueError::new_err("protocols and zones: an empty list judges nothing"));
        }
        if let Some(protocols) = protocols {
            reconciler = reconciler.protocols(protocols.into_iter().map(|AnyProtocol(p)| p));
        }
        if let Some(zones) = zones {
            reconciler = reconciler.zones(zones);
        }
        if let Some(previous) = previous {
            reconciler = reconciler.previous(previous.0.clone());
        }
        self.detached(py, |ct| reconciler.run(ct, &desired.0)).map(Report)
    }
}

/// The filter of a call that needs one: without it everything would be meant.
fn one_filter(
    py: Python<'_>,
    filter: Option<AnyFilter<'_>>,
    criteria: Option<&Bound<'_, PyDict>>,
) -> PyResult<ctnetlink::Filter> {
    filter::from_call(py, filter, criteria)?
        .ok_or_else(|| PyValueError::new_err("no filter is not a filter: name a criterion"))
}

/// A namespace from a path, a file descriptor, or an object with `fileno()`.
fn namespace(netns: &Bound<'_, PyAny>) -> PyResult<File> {
    let path = match netns.extract::<PathBuf>() {
        Ok(path) => path,
        Err(_) => {
            let number = match netns.call_method0("fileno") {
                Ok(number) => number.extract::<u32>()?,
                Err(_) => netns.extract::<u32>()?,
            };
            // Opens the same namespace once more, so that the caller may close theirs.
            PathBuf::from(format!("/proc/self/fd/{number}"))
        }
    };
    File::open(&path).map_err(|e| raise_io(&e, path))
}

/// An iterator over the entries of a running dump.
#[pyclass(frozen, module = "ctnetlink", name = "Dump")]
pub(crate) struct Dump(Mutex<DumpState>);

struct DumpState {
    dump: Option<ctnetlink::Dump>,
    chunk: VecDeque<ctnetlink::Flow>,
    /// Found behind the entries of the chunk, raised after them.
    error: Option<Error>,
}

impl DumpState {
    fn fetch(&mut self) {
        let Some(dump) = &mut self.dump else { return };
        while self.chunk.len() < CHUNK {
            match dump.next() {
                Ok(Some(flow)) => self.chunk.push_back(flow.to_owned()),
                Ok(None) => {
                    self.dump = None;
                    return;
                }
                Err(error) => {
                    self.dump = None;
                    self.error = Some(error);
                    return;
                }
            }
        }
    }
}

#[pymethods]
impl Dump {
    fn __iter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    fn __next__(&self, py: Python<'_>) -> PyResult<Option<Flow>> {
        let next = py.detach(|| {
            let mut state = lock(&self.0);
            if state.chunk.is_empty() {
                state.fetch();
            }
            match state.chunk.pop_front() {
                Some(flow) => Ok(Some(flow)),
                None => state.error.take().map_or(Ok(None), Err),
            }
        });
        Ok(next.map_err(raise)?.map(Flow))
    }
}
