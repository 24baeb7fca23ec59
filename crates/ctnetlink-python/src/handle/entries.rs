//! Operations on single entries, and batches of them.

use std::sync::Arc;

use pyo3::prelude::*;

use super::Conntrack;
use crate::batch::{Batch, Outcome};
use crate::deletion::Deletions;
use crate::error::raise;
use crate::flow::Flow;
use crate::key::Key;
use crate::new_entry::{Change, NewEntry};
use crate::value::{Family, lock};

#[pymethods]
impl Conntrack {
    /// Fetch one entry. ``FileNotFoundError`` if it does not exist.
    fn get(&self, py: Python<'_>, key: Key) -> PyResult<Flow> {
        self.detached(py, |ct| ct.get(&key.0)).map(Flow)
    }

    /// Fetch one entry and zero its counters in one step, so that no packet goes uncounted in between.
    fn get_and_zero(&self, py: Python<'_>, key: Key) -> PyResult<Flow> {
        self.detached(py, |ct| ct.get_and_zero(&key.0)).map(Flow)
    }

    /// Create an entry. ``FileExistsError`` if either tuple collides with an entry of the zone.
    fn create(&self, py: Python<'_>, entry: &NewEntry) -> PyResult<()> {
        self.detached(py, |ct| ct.create(&entry.entry))
    }

    /// Create an entry, or update the one that has its original tuple (and keeps its own reply tuple).
    fn create_or_update(&self, py: Python<'_>, entry: &NewEntry) -> PyResult<()> {
        self.detached(py, |ct| ct.create_or_update(&entry.entry))
    }

    /// Change an entry. ``FileNotFoundError`` if it does not exist.
    ///
    /// The entry is fetched, compared with the key, and then named by its own reply tuple and zone; the
    /// kernel does not compare the id in an update.
    fn update(&self, py: Python<'_>, key: Key, change: &Change) -> PyResult<()> {
        self.detached(py, |ct| ct.update(&key.0, &change.change))
    }

    /// Delete exactly this entry, by reply tuple, zone and id as dumped.
    ///
    /// ``FileNotFoundError`` if it is gone, or was re-created toward another backend.
    fn delete(&self, py: Python<'_>, flow: Flow) -> PyResult<()> {
        self.detached(py, |ct| ct.delete(&flow.0))
    }

    /// Delete the entry that has this key now, which may not be the one you have seen.
    ///
    /// ``FileNotFoundError`` if it does not exist, or if its id is not the one in the key.
    fn delete_key(&self, py: Python<'_>, key: Key) -> PyResult<()> {
        self.detached(py, |ct| ct.delete_key(&key.0))
    }

    /// Delete many entries, each as ``delete`` does; one failure does not stop the rest.
    fn delete_many(&self, py: Python<'_>, flows: &Bound<'_, PyAny>) -> PyResult<Deletions> {
        let flows: Vec<Py<Flow>> = flows
            .try_iter()?
            .map(|flow| Ok(flow?.cast::<Flow>()?.clone().unbind()))
            .collect::<PyResult<_>>()?;
        let done =
            self.long(py, move |ct| ct.delete_many(flows.iter().map(|flow| &flow.get().0)))?;
        Ok(Deletions::of(py, &done))
    }

    /// Run a batch and return the outcome of each operation, in order. The batch is empty afterwards.
    fn execute(&self, py: Python<'_>, batch: &Batch) -> PyResult<Vec<Outcome>> {
        let mut taken = std::mem::take(&mut *lock(&batch.0));
        let outcomes = self.long(py, move |ct| ct.execute(&mut taken))?;
        Ok(outcomes.iter().map(|outcome| Outcome::of(py, outcome)).collect())
    }

    /// Remove **every** entry of a family.
    ///
    /// There is no count, because the kernel does not report one. Entries inserted during the flush may
    /// survive. Kernels before 4.20 ignore the family.
    fn flush(&self, py: Python<'_>, family: Family) -> PyResult<()> {
        self.long(py, move |ct| ct.flush(family.0))
    }

    /// Remove **every** entry of both families.
    fn flush_all(&self, py: Python<'_>) -> PyResult<()> {
        self.long(py, ctnetlink::Conntrack::flush_all)
    }

    /// Return the operations that report the entry they touch.
    fn echo(&self) -> PyResult<Echoing> {
        self.open_handle().map(Echoing)
    }
}

/// Operations that report the entry they touch, as it is then, in the same request.
///
/// ``None`` = the kernel did it, and reported nothing. Made by ``Conntrack.echo()``.
#[pyclass(frozen, module = "ctnetlink", name = "Echoing")]
pub(crate) struct Echoing(Arc<ctnetlink::Conntrack>);

impl Echoing {
    fn run(
        &self,
        py: Python<'_>,
        operation: impl FnOnce(&ctnetlink::Echoing<'_>) -> ctnetlink::Result<ctnetlink::Echo> + Send,
    ) -> PyResult<Option<Flow>> {
        let echo = py.detach(|| operation(&self.0.echo())).map_err(raise)?;
        Ok(echo.flow().cloned().map(Flow))
    }
}

#[pymethods]
impl Echoing {
    /// Create an entry, and return it.
    fn create(&self, py: Python<'_>, entry: &NewEntry) -> PyResult<Option<Flow>> {
        self.run(py, |echo| echo.create(&entry.entry))
    }

    /// Create an entry, or update the one that has its original tuple, and return it.
    fn create_or_update(&self, py: Python<'_>, entry: &NewEntry) -> PyResult<Option<Flow>> {
        self.run(py, |echo| echo.create_or_update(&entry.entry))
    }

    /// Change an entry, and return it.
    fn update(&self, py: Python<'_>, key: Key, change: &Change) -> PyResult<Option<Flow>> {
        self.run(py, |echo| echo.update(&key.0, &change.change))
    }

    /// Delete exactly this entry, and return it as it was last.
    fn delete(&self, py: Python<'_>, flow: Flow) -> PyResult<Option<Flow>> {
        self.run(py, |echo| echo.delete(&flow.0))
    }

    /// Delete the entry that has this key now, and return it as it was last.
    fn delete_key(&self, py: Python<'_>, key: Key) -> PyResult<Option<Flow>> {
        self.run(py, |echo| echo.delete_key(&key.0))
    }

    fn __repr__(&self) -> &'static str {
        "<ctnetlink.Echoing>"
    }
}
