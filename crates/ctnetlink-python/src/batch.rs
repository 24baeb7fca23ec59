//! `Batch` and `Outcome`: many operations at once.

use std::sync::Mutex;

use pyo3::prelude::*;

use crate::error::raise;
use crate::flow::Flow;
use crate::key::Key;
use crate::new_entry::{Change, NewEntry};
use crate::record::record;
use crate::value::{OutcomeKind, Raised, lock};

/// Operations to be sent together, 200 to a datagram, with an outcome for each.
///
/// A batch is not a transaction: an operation that fails does not stop the others. The kernel answers
/// only failures, so a batch costs little more than the work itself. ``Conntrack.execute()`` runs it.
#[pyclass(frozen, module = "ctnetlink", name = "Batch")]
pub(crate) struct Batch(pub(crate) Mutex<ctnetlink::Batch>);

#[pymethods]
impl Batch {
    #[new]
    fn new() -> Batch {
        Batch(Mutex::new(ctnetlink::Batch::new()))
    }

    /// Add the creation of an entry.
    fn create(&self, entry: &NewEntry) -> PyResult<()> {
        lock(&self.0).create(&entry.entry).map_err(raise)
    }

    /// Add the creation of an entry, or the update of the one that has its original tuple.
    fn create_or_update(&self, entry: &NewEntry) -> PyResult<()> {
        lock(&self.0).create_or_update(&entry.entry).map_err(raise)
    }

    /// Add the change of an entry.
    fn update(&self, key: Key, change: &Change) -> PyResult<()> {
        lock(&self.0).update(&key.0, &change.change).map_err(raise)
    }

    /// Add the delete of exactly this entry, as it was dumped.
    fn delete(&self, flow: Flow) -> PyResult<()> {
        lock(&self.0).delete(&flow.0).map_err(raise)
    }

    /// Add the delete of the entry that has this key then.
    fn delete_key(&self, key: Key) -> PyResult<()> {
        lock(&self.0).delete_key(&key.0).map_err(raise)
    }

    fn __len__(&self) -> usize {
        lock(&self.0).len()
    }

    fn __repr__(&self) -> String {
        format!("<ctnetlink.Batch of {} operations>", self.__len__())
    }
}

record! {
    [] [kind, error=None, exists=None]
    /// What came of one operation of a batch.
    Outcome {
        /// ``done``, ``not_found``, ``unknown`` or ``failed``.
        kind: OutcomeKind,
        /// Why it failed, if it did.
        error: Option<Raised>,
        /// Of an unknown outcome: whether the entry exists now.
        exists: Option<bool>,
    }
}

#[pymethods]
impl Outcome {
    /// It was done.
    #[getter]
    fn is_done(&self) -> bool {
        self.kind.0 == "done"
    }

    /// There is no such entry.
    #[getter]
    fn is_not_found(&self) -> bool {
        self.kind.0 == "not_found"
    }
}

impl Outcome {
    pub(crate) fn of(py: Python<'_>, outcome: &ctnetlink::Outcome) -> Outcome {
        use ctnetlink::Outcome as O;
        let (kind, exists) = match outcome {
            O::Done => ("done", None),
            O::NotFound => ("not_found", None),
            O::Unknown { exists } => ("unknown", Some(*exists)),
            O::Failed(_) => ("failed", None),
            _ => ("unknown", None),
        };
        let error = outcome.error().map(|error| Raised::of(py, error));
        Outcome { kind: OutcomeKind(kind.into()), error, exists }
    }
}
