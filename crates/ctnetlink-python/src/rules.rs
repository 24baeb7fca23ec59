//! Judging a flow without a kernel: `Rules`, `Verdict`, `History`, `Scope`.

use std::sync::Mutex;

use pyo3::prelude::*;

use crate::desired::DesiredState;
use crate::filter::Filter;
use crate::flow::Flow;
use crate::options::zones;
use crate::record::record;
use crate::value::{Family, Profile, Protocol, Reason, VerdictKind, lock};

record! {
    [hash] []
    /// What is to be done with a flow.
    #[derive(Eq, Hash)]
    Verdict {
        /// ``keep``, ``stale``, or ``suspect``: stale unless it is just being made.
        kind: VerdictKind,
        /// Why it is stale or suspect.
        reason: Option<Reason>,
    }
}

/// What to look at: the profile, protocols and zones of a reconciliation.
///
/// ``zones`` are numbers or ``"all"``; without them the default zone, or all with the profile
/// ``kube-proxy``.
#[pyclass(frozen, eq, from_py_object, module = "ctnetlink", name = "Scope")]
#[derive(Clone, PartialEq)]
pub(crate) struct Scope(ctnetlink::Scope);

#[pymethods]
impl Scope {
    #[new]
    #[pyo3(
        signature = (*, profile=Profile(ctnetlink::Profile::Strict), protocols=None, zones=None),
        text_signature = "(*, profile='strict', protocols=None, zones=None)"
    )]
    fn new(
        profile: Profile,
        protocols: Option<Vec<Protocol>>,
        zones: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Scope> {
        let mut scope = ctnetlink::Scope::default();
        scope.profile = profile.0;
        if let Some(protocols) = protocols {
            scope.protocols = protocols.into_iter().map(|protocol| protocol.0).collect();
        }
        if let Some(wanted) = zones {
            scope.zones = self::zones(wanted)?;
        }
        Ok(Scope(scope))
    }

    /// The profile.
    #[getter]
    fn profile(&self) -> Profile {
        Profile(self.0.profile)
    }

    /// The protocols that are looked at.
    #[getter]
    fn protocols(&self) -> Vec<Protocol> {
        self.0.protocols.iter().copied().map(Protocol).collect()
    }

    /// Return whether entries of a zone are looked at.
    fn looks_at(&self, zone: u16) -> bool {
        self.0.zones.looks_at(zone, self.0.profile)
    }

    fn __repr__(&self) -> String {
        let Scope(ctnetlink::Scope { profile, protocols, zones, .. }) = self;
        let protocols: Vec<_> = protocols.iter().map(ToString::to_string).collect();
        format!("<ctnetlink.Scope {profile} {} zones={zones:?}>", protocols.join(","))
    }
}

/// What earlier runs have seen: frontends that have vanished since are judged, too.
#[pyclass(frozen, module = "ctnetlink", name = "History")]
pub(crate) struct History(Mutex<ctnetlink::History>);

#[pymethods]
impl History {
    #[new]
    fn new() -> History {
        History(Mutex::default())
    }

    /// Return the history after a run with this desired state that succeeded.
    #[staticmethod]
    fn after(desired: &DesiredState) -> History {
        History(Mutex::new(ctnetlink::History::after(desired.state().clone())))
    }

    /// Record a run: its desired state, and whether it succeeded. Do not record a dry run.
    fn record(&self, desired: &DesiredState, succeeded: bool) {
        lock(&self.0).record(desired.state(), succeeded);
    }

    fn __repr__(&self) -> &'static str {
        "<ctnetlink.History>"
    }
}

/// The rules that decide what is stale, and why. They use no kernel and no clock.
#[pyclass(frozen, module = "ctnetlink", name = "Rules")]
pub(crate) struct Rules(ctnetlink::Rules);

#[pymethods]
impl Rules {
    #[new]
    #[pyo3(signature = (desired, history=None, scope=None))]
    fn new(desired: &DesiredState, history: Option<&History>, scope: Option<Scope>) -> Rules {
        let scope = scope.map(|scope| scope.0).unwrap_or_default();
        let none = ctnetlink::History::default();
        Rules(match history {
            Some(history) => ctnetlink::Rules::new(desired.state(), &lock(&history.0), &scope),
            None => ctnetlink::Rules::new(desired.state(), &none, &scope),
        })
    }

    /// Return what is to be done with a flow.
    fn verdict(&self, flow: Flow) -> Verdict {
        use ctnetlink::Verdict as V;
        let (kind, reason) = match self.0.verdict(&flow.0) {
            V::Keep => ("keep", None),
            V::Stale(reason) => ("stale", Some(reason)),
            V::Suspect(reason) => ("suspect", Some(reason)),
            _ => ("keep", None),
        };
        Verdict {
            kind: VerdictKind(kind.into()),
            reason: reason.map(|reason| Reason(reason.name().into())),
        }
    }

    /// Return a filter that brings every flow of a family that can be stale; ``None`` if none can.
    fn filter(&self, family: Family) -> Option<Filter> {
        self.0.filter(family.0).map(Filter)
    }

    /// How many frontends are judged.
    #[getter]
    fn frontends(&self) -> usize {
        self.0.frontends()
    }

    /// Whether node ports are judged, which needs the addresses of the node.
    #[getter]
    fn node_ports_judged(&self) -> bool {
        self.0.node_ports_judged()
    }

    fn __repr__(&self) -> String {
        format!("<ctnetlink.Rules of {} frontends>", self.0.frontends())
    }
}
