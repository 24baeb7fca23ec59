//! `Conntrack`. Every call into the kernel is made without the interpreter lock.

mod entries;
mod expectations;
mod filtered;
mod timeouts;

use std::fs::File;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use ctnetlink::Error;
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;

pub(crate) use self::entries::Echoing;
use crate::call;
use crate::cancel::Canceller;
use crate::capability::Capabilities;
use crate::error::{raise, raise_io};
use crate::stats::{CpuStats, ExpectStats};
use crate::value::{Span, lock};

/// The conntrack table of one network namespace.
///
/// ``Conntrack()`` opens this thread's namespace. ``netns`` is another one: a name as ``ip netns``
/// knows it (``"blue"``), a path (``"/proc/1/ns/net"``), or an object with ``fileno()``. ``pid`` is a
/// process, whose namespace is opened.
///
/// Everything but opening needs ``CAP_NET_ADMIN`` in the user namespace that owns the network
/// namespace; without it calls raise ``PermissionError``, which says what to do. All calls release the
/// interpreter lock, and one handle can be used by several threads. Ctrl-C ends every call at once; a
/// request that the kernel is working on then is finished by the kernel.
///
/// A handle also works in a child process after ``fork``: the child gets sockets of its own. A dump
/// belongs to the process that started it.
#[pyclass(frozen, module = "ctnetlink", name = "Conntrack")]
pub(crate) struct Conntrack(Mutex<Option<Arc<ctnetlink::Conntrack>>>);

impl Conntrack {
    pub(crate) fn open_handle(&self) -> PyResult<Arc<ctnetlink::Conntrack>> {
        let handle = lock(&self.0).clone();
        handle.ok_or_else(|| PyValueError::new_err("the conntrack handle is closed"))
    }

    /// Runs a short operation without the interpreter lock.
    pub(crate) fn detached<T: Send>(
        &self,
        py: Python<'_>,
        operation: impl FnOnce(&ctnetlink::Conntrack) -> Result<T, Error> + Send,
    ) -> PyResult<T> {
        let handle = self.open_handle()?;
        py.detach(|| operation(&handle)).map_err(raise)
    }

    /// Runs an operation that can take long, and that a signal ends.
    pub(crate) fn long<T: Send + 'static>(
        &self,
        py: Python<'_>,
        operation: impl FnOnce(&ctnetlink::Conntrack) -> Result<T, Error> + Send + 'static,
    ) -> PyResult<T> {
        let handle = self.open_handle()?;
        let operation = |ct: &ctnetlink::Conntrack, _: &call::Teller<_, ()>| operation(ct);
        call::long(py, &handle, None, operation)?.map_err(raise)
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

    /// Return the same handle, whose long operations end when the canceller cancels.
    ///
    /// It has the same sockets and proofs. Dumps, counts, deletes, zeroing, batches, probes and
    /// reconciliations look at the canceller between datagrams, and end with ``Cancelled``.
    fn cancelled_by(&self, canceller: &Canceller) -> PyResult<Conntrack> {
        let handle = self.open_handle()?.cancelled_by(&canceller.0);
        Ok(Conntrack(Mutex::new(Some(Arc::new(handle)))))
    }

    /// Return how many entries the kernel lets each namespace have; 0 means unlimited.
    ///
    /// This is ``nf_conntrack_max``.
    fn limit(&self, py: Python<'_>) -> PyResult<u32> {
        self.detached(py, ctnetlink::Conntrack::limit)
    }

    /// Find out what the running kernel can filter by, flush by, count and timestamp.
    ///
    /// A dump does not need it: it proves the shape of its own request when it first needs it. After
    /// this call, what was found here decides. With ``within``, what cannot be tried out in so many
    /// seconds stays untested, which is always safe; ``Capabilities.untested`` says so.
    #[pyo3(signature = (*, within=None))]
    fn capabilities(&self, py: Python<'_>, within: Option<Span>) -> PyResult<Capabilities> {
        let found = self.long(py, move |ct| match within {
            Some(limit) => ct.capabilities_within(limit.0),
            None => ct.capabilities(),
        });
        found.map(Capabilities)
    }

    /// Trust the kernel as far as these capabilities say.
    ///
    /// They may come from another handle on this machine, or from a file. Those of another boot are a
    /// ``ValueError``.
    fn use_capabilities(&self, capabilities: &Capabilities) -> PyResult<()> {
        self.open_handle()?.use_capabilities(&capabilities.0).map_err(raise)
    }

    /// Return the statistics of each CPU for this namespace.
    fn stats_per_cpu(&self, py: Python<'_>) -> PyResult<Vec<CpuStats>> {
        let stats = self.detached(py, ctnetlink::Conntrack::stats_per_cpu)?;
        Ok(stats.into_iter().map(CpuStats::from).collect())
    }

    /// Return the statistics of expectations on each CPU.
    fn expect_stats_per_cpu(&self, py: Python<'_>) -> PyResult<Vec<ExpectStats>> {
        let stats = self.detached(py, ctnetlink::Conntrack::expect_stats_per_cpu)?;
        Ok(stats.into_iter().map(ExpectStats::from).collect())
    }

    /// The netlink port id of the command socket.
    ///
    /// Events that this handle's operations cause carry it (``nlmsg_pid``); those of packets and timers
    /// carry 0.
    #[getter]
    fn port_id(&self, py: Python<'_>) -> PyResult<u32> {
        self.detached(py, ctnetlink::Conntrack::port_id)
    }

    /// Set the size of the receive buffer of the command socket, and return the resulting size.
    ///
    /// The kernel caps the figure at ``net.core.rmem_max`` and doubles it. The default holds the answers
    /// to any batch; with a smaller buffer, lost answers are noticed and asked for again.
    fn set_receive_buffer(&self, py: Python<'_>, bytes: i32) -> PyResult<usize> {
        self.detached(py, |ct| ct.set_receive_buffer(bytes))
    }

    fn __repr__(&self) -> &'static str {
        match *lock(&self.0) {
            Some(_) => "<ctnetlink.Conntrack>",
            None => "<ctnetlink.Conntrack, closed>",
        }
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
