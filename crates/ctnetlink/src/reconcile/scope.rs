//! What is judged, and by whose rules.

use std::fmt;
use std::str::FromStr;

use crate::error::Error;
use crate::model::protocol::Protocol;
use crate::reconcile::desired::Endpoint;

/// Whose idea of "stale" is followed.
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
    /// served by the backends of all of them; frontends that vanished are cleaned until a run
    /// succeeded; an untranslated flow to one of the node addresses is a host service and lives; an
    /// endpoint that says only `ready: false` does not serve.
    #[default]
    Strict,
    /// The predicate of kube-proxy's newest generation (kubernetes#141371), faults included:
    /// node ports match whatever the destination address, and of two services that share a
    /// frontend the last one wins.
    KubeProxy,
}

impl Profile {
    /// Whether an endpoint serves, as this profile reads what is not said.
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
                "unknown profile {text:?}: expected strict or kube-proxy"
            ))),
        }
    }
}

/// What to look at. Everything else is kept.
///
/// ```
/// use ctnetlink::{Protocol, Scope};
/// let mut scope = Scope::default();
/// scope.protocols = vec![Protocol::UDP, Protocol::TCP];
/// scope.zones = Some(vec![0]);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Scope {
    /// Whose rules.
    pub profile: Profile,
    /// Protocols judged; UDP by default.
    pub protocols: Vec<Protocol>,
    /// Zones judged; `None` means all. Each entry is deleted in its own zone.
    pub zones: Option<Vec<u16>>,
}

impl Default for Scope {
    fn default() -> Self {
        Scope { profile: Profile::default(), protocols: vec![Protocol::UDP], zones: None }
    }
}
