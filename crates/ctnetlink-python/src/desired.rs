//! `DesiredState`.

use std::fs;
use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Instant;

use ctnetlink::{Endpoint, Frontend, HostAddresses, IpNet};
use ctnetlink_kube::{Cluster, Options};
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyMapping, PyString};

use crate::error::{raise, raise_io, raise_kube};
use crate::keyword;
use crate::options::seconds;

/// The desired state: frontends, and the backends that serve them.
#[pyclass(frozen, module = "ctnetlink", name = "DesiredState")]
pub(crate) struct DesiredState(pub(crate) ctnetlink::DesiredState);

#[pymethods]
impl DesiredState {
    #[staticmethod]
    #[pyo3(signature = (
        source, *, node_addresses=Vec::new(), node_port_addresses=None, node_name=None,
        extra_backends=None, no_endpoints_ok=false, no_services_ok=false, age=None
    ), text_signature = "(source, *, node_addresses=(), node_port_addresses=None, node_name=None, \
        extra_backends=None, no_endpoints_ok=False, no_services_ok=False, age=None)")]
    #[expect(clippy::too_many_arguments, reason = "they are keywords")]
    fn from_kubernetes(
        py: Python<'_>,
        source: &Bound<'_, PyAny>,
        node_addresses: Vec<IpAddr>,
        node_port_addresses: Option<Vec<IpAddr>>,
        node_name: Option<String>,
        extra_backends: Option<&Bound<'_, PyMapping>>,
        no_endpoints_ok: bool,
        no_services_ok: bool,
        age: Option<f64>,
    ) -> PyResult<Self> {
        let fetched = fetched(age)?;
        let (json, name) = read(source)?;
        let mut options = Options::default();
        options.node_addresses = node_addresses;
        options.node_port_addresses = node_port_addresses;
        options.node_name = node_name;
        options.extra_backends = extra(extra_backends)?;
        options.no_endpoints_ok = no_endpoints_ok;
        options.no_services_ok = no_services_ok;
        options.fetched = fetched;
        let state = py.detach(|| Cluster::from_json(&json)?.desired_state(&options));
        state.map(DesiredState).map_err(|error| raise_kube(error, &name))
    }

    #[staticmethod]
    #[pyo3(
        signature = (frontends, *, node_addresses=Vec::new(), extra_backends=None, age=None),
        text_signature = "(frontends, *, node_addresses=(), extra_backends=None, age=None)"
    )]
    fn from_frontends(
        frontends: &Bound<'_, PyMapping>,
        node_addresses: Vec<IpAddr>,
        extra_backends: Option<&Bound<'_, PyMapping>>,
        age: Option<f64>,
    ) -> PyResult<Self> {
        let mut builder = builder(node_addresses, age)?;
        for (frontend, backend) in extra(extra_backends)? {
            builder = builder.extra_backends(frontend, [backend]);
        }
        for item in frontends.items()?.iter() {
            let (frontend, backends) = item.extract::<(Bound<'_, PyAny>, Bound<'_, PyAny>)>()?;
            let key = frontend_of("frontends", &frontend)?;
            let endpoints: PyResult<Vec<_>> =
                backends.try_iter().and_then(|all| all.map(|one| endpoint(&one?)).collect());
            let expected = "backends are (address, port) or (address, port, serving)";
            let endpoints = endpoints.map_err(|e| wrong("frontends", &frontend, expected, &e))?;
            builder = builder.frontend(key.protocol, key.address, key.port).backends(endpoints);
        }
        builder.build().map(DesiredState).map_err(raise)
    }

    /// Ports of containers that the host publishes, and those that it publishes no more.
    #[staticmethod]
    #[pyo3(
        signature = (
            published=Vec::new(), *, unpublished=Vec::new(), node_addresses=Vec::new(), age=None
        ),
        text_signature = "(published=(), *, unpublished=(), node_addresses=(), age=None)"
    )]
    fn from_published(
        published: Vec<Bound<'_, PyAny>>,
        unpublished: Vec<Bound<'_, PyAny>>,
        node_addresses: Vec<IpAddr>,
        age: Option<f64>,
    ) -> PyResult<Self> {
        let mut builder = builder(node_addresses, age)?;
        for one in published {
            let (protocol, ports, host, container, container_ports) = one.extract::<(
                Bound<'_, PyAny>,
                Bound<'_, PyAny>,
                Option<Vec<IpAddr>>,
                IpAddr,
                Bound<'_, PyAny>,
            )>()?;
            let (ports, container_ports) = (port_range(&ports)?, port_range(&container_ports)?);
            let protocol = keyword::protocol(&protocol)?;
            builder = builder.published(protocol, ports, host_of(host), container, container_ports);
        }
        for one in unpublished {
            let (protocol, ports, host, container) =
                one.extract::<(Bound<'_, PyAny>, Bound<'_, PyAny>, Option<Vec<IpAddr>>, IpAddr)>()?;
            let protocol = keyword::protocol(&protocol)?;
            builder = builder.unpublished(protocol, port_range(&ports)?, host_of(host), container);
        }
        builder.build().map(DesiredState).map_err(raise)
    }

    /// Services that are not judged, as `namespace/name`.
    #[getter]
    fn unknown(&self) -> Vec<String> {
        self.0.unknown().iter().map(|u| format!("{}/{}", u.namespace, u.name)).collect()
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

/// What is wrong with an item of a mapping from frontends.
fn wrong(mapping: &str, key: &Bound<'_, PyAny>, what: &str, error: &PyErr) -> PyErr {
    let error = error.value(key.py());
    PyValueError::new_err(format!("{mapping}: {key}: {what}: {error}"))
}

/// `(protocol, address, port)`.
fn frontend_of(mapping: &str, key: &Bound<'_, PyAny>) -> PyResult<Frontend> {
    let (protocol, address, port) = key
        .extract::<(Bound<'_, PyAny>, IpAddr, u16)>()
        .map_err(|e| wrong(mapping, key, "expected (protocol, address, port)", &e))?;
    let protocol = keyword::protocol(&protocol).map_err(|e| wrong(mapping, key, "protocol", &e))?;
    Ok(Frontend::new(address, port, protocol))
}

/// A mapping from frontends to addresses and prefixes.
fn extra(mapping: Option<&Bound<'_, PyMapping>>) -> PyResult<Vec<(Frontend, IpNet)>> {
    let mut all = Vec::new();
    let Some(mapping) = mapping else { return Ok(all) };
    for item in mapping.items()?.iter() {
        let (key, backends) = item.extract::<(Bound<'_, PyAny>, Bound<'_, PyAny>)>()?;
        let frontend = frontend_of("extra_backends", &key)?;
        all.extend(keyword::addresses(&backends)?.iter().map(|backend| (frontend, backend)));
    }
    Ok(all)
}

/// A port, or a `range` of them.
fn port_range(ports: &Bound<'_, PyAny>) -> PyResult<RangeInclusive<u16>> {
    let ranges: Vec<_> = keyword::ports(ports)?.iter().collect();
    match &ranges[..] {
        [range] => Ok(range.clone()),
        _ => Err(PyValueError::new_err("expected a port or one range of ports")),
    }
}

/// `None` is any local address.
fn host_of(addresses: Option<Vec<IpAddr>>) -> HostAddresses {
    addresses.map_or(HostAddresses::AnyLocal, HostAddresses::These)
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

/// Reads a source: `str` and `bytes` are JSON, a path-like or a file object is a file. Also returns
/// a prefix for errors.
fn read(source: &Bound<'_, PyAny>) -> PyResult<(Vec<u8>, String)> {
    if let Ok(text) = source.cast::<PyString>() {
        let json = text.to_str()?.as_bytes().to_vec();
        // A path given as a str is a common mistake.
        let looks_like_json = matches!(json.trim_ascii_start().first(), None | Some(b'{' | b'['));
        let hint = "a str is the JSON itself (pass a pathlib.Path for a file): ";
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

/// When objects that are `age` seconds old were fetched.
fn fetched(age: Option<f64>) -> PyResult<Option<Instant>> {
    let age = age.map(|age| seconds("age", age)).transpose()?;
    Ok(age.and_then(|age| Instant::now().checked_sub(age)))
}

fn builder(
    node_addresses: Vec<IpAddr>,
    age: Option<f64>,
) -> PyResult<ctnetlink::DesiredStateBuilder> {
    let builder = ctnetlink::DesiredState::builder().node_addresses(node_addresses);
    let fetched = fetched(age)?.into_iter();
    Ok(fetched.fold(builder, ctnetlink::DesiredStateBuilder::fetched_at))
}
