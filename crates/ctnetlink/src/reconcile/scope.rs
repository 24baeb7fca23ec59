//! What is judged, and by whose rules.

use std::fmt;
use std::str::FromStr;

use crate::error::Error;
use crate::model::protocol::Protocol;
use crate::reconcile::desired::service::Endpoint;

/// Which definition of "stale" is used.
///
/// ```
/// use ctnetlink::Profile;
/// assert_eq!("kube-proxy".parse::<Profile>()?, Profile::KubeProxy);
/// assert_eq!(Profile::default(), Profile::Strict);
/// # Ok::<(), ctnetlink::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Profile {
    /// Never deletes what may be healthy, given the node's addresses. The default.
    ///
    /// Node ports are judged at the node addresses only; a frontend shared by several services is
    /// served by the backends of all of them; vanished frontends are cleaned up until a run
    /// succeeds; an untranslated flow to one of the node addresses is stale at a node port, kept
    /// elsewhere if it was answered, because a host service may have answered it, and stale if it
    /// is still unanswered when it is met again; an endpoint that states only `ready: false` does
    /// not serve.
    #[default]
    Strict,
    /// The rule of the newest kube-proxy (kubernetes#141371), including its faults: a node port
    /// matches at any destination address, and if two services share a frontend, the last one wins.
    KubeProxy,
}

impl Profile {
    /// Whether an endpoint serves. The profiles read conditions that are not stated differently.
    pub(crate) fn serves(self, endpoint: &Endpoint) -> bool {
        match self {
            Profile::Strict => endpoint.serves(),
            Profile::KubeProxy => endpoint.serving.unwrap_or(true),
        }
    }
}

impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Profile::Strict => "strict",
            Profile::KubeProxy => "kube-proxy",
        })
    }
}

impl FromStr for Profile {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        match text {
            "strict" => Ok(Profile::Strict),
            "kube-proxy" => Ok(Profile::KubeProxy),
            _ => Err(Error::Invalid(format!(
                "unknown profile {text:?}: expected \"strict\" or \"kube-proxy\""
            ))),
        }
    }
}

/// What to look at. Everything else is kept.
///
/// ```
/// use ctnetlink::{Protocol, Scope, Zones};
/// let mut scope = Scope::default();
/// scope.protocols = vec![Protocol::UDP, Protocol::TCP];
/// scope.zones = Zones::Only(vec![0, 7]);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Scope {
    /// Whose rules are used.
    pub profile: Profile,
    /// Protocols judged; UDP by default.
    pub protocols: Vec<Protocol>,
    /// Zones judged. Each entry is deleted in its own zone.
    pub zones: Zones,
}

/// Which zones are judged.
///
/// kube-proxy's rules translate in the default zone. Other zones belong to OVN, OVS and the like,
/// where one live flow has entries in several zones, one for each stage of its path
/// (ovn-kubernetes#2829).
///
/// ```
/// use ctnetlink::{Profile, Zones};
/// assert!(!Zones::Default.looks_at(7, Profile::Strict));
/// assert!(Zones::Only(vec![7]).looks_at(7, Profile::Strict));
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Zones {
    /// Zone 0; all zones for [`Profile::KubeProxy`], which looks at all.
    #[default]
    Default,
    /// All zones. An untranslated entry in a zone other than 0 is kept by [`Profile::Strict`]: it is
    /// a stage of another datapath.
    All,
    /// These zones, each named by the caller, who knows what happens in them.
    Only(Vec<u16>),
}

impl Zones {
    /// Whether entries of this zone are judged.
    pub fn looks_at(&self, zone: u16, profile: Profile) -> bool {
        match self {
            Zones::Default => zone == 0 || profile == Profile::KubeProxy,
            Zones::All => true,
            Zones::Only(zones) => zones.contains(&zone),
        }
    }

    /// Whether the caller named this zone.
    pub(crate) fn names(&self, zone: u16) -> bool {
        matches!(self, Zones::Only(zones) if zones.contains(&zone))
    }
}

impl From<Vec<u16>> for Zones {
    fn from(zones: Vec<u16>) -> Self {
        Zones::Only(zones)
    }
}

impl<const N: usize> From<[u16; N]> for Zones {
    fn from(zones: [u16; N]) -> Self {
        Zones::Only(zones.to_vec())
    }
}

impl Default for Scope {
    fn default() -> Self {
        Scope { profile: Profile::default(), protocols: vec![Protocol::UDP], zones: Zones::Default }
    }
}

/// Whether the one who reconciles knows what the rules of the packet filter are.
///
/// ```
/// use ctnetlink::{Authority, Profile, Reconciler};
/// let reconciler = Reconciler::new(Profile::Strict).authority(Authority::Observer);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Authority {
    /// It writes the rules and then reconciles: no flow is newer than its desired state.
    #[default]
    Rules,
    /// It only watches. The rules may know a backend that the state does not have yet, so "backend
    /// gone" and "backend port changed" need evidence: the backend was in an earlier state, or a
    /// state [fetched](crate::DesiredStateBuilder::fetched_at) after its first entry was seen still
    /// lacks it. Until then its entries are kept and counted, in quarantine.
    Observer,
}
