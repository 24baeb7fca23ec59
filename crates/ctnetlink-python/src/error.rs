//! Errors: `OSError` with an errno wherever there is one, so that Python itself makes it a
//! `PermissionError`, a `FileNotFoundError` and so on.

use std::io;
use std::path::PathBuf;

use ctnetlink::Error;
use pyo3::create_exception;
use pyo3::exceptions::{PyOSError, PyRuntimeError, PyValueError};
use pyo3::prelude::*;

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

/// Turns a library error into an exception.
pub(crate) fn raise(error: Error) -> PyErr {
    let text = error.to_string();
    match (&error, error.raw_os_error()) {
        (Error::Invalid(_), _) => PyValueError::new_err(text),
        // A file that cannot be opened: its path belongs in the exception's `filename`.
        (Error::Io { call, source, .. }, _) if call.starts_with('/') => {
            raise_io(source, PathBuf::from(call.as_ref()))
        }
        (Error::DumpInterrupted, _) => DumpInterrupted::new_err(text),
        // Two arguments, or errno would be None and the subclass plain OSError.
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
