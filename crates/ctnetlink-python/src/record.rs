//! What classes of values have in common: `record!`, copies and pickles.

use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList, PyTuple};

/// A class of plain values: frozen, equal by value, and made of all its fields, so that it can be
/// matched, copied and pickled. The first brackets have `hash` if it can be a key, the second the
/// signature of the constructor if it has defaults. The comments of the class and of the fields are
/// what `help()` shows.
macro_rules! record {
    ([$($hash:ident)?] [] $(#[$meta:meta])* $name:ident {
        $($(#[$doc:meta])* $field:ident: $kind:ty,)*
    }) => {
        $crate::record::record! {
            [$($hash)?] [$($field),*] $(#[$meta])* $name { $($(#[$doc])* $field: $kind,)* }
        }
    };
    ([$($hash:ident)?] [$($signature:tt)+] $(#[$meta:meta])* $name:ident {
        $($(#[$doc:meta])* $field:ident: $kind:ty,)*
    }) => {
        $(#[$meta])*
        #[pyclass(frozen, eq, get_all, from_py_object, $($hash,)? module = "ctnetlink")]
        #[derive(Clone, PartialEq)]
        pub(crate) struct $name { $($(#[$doc])* pub(crate) $field: $kind,)* }

        #[pymethods]
        impl $name {
            #[new]
            #[pyo3(signature = ($($signature)+))]
            #[allow(clippy::too_many_arguments, reason = "they are the fields")]
            fn new($($field: $kind),*) -> Self {
                Self { $($field),* }
            }

            #[classattr]
            #[pyo3(name = "__match_args__")]
            fn match_args(py: Python<'_>) -> PyResult<Bound<'_, pyo3::types::PyTuple>> {
                pyo3::types::PyTuple::new(py, [$($crate::record::name(stringify!($field))),*])
            }

            fn __reduce__<'py>(slf: &Bound<'py, Self>) -> PyResult<$crate::record::Reduced<'py>> {
                $crate::record::reduce(slf.as_any(), &[$(stringify!($field)),*])
            }

            fn __repr__(slf: &Bound<'_, Self>) -> PyResult<String> {
                $crate::record::show(slf.as_any(), &[$(stringify!($field)),*])
            }
        }

        $crate::record::copies!($name);
    };
}
pub(crate) use record;

/// The name of a field without Rust's mark of a keyword.
pub(crate) fn name(field: &'static str) -> &'static str {
    field.trim_start_matches("r#")
}

/// What `__reduce__` returns: the class and the arguments that make an equal value.
pub(crate) type Reduced<'py> = (Bound<'py, PyAny>, Bound<'py, PyTuple>);

pub(crate) fn reduce<'py>(
    value: &Bound<'py, PyAny>,
    fields: &[&'static str],
) -> PyResult<Reduced<'py>> {
    let fields = fields.iter().map(|field| value.getattr(name(field)));
    let fields = fields.collect::<PyResult<Vec<_>>>()?;
    Ok((value.get_type().into_any(), PyTuple::new(value.py(), fields)?))
}

/// `Name(field=value, ...)`, without the lines for people.
pub(crate) fn show(value: &Bound<'_, PyAny>, fields: &[&'static str]) -> PyResult<String> {
    let fields = fields.iter().filter(|name| **name != "text");
    let field = |field: &&'static str| {
        let field = name(field);
        Ok(format!("{field}={}", value.getattr(field)?.repr()?))
    };
    let fields = fields.map(field).collect::<PyResult<Vec<_>>>()?;
    Ok(format!("{}({})", value.get_type().name()?, fields.join(", ")))
}

/// Methods of a class whose values never change.
macro_rules! copies {
    ($name:ident) => {
        #[pymethods]
        impl $name {
            fn __copy__(slf: Py<Self>) -> Py<Self> {
                slf
            }

            fn __deepcopy__(slf: Py<Self>, _memo: &Bound<'_, PyAny>) -> Py<Self> {
                slf
            }
        }
    };
}
pub(crate) use copies;

/// What an object was made with, to show and to pickle it. `None` values count as not given.
pub(crate) struct Made(Py<PyDict>);

impl Made {
    pub(crate) fn with<'py>(
        py: Python<'py>,
        named: &[(&str, &Bound<'py, PyAny>)],
        options: Option<&Bound<'py, PyDict>>,
    ) -> PyResult<Made> {
        let all = PyDict::new(py);
        for (name, value) in named {
            all.set_item(*name, value)?;
        }
        for (name, value) in options.into_iter().flatten() {
            if value.is_none() {
                continue;
            }
            // An iterator can be read once only.
            let value = match value.hasattr("__next__")? {
                true => {
                    PyList::new(py, value.try_iter()?.collect::<PyResult<Vec<_>>>()?)?.into_any()
                }
                false => value,
            };
            all.set_item(name, value)?;
        }
        Ok(Made(all.unbind()))
    }

    /// Keywords that are complete; those that are `None` are left out when it is shown.
    pub(crate) fn of(options: Bound<'_, PyDict>) -> Made {
        Made(options.unbind())
    }

    pub(crate) fn options<'py>(&self, py: Python<'py>) -> &Bound<'py, PyDict> {
        self.0.bind(py)
    }

    pub(crate) fn show(&self, name: &str, py: Python<'_>) -> PyResult<String> {
        let option = |(key, value): (Bound<'_, PyAny>, Bound<'_, PyAny>)| {
            Ok(format!("{key}={}", value.repr()?))
        };
        let given = self.0.bind(py).iter().filter(|(_, value)| !value.is_none());
        let options = given.map(option).collect::<PyResult<Vec<_>>>()?;
        Ok(format!("{name}({})", options.join(", ")))
    }

    /// `__reduce__`: `_ctnetlink._make(maker, options)`, with a class or one of its constructors.
    pub(crate) fn reduce_by<'py>(&self, maker: &Bound<'py, PyAny>) -> PyResult<Reduced<'py>> {
        let py = maker.py();
        let make = py.import("ctnetlink._ctnetlink")?.getattr("_make")?;
        let arguments = (maker, self.0.bind(py).copy()?);
        Ok((make, arguments.into_pyobject(py)?))
    }
}

/// Makes an object again from its keywords: what pickle calls.
#[pyfunction]
pub(crate) fn _make<'py>(
    maker: &Bound<'py, PyAny>,
    options: &Bound<'py, PyDict>,
) -> PyResult<Bound<'py, PyAny>> {
    maker.call((), Some(options))
}
