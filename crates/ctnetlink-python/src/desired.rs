//! `DesiredState`.

use std::fs;
use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use ctnetlink::{HostAddresses, IpNet};
use ctnetlink_kube::{Cluster, Options};
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyMapping, PyString};

use crate::error::{raise, raise_io, raise_kube};
use crate::keyword;
use crate::service::{Endpoint, Frontend, ServicePort, Unknown};
use crate::value::{Address, Protocol, Socket, Span};

/// The desired state: frontends, and the backends that serve them.
#[pyclass(frozen, module = "ctnetlink", name = "DesiredState")]
pub(crate) struct DesiredState(Arc<ctnetlink::DesiredState>);

impl DesiredState {
    pub(crate) fn core(&self) -> &ctnetlink::DesiredState {
        &self.0
    }

    fn of(state: ctnetlink::DesiredState) -> DesiredState {
        DesiredState(Arc::new(state))
    }

    pub(crate) fn state(&self) -> &ctnetlink::DesiredState {
        &self.0
    }

    pub(crate) fn shared(&self) -> Arc<ctnetlink::DesiredState> {
        Arc::clone(&self.0)
    }
}

#[pymethods]
impl DesiredState {
    /// Make it from ``kubectl get services,endpointslices -A -o json``.
    ///
    /// ``str`` and ``bytes`` are the JSON itself; a path-like object or a file object is a file. A
    /// service that cannot be read is named in ``notes`` and not judged. Half a picture is a
    /// ``ValueError``: usable services without any EndpointSlice, unless ``no_endpoints_ok``; no service
    /// at all, or EndpointSlices without their services, unless ``no_services_ok``; the first page of a
    /// list.
    ///
    /// ``node_addresses`` are all addresses of this node: without them ``strict`` judges no node ports,
    /// and cannot spare a host service at an external IP that is the node's own.
    /// ``node_port_addresses`` are those at which node ports are answered, if not all of them.
    /// ``node_name`` tells which endpoints are on this node. ``extra_backends`` are valid backends that
    /// no service lists, by frontend: ``{("udp", "10.96.0.10", 53): "169.254.20.10"}``. ``age`` is how
    /// many seconds ago the objects were fetched, for observers.
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
        age: Option<Span>,
    ) -> PyResult<Self> {
        let fetched = fetched(age);
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
        state.map(DesiredState::of).map_err(|error| raise_kube(error, &name))
    }

    /// Make it without Kubernetes: ``{("udp", "10.96.0.10", 53): [("10.244.1.5", 53)]}``.
    ///
    /// List all backends of each frontend; an empty list means that nothing serves it. A frontend is a
    /// ``Frontend`` or a tuple as above. A backend is an ``Endpoint``, or ``(address, port)``, or
    /// ``(address, port, serving)``: if it does not serve, it is not a valid backend, but its flows can
    /// be in a grace time. ``age`` is how many seconds old this knowledge is, for observers.
    #[staticmethod]
    #[pyo3(
        signature = (frontends, *, node_addresses=Vec::new(), extra_backends=None, age=None),
        text_signature = "(frontends, *, node_addresses=(), extra_backends=None, age=None)"
    )]
    fn from_frontends(
        frontends: &Bound<'_, PyMapping>,
        node_addresses: Vec<IpAddr>,
        extra_backends: Option<&Bound<'_, PyMapping>>,
        age: Option<Span>,
    ) -> PyResult<Self> {
        let mut builder = builder(node_addresses, age);
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
        builder.build().map(DesiredState::of).map_err(raise)
    }

    /// Make it of service ports, without the JSON of Kubernetes.
    ///
    /// ``unknown`` are services that are not judged, ``notes`` lines about what was left out.
    /// ``made_from_services`` is how many Services there were, if some of them have no port in this
    /// list; it tells a list that has lost its services. The other keywords are those of
    /// ``from_kubernetes``.
    #[staticmethod]
    #[pyo3(
        signature = (
            services, *, unknown=Vec::new(), node_addresses=Vec::new(), node_port_addresses=None,
            extra_backends=None, notes=Vec::new(), made_from_services=None, age=None
        ),
        text_signature = "(services, *, unknown=(), node_addresses=(), node_port_addresses=None, \
            extra_backends=None, notes=(), made_from_services=None, age=None)"
    )]
    #[expect(clippy::too_many_arguments, reason = "they are keywords")]
    fn from_services(
        services: &Bound<'_, PyAny>,
        unknown: Vec<Unknown>,
        node_addresses: Vec<IpAddr>,
        node_port_addresses: Option<Vec<IpAddr>>,
        extra_backends: Option<&Bound<'_, PyMapping>>,
        notes: Vec<String>,
        made_from_services: Option<usize>,
        age: Option<Span>,
    ) -> PyResult<Self> {
        type Builder = ctnetlink::DesiredStateBuilder;
        let mut builder = builder(node_addresses, age);
        for service in services.try_iter()? {
            builder = builder.service(service?.extract::<ServicePort>()?.into());
        }
        builder = unknown.into_iter().fold(builder, |b, one| b.unknown(one.into()));
        builder = node_port_addresses.into_iter().fold(builder, Builder::node_port_addresses);
        for (frontend, backend) in extra(extra_backends)? {
            builder = builder.extra_backends(frontend, [backend]);
        }
        builder = notes.into_iter().fold(builder, Builder::note);
        builder = made_from_services.into_iter().fold(builder, Builder::made_from_services);
        builder.build().map(DesiredState::of).map_err(raise)
    }

    /// Make it of ports that a container engine publishes, without Kubernetes.
    ///
    /// Each is ``(protocol, host_ports, host_addresses, container, container_ports)``; the ports are a
    /// number or a ``range`` of as many; ``None`` for the host's addresses is any local one, which takes
    /// ``node_addresses``. ``unpublished`` are ports that are no longer published, without the
    /// container's ports: flows that lead to that container are stale. ``age`` is how many seconds old
    /// this knowledge is, for observers.
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
        age: Option<Span>,
    ) -> PyResult<Self> {
        let mut builder = builder(node_addresses, age);
        for one in published {
            let (protocol, ports, host, container, container_ports) = one.extract::<(
                Bound<'_, PyAny>,
                Bound<'_, PyAny>,
                Option<Vec<IpAddr>>,
                IpAddr,
                Bound<'_, PyAny>,
            )>()?;
            let (ports, container_ports) = (port_range(&ports)?, port_range(&container_ports)?);
            let protocol = protocol.extract::<Protocol>()?.0;
            builder = builder.published(protocol, ports, host_of(host), container, container_ports);
        }
        for one in unpublished {
            let (protocol, ports, host, container) =
                one.extract::<(Bound<'_, PyAny>, Bound<'_, PyAny>, Option<Vec<IpAddr>>, IpAddr)>()?;
            let protocol = protocol.extract::<Protocol>()?.0;
            builder = builder.unpublished(protocol, port_range(&ports)?, host_of(host), container);
        }
        builder.build().map(DesiredState::of).map_err(raise)
    }

    /// Every service port.
    #[getter]
    fn services(&self) -> Vec<ServicePort> {
        self.0.services().iter().map(ServicePort::from).collect()
    }

    /// Services that are not judged.
    #[getter]
    fn unknown(&self) -> Vec<Unknown> {
        self.0.unknown().iter().map(Unknown::from).collect()
    }

    /// What was left out of the input, one line each.
    #[getter]
    fn notes(&self) -> Vec<String> {
        self.0.notes().to_vec()
    }

    /// Every frontend.
    #[getter]
    fn frontends(&self) -> Vec<Frontend> {
        self.0.frontends().map(Frontend::from).collect()
    }

    /// The addresses of this node.
    #[getter]
    fn node_addresses(&self) -> Vec<Address> {
        self.0.node_addresses().iter().copied().map(Address).collect()
    }

    /// The addresses at which node ports are answered.
    #[getter]
    fn node_port_addresses(&self) -> Vec<Address> {
        self.0.node_port_addresses().iter().copied().map(Address).collect()
    }

    /// How many seconds ago this was the state of the cluster; ``None`` if that is not known.
    #[getter]
    fn age(&self) -> Option<f64> {
        self.0.fetched().map(|fetched| fetched.elapsed().as_secs_f64())
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
fn frontend_of(mapping: &str, key: &Bound<'_, PyAny>) -> PyResult<ctnetlink::Frontend> {
    if let Ok(frontend) = key.extract::<Frontend>() {
        return Ok(frontend.into());
    }
    let (protocol, address, port) = key
        .extract::<(Bound<'_, PyAny>, IpAddr, u16)>()
        .map_err(|e| wrong(mapping, key, "expected (protocol, address, port)", &e))?;
    let protocol = keyword::protocol(&protocol).map_err(|e| wrong(mapping, key, "protocol", &e))?;
    Ok(ctnetlink::Frontend::new(address, port, protocol))
}

/// A mapping from frontends to addresses and prefixes.
fn extra(mapping: Option<&Bound<'_, PyMapping>>) -> PyResult<Vec<(ctnetlink::Frontend, IpNet)>> {
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

/// An `Endpoint`, `(address, port)`, or `(address, port, serving)`.
fn endpoint(backend: &Bound<'_, PyAny>) -> PyResult<ctnetlink::Endpoint> {
    if let Ok(endpoint) = backend.extract::<Endpoint>() {
        return Ok(endpoint.into());
    }
    let (address, port, serving) = match backend.extract::<(IpAddr, u16, bool)>() {
        Ok(all) => all,
        Err(_) => {
            let (address, port) = backend.extract::<Socket>()?;
            (address.0, port, true)
        }
    };
    Ok(ctnetlink::Endpoint::new((address, port).into()).serving(serving))
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

/// When objects of this age were fetched.
fn fetched(age: Option<Span>) -> Option<Instant> {
    age.and_then(|age| Instant::now().checked_sub(age.0))
}

fn builder(node_addresses: Vec<IpAddr>, age: Option<Span>) -> ctnetlink::DesiredStateBuilder {
    let builder = ctnetlink::DesiredState::builder().node_addresses(node_addresses);
    fetched(age).into_iter().fold(builder, ctnetlink::DesiredStateBuilder::fetched_at)
}
