//! `--cluster`: names instead of numbers, and the desired state.

use std::path::Path;

use ctnetlink::DesiredState;
use ctnetlink::diagnose::Names;
use ctnetlink_kube::{Cluster, Options};

use crate::cluster::{name_of, read};
use crate::failure::Failure;
use crate::output::note;

/// What a cluster document tells.
pub(crate) struct Known {
    pub(crate) names: Names,
    /// `None` if the document is not a whole picture, for instance because it has only pods.
    pub(crate) desired: Option<DesiredState>,
}

/// Reads services, EndpointSlices and pods: `kubectl get services,endpointslices,pods -A -o json`.
pub(crate) fn load(file: &Path) -> Result<Known, Failure> {
    let bad = |problem: String| Failure::BadInput(format!("{}: {problem}", name_of(file)));
    let json = read(file).map_err(|e| bad(e.to_string()))?;
    let cluster = Cluster::from_json(&json).map_err(|e| bad(e.to_string()))?;
    let desired = cluster.desired_state(&Options::default());
    let mut names = desired.as_ref().map_or_else(|_| Names::default(), Names::of);
    for (address, pod) in &cluster.pods {
        names.add(*address, pod.as_str());
    }
    let desired = match desired {
        Ok(desired) => Some(desired),
        Err(error) => {
            let error = error.to_string();
            let error = error.split(';').next().unwrap_or_default().to_owned();
            note(format_args!("{}: {error}: stale entries are not counted", name_of(file)));
            None
        }
    };
    Ok(Known { names, desired })
}
