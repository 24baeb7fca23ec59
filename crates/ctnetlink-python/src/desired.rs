//! `DesiredState`.

use std::fs;
use std::net::IpAddr;
use std::path::PathBuf;

use ctnetlink::Endpoint;
use ctnetlink_kube::{Cluster, Options};
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyMapping, PyString};

use crate::error::{raise, raise_io, raise_kube};
use crate::keyword;

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

    #[staticmethod]
    #[pyo3(signature = (frontends, *, node_addresses=Vec::new()))]
    fn from_frontends(
        frontends: &Bound<'_, PyMapping>,
        node_addresses: Vec<IpAddr>,
    ) -> PyResult<Self> {
        let mut builder = ctnetlink::DesiredState::builder().node_addresses(node_addresses);
        for item in frontends.items()?.iter() {
            let (frontend, backends) = item.extract::<(Bound<'_, PyAny>, Bound<'_, PyAny>)>()?;
            let wrong = |what: &str, error: &PyErr| {
                let error = error.value(frontend.py());
                PyValueError::new_err(format!("frontends: {frontend}: {what}: {error}"))
            };
            let (protocol, address, port) =
                frontend
                    .extract::<(Bound<'_, PyAny>, IpAddr, u16)>()
                    .map_err(|e| wrong("expected (protocol, address, port)", &e))?;
            let protocol = keyword::protocol(&protocol).map_err(|e| wrong("protocol", &e))?;
            let endpoints: PyResult<Vec<_>> =
                backends.try_iter().and_then(|all| all.map(|one| endpoint(&one?)).collect());
            let expected = "backends are (address, port) or (address, port, serving)";
            let endpoints = endpoints.map_err(|e| wrong(expected, &e))?;
            builder = builder.frontend(protocol, address, port).backends(endpoints);
        }
        builder.build().map(DesiredState).map_err(raise)
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

/// `(address, port)`, or `(address, port, serving)`.
fn endpoint(backend: &Bound<'_, PyAny>) -> PyResult<Endpoint> {
    let (address, port, serving) = match backend.extract::<(IpAddr, u16, bool)>() {
        Ok(all) => all,
        Err(_) => {
            backend.extract::<(IpAddr, u16)>().map(|(address, port)| (address, port, true))?
        }
    };
    Ok(Endpoint::new((address, port).into()).serving(serving))
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
