//! `Dump`: entries in chunks, fetched without the interpreter lock.

use std::collections::VecDeque;
use std::sync::Mutex;

use ctnetlink::Error;
use pyo3::prelude::*;

use crate::error::raise;
use crate::flow::Flow;
use crate::options::lock;

/// Entries fetched at a time without the interpreter lock.
const CHUNK: usize = 256;

/// An iterator over the entries of a running dump.
#[pyclass(frozen, module = "ctnetlink", name = "Dump")]
pub(crate) struct Dump(Mutex<DumpState>);

impl Dump {
    pub(crate) fn new(dump: ctnetlink::Dump) -> Dump {
        Dump(Mutex::new(DumpState { dump: Some(dump), chunk: VecDeque::new(), error: None }))
    }
}

struct DumpState {
    dump: Option<ctnetlink::Dump>,
    chunk: VecDeque<ctnetlink::Flow>,
    /// An error that came after the entries of the chunk, and is raised after them.
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
