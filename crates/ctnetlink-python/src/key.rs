//! Names of entries and of expectations: `Key`, `ExpectKey`.

use ctnetlink::KeyDirection;
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::record::{Made, Reduced, copies};
use crate::tuple::Tuple;

/// Names one entry, by the complete tuple of one direction, with its zone and, if wanted, its id.
///
/// A tuple is unique within a zone. The id is not an incarnation number; to pin an entry to its
/// backend, name it by its reply tuple. The kernel would also take the entry whose other direction
/// has the tuple; every operation compares the entry with the key first.
#[pyclass(frozen, eq, hash, from_py_object, module = "ctnetlink", name = "Key")]
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct Key(pub(crate) ctnetlink::Key);

#[pymethods]
impl Key {
    /// Name an entry by its original tuple.
    ///
    /// ``zone`` applies to both directions; a zone of one direction belongs in the tuple. With ``id``
    /// the entry is meant only if it has this id.
    #[staticmethod]
    #[pyo3(signature = (tuple, *, zone=None, id=None))]
    fn orig(tuple: Tuple, zone: Option<u16>, id: Option<u32>) -> Key {
        Key(with(ctnetlink::Key::orig(tuple.0), zone, id))
    }

    /// Name an entry by its reply tuple.
    ///
    /// ``zone`` applies to both directions; a zone of one direction belongs in the tuple. With ``id``
    /// the entry is meant only if it has this id.
    #[staticmethod]
    #[pyo3(signature = (tuple, *, zone=None, id=None))]
    fn reply(tuple: Tuple, zone: Option<u16>, id: Option<u32>) -> Key {
        Key(with(ctnetlink::Key::reply(tuple.0), zone, id))
    }

    /// ``orig`` or ``reply``: the direction the tuple is given in.
    #[getter]
    fn direction(&self) -> &'static str {
        match self.0.direction {
            KeyDirection::Orig => "orig",
            KeyDirection::Reply => "reply",
        }
    }

    /// The tuple.
    #[getter]
    fn tuple(&self) -> Tuple {
        Tuple(self.0.tuple)
    }

    /// The zone of both directions, if it is given.
    #[getter]
    fn zone(&self) -> Option<u16> {
        self.0.zone
    }

    /// The id, if it is given.
    #[getter]
    fn id(&self) -> Option<u32> {
        self.0.id
    }

    fn __reduce__<'py>(slf: &Bound<'py, Self>) -> PyResult<Reduced<'py>> {
        let (py, key) = (slf.py(), slf.get());
        let maker = slf.get_type().getattr(key.direction())?;
        let options = PyDict::new(py);
        options.set_item("tuple", key.tuple())?;
        options.set_item("zone", key.zone())?;
        options.set_item("id", key.id())?;
        Made::of(options).reduce_by(&maker)
    }

    fn __repr__(&self) -> String {
        let option =
            |name, value: Option<u32>| value.map_or_else(String::new, |v| format!(" {name}={v}"));
        let (zone, id) = (self.zone().map(u32::from), self.id());
        let (direction, tuple) = (self.direction(), self.tuple().0);
        let protocol = tuple.protocol();
        format!(
            "<ctnetlink.Key {direction} {protocol} {tuple}{}{}>",
            option("zone", zone),
            option("id", id)
        )
    }
}

copies!(Key);

fn with(key: ctnetlink::Key, zone: Option<u16>, id: Option<u32>) -> ctnetlink::Key {
    let key = zone.into_iter().fold(key, ctnetlink::Key::zone);
    id.into_iter().fold(key, ctnetlink::Key::id)
}

/// Names one expectation.
#[pyclass(frozen, module = "ctnetlink", name = "ExpectKey")]
pub(crate) struct ExpectKey {
    pub(crate) key: ctnetlink::ExpectKey,
    maker: &'static str,
    made: Made,
}

impl ExpectKey {
    fn made<'py>(
        py: Python<'py>,
        maker: &'static str,
        key: ctnetlink::ExpectKey,
        (named, tuple): (&'static str, Tuple),
        zone: Option<u16>,
        id: Option<u32>,
    ) -> PyResult<ExpectKey> {
        let key = zone.into_iter().fold(key, ctnetlink::ExpectKey::zone);
        let key = id.into_iter().fold(key, ctnetlink::ExpectKey::id);
        let options = PyDict::new(py);
        options.set_item(named, tuple)?;
        options.set_item("zone", zone)?;
        options.set_item("id", id)?;
        Ok(ExpectKey { key, maker, made: Made::of(options) })
    }
}

#[pymethods]
impl ExpectKey {
    /// Name an expectation by the tuple it expects.
    ///
    /// One that only covers the tuple by its mask is another one. ``zone`` is that of the master.
    #[staticmethod]
    #[pyo3(signature = (tuple, *, zone=None, id=None))]
    fn tuple(
        py: Python<'_>,
        tuple: Tuple,
        zone: Option<u16>,
        id: Option<u32>,
    ) -> PyResult<ExpectKey> {
        let key = ctnetlink::ExpectKey::tuple(tuple.0);
        ExpectKey::made(py, "tuple", key, ("tuple", tuple), zone, id)
    }

    /// Name the first expectation of a master, by the master's original tuple.
    ///
    /// This can get one, but not delete it.
    #[staticmethod]
    #[pyo3(signature = (orig, *, zone=None, id=None))]
    fn master(
        py: Python<'_>,
        orig: Tuple,
        zone: Option<u16>,
        id: Option<u32>,
    ) -> PyResult<ExpectKey> {
        let key = ctnetlink::ExpectKey::master(orig.0);
        ExpectKey::made(py, "master", key, ("orig", orig), zone, id)
    }

    fn __eq__(&self, other: &ExpectKey) -> bool {
        self.key == other.key
    }

    fn __reduce__<'py>(slf: &Bound<'py, Self>) -> PyResult<Reduced<'py>> {
        let key = slf.get();
        key.made.reduce_by(&slf.get_type().getattr(key.maker)?)
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        self.made.show(&format!("ExpectKey.{}", self.maker), py)
    }
}

copies!(ExpectKey);
