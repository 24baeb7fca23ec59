//! Errors: `OSError` with an errno wherever there is one, so that Python itself makes it a
//! `PermissionError`, a `FileNotFoundError` and so on.

use std::io;
use std::path::PathBuf;

use ctnetlink::Error;
use pyo3::create_exception;
use pyo3::exceptions::{PyFileNotFoundError, PyOSError, PyRuntimeError, PyValueError};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyType;

create_exception!(
    ctnetlink,
    DecodeError,
    PyValueError,
    "An answer of the kernel is malformed, or was cut."
);
create_exception!(
    ctnetlink,
    DumpInterrupted,
    PyRuntimeError,
    "The table was resized during a dump, so entries may be missing; try again."
);

create_exception!(
    ctnetlink,
    Cancelled,
    PyOSError,
    "The operation was cancelled on request before it finished."
);
create_exception!(ctnetlink, NotSupported, PyOSError, "The kernel does not offer ctnetlink.");
create_exception!(
    ctnetlink,
    Overrun,
    PyOSError,
    "The socket's receive buffer overflowed, and answers of the kernel were lost; try again."
);
create_exception!(
    ctnetlink,
    AnotherEntry,
    PyFileNotFoundError,
    "The key names no entry. The kernel found another one by it, which was left alone."
);
create_exception!(
    ctnetlink,
    HalfState,
    PyValueError,
    "A desired state that is only half of one. Nothing was sent: it must not mean that everything is \
     gone."
);

/// `FilterSyntaxError`, which has a field more than its text. A class that inherits from a built-in one
/// cannot be written here for Python 3.11.
fn syntax_error(text: String, position: usize) -> PyErr {
    Python::attach(|py| {
        static CLASS: PyOnceLock<Py<PyType>> = PyOnceLock::new();
        match CLASS.import(py, "ctnetlink._errors", "FilterSyntaxError") {
            Ok(class) => PyErr::from_type(class.clone(), (text, position)),
            Err(error) => error,
        }
    })
}

/// Turns a library error into an exception.
pub(crate) fn raise(error: Error) -> PyErr {
    let errno = error.raw_os_error();
    // Python puts the errno in front.
    let text = match errno {
        Some(errno) => error.to_string().replace(&format!(", errno {errno})"), ")"),
        None => error.to_string(),
    };
    match (&error, errno) {
        (Error::Invalid(_), _) => PyValueError::new_err(text),
        (Error::HalfState { .. }, _) => HalfState::new_err(text),
        (Error::Syntax { position, .. }, _) => syntax_error(text, *position),
        // A file that cannot be opened: its path belongs in the exception's `filename`.
        (Error::Io { call, source, .. }, _) if call.starts_with('/') => {
            raise_io(source, PathBuf::from(call.as_ref()))
        }
        (Error::DumpInterrupted, _) => DumpInterrupted::new_err(text),
        // Two arguments, or errno would be None.
        (Error::Cancelled { .. }, Some(errno)) => Cancelled::new_err((errno, text)),
        (Error::NotSupported { .. }, Some(errno)) => NotSupported::new_err((errno, text)),
        (Error::Overrun { .. }, Some(errno)) => Overrun::new_err((errno, text)),
        (Error::AnotherEntry { .. }, Some(errno)) => AnotherEntry::new_err((errno, text)),
        (_, Some(errno)) => PyOSError::new_err((errno, text)),
        (_, None) => DecodeError::new_err(text),
    }
}

/// Turns the error of a file that cannot be read into an `OSError`.
pub(crate) fn raise_io(error: &io::Error, path: PathBuf) -> PyErr {
    let errno = error.raw_os_error().unwrap_or(0);
    // The standard library appends the errno, which Python puts in front.
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or_default().to_owned();
    PyOSError::new_err((errno, text, path.into_os_string()))
}

/// Turns an error in Kubernetes objects into a `ValueError`. `source` is the prefix that says where
/// they came from.
pub(crate) fn raise_kube(error: ctnetlink_kube::Error, source: &str) -> PyErr {
    PyValueError::new_err(format!("{source}{error}"))
}
