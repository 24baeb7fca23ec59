//! `DesiredState`.

use std::fs;
use std::net::IpAddr;
use std::path::PathBuf;

use ctnetlink_kube::{Cluster, Options};
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyString};

use crate::error::{raise_io, raise_kube};

/// What should be: frontends, and the backends that serve them.
#[pyclass(frozen, module = "ctnetlink", name = "DesiredState")]
pub(crate) struct DesiredState(pub(crate) ctnetlink::DesiredState);

#[pymethods]
impl DesiredState {
    #[staticmethod]
    #[pyo3(signature = (source, *, node_addresses=Vec::new(), no_endpoints_ok=false))]
    fn from_kubernetes(
        py: Python<'_>,
        source: &Bound<'_, PyAny>,
        node_addresses: Vec<IpAddr>,
        no_endpoints_ok: bool,
    ) -> PyResult<Self> {
        let (json, name) = read(source)?;
        let mut options = Options::default();
        options.node_addresses = node_addresses;
        options.no_endpoints_ok = no_endpoints_ok;
        let state = py.detach(|| Cluster::from_json(&json)?.desired_state(&options));
        state.map(DesiredState).map_err(|error| raise_kube(error, &name))
    }

    /// What was left out of the input, one line each.
    #[getter]
    fn notes(&self) -> Vec<String> {
        self.0.notes().to_vec()
    }

    /// Every frontend, as `(protocol, address, port)`.
    #[getter]
    fn frontends(&self) -> Vec<(String, IpAddr, u16)> {
        self.0.frontends().map(|f| (f.protocol.to_string(), f.address, f.port)).collect()
    }

    fn __repr__(&self) -> String {
        format!("<ctnetlink.DesiredState of {} service ports>", self.0.services().len())
    }
}

/// `str` and `bytes` are JSON, a path-like or a file object is a file. With what errors should say
/// in front.
fn read(source: &Bound<'_, PyAny>) -> PyResult<(Vec<u8>, String)> {
    if let Ok(text) = source.cast::<PyString>() {
        let json = text.to_str()?.as_bytes().to_vec();
        // The mistake everybody makes once.
        let looks_like_json = matches!(json.trim_ascii_start().first(), None | Some(b'{' | b'['));
        let hint = "a str is the JSON itself, pass a pathlib.Path for a file: ";
        return Ok((json, if looks_like_json { String::new() } else { hint.into() }));
    }
    if let Ok(bytes) = source.cast::<PyBytes>() {
        return Ok((bytes.as_bytes().to_vec(), String::new()));
    }
    if source.hasattr("read")? {
        let contents = source.call_method0("read")?;
        if contents.is_instance_of::<PyString>() || contents.is_instance_of::<PyBytes>() {
            let name = source.getattr("name").map(|name| format!("{name}: ")).unwrap_or_default();
            return Ok((read(&contents)?.0, name));
        }
        return Err(PyTypeError::new_err("source.read() must return str or bytes"));
    }
    let Ok(path) = source.extract::<PathBuf>() else {
        return Err(PyTypeError::new_err(
            "source must be str or bytes (JSON), a path-like object, or a file object",
        ));
    };
    let name = format!("{}: ", path.display());
    Ok((fs::read(&path).map_err(|e| raise_io(&e, path))?, name))
}
