//! `Dump`: entries by datagram, fetched without the interpreter lock.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use ctnetlink::{Error, Step};
use pyo3::prelude::*;

use crate::error::raise;
use crate::flow::Flow;
use crate::value::lock;

/// How long to fetch, if nothing matches, until signals are looked at.
const PATIENCE: Duration = Duration::from_millis(10);

/// A running dump: an iterator over entries.
///
/// It is not a snapshot. An entry that exists during the whole dump is reported at least once; one that
/// is inserted meanwhile may be missing, and after a removal another may be reported twice. Entries
/// are read as they are asked for, so memory does not depend on the size of the table. The end of a
/// ``with`` block ends the dump, and so does dropping it.
#[pyclass(frozen, module = "ctnetlink", name = "Dump")]
pub(crate) struct Dump(Mutex<DumpState>);

struct DumpState {
    dump: Option<ctnetlink::Dump>,
    pushdown: String,
    received: u64,
    chunk: VecDeque<ctnetlink::Flow>,
    /// An error that came after the entries of the chunk, and is raised after them.
    error: Option<Error>,
}

impl Dump {
    pub(crate) fn new(dump: ctnetlink::Dump) -> Dump {
        Dump(Mutex::new(DumpState {
            pushdown: dump.pushdown().to_owned(),
            received: 0,
            dump: Some(dump),
            chunk: VecDeque::new(),
            error: None,
        }))
    }
}

impl DumpState {
    /// Fetches the entries of a datagram, or of several in which nothing matches.
    fn fetch(&mut self) {
        let started = Instant::now();
        while let Some(dump) = &mut self.dump {
            let step = dump.step();
            let ended = match step {
                Ok(Step::Entry(flow)) => {
                    self.chunk.push_back(flow.to_owned());
                    continue;
                }
                Ok(Step::Datagram) => false,
                Ok(Step::End) => true,
                Err(error) => {
                    self.error = Some(error);
                    true
                }
            };
            self.received = dump.received();
            if ended {
                self.dump = None;
            }
            if !self.chunk.is_empty() || started.elapsed() > PATIENCE {
                return;
            }
        }
    }
}

#[pymethods]
impl Dump {
    /// Entries that the kernel has sent so far, matching or not.
    #[getter]
    fn received(&self, py: Python<'_>) -> u64 {
        py.detach(|| lock(&self.0).received)
    }

    /// What the kernel filters by, in the words of the filter, with ``; `` between requests.
    ///
    /// Empty if it filters nothing. Every entry is matched again here in any case.
    #[getter]
    fn pushdown(&self, py: Python<'_>) -> String {
        py.detach(|| lock(&self.0).pushdown.clone())
    }

    /// End the dump. What was fetched but not read yet is dropped.
    fn close(&self, py: Python<'_>) {
        py.detach(|| {
            let mut state = lock(&self.0);
            state.dump = None;
            state.chunk.clear();
            state.error = None;
        });
    }

    fn __enter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    #[pyo3(signature = (*_exception))]
    fn __exit__(&self, py: Python<'_>, _exception: &Bound<'_, PyAny>) {
        self.close(py);
    }

    fn __iter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    fn __next__(&self, py: Python<'_>) -> PyResult<Option<Flow>> {
        // Without waiting, if an entry is at hand.
        if let Ok(mut state) = self.0.try_lock()
            && let Some(flow) = state.chunk.pop_front()
        {
            return Ok(Some(Flow(flow)));
        }
        loop {
            let next = py.detach(|| {
                let mut state = lock(&self.0);
                if state.chunk.is_empty() {
                    state.fetch();
                }
                match state.chunk.pop_front() {
                    Some(flow) => Some(Ok(Some(flow))),
                    None if state.dump.is_none() => Some(state.error.take().map_or(Ok(None), Err)),
                    None => None,
                }
            });
            // `list(dump)` runs no instruction of Python, between which signals are looked at.
            py.check_signals()?;
            if let Some(next) = next {
                return Ok(next.map_err(raise)?.map(Flow));
            }
        }
    }

    fn __repr__(&self) -> String {
        match self.0.try_lock() {
            Ok(state) => {
                let ended = if state.dump.is_none() { ", ended" } else { "" };
                format!("<ctnetlink.Dump, {} entries received{ended}>", state.received)
            }
            Err(_) => "<ctnetlink.Dump, being read>".into(),
        }
    }
}
