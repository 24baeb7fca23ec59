//! Options of a reconciler, as Python passes them.

use std::time::Duration;

use ctnetlink::{Authority, Zones};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyString;

use crate::desired::DesiredState;
use crate::keyword;
use crate::value::{Profile, Protocol, Span};

pub(crate) struct Options<'a, 'py> {
    pub(crate) profile: Profile,
    pub(crate) dry_run: bool,
    pub(crate) protocols: Option<Vec<Protocol>>,
    /// Numbers, or the text "all".
    pub(crate) zones: Option<Bound<'py, PyAny>>,
    pub(crate) authority: &'a str,
    pub(crate) recheck: Option<Span>,
    pub(crate) previous: Option<&'a DesiredState>,
}

const NOTHING: &str = "protocols, zones: an empty list judges nothing";

impl Options<'_, '_> {
    /// The default time until the second pass.
    pub(crate) const RECHECK: Span = Span(Duration::from_millis(100));
    pub(crate) const NONE: Span = Span(Duration::ZERO);

    pub(crate) fn reconciler(self) -> PyResult<ctnetlink::Reconciler> {
        let authority = match self.authority {
            "rules" => Authority::Rules,
            "observer" => Authority::Observer,
            other => {
                let text = format!("authority: expected \"rules\" or \"observer\", not {other:?}");
                return Err(PyValueError::new_err(text));
            }
        };
        let mut reconciler = ctnetlink::Reconciler::new(self.profile.0)
            .dry_run(self.dry_run)
            .recheck(self.recheck.map(|delay| delay.0))
            .authority(authority);
        if let Some(protocols) = self.protocols {
            if protocols.is_empty() {
                return Err(PyValueError::new_err(NOTHING));
            }
            reconciler = reconciler.protocols(protocols.into_iter().map(|protocol| protocol.0));
        }
        if let Some(wanted) = &self.zones {
            reconciler = reconciler.zones(zones(wanted)?);
        }
        if let Some(previous) = self.previous {
            reconciler = reconciler.previous(previous.state().clone());
        }
        Ok(reconciler)
    }
}

/// Zones to look at: numbers, or the text "all".
pub(crate) fn zones(wanted: &Bound<'_, PyAny>) -> PyResult<Zones> {
    if wanted.cast::<PyString>().is_ok_and(|text| text == "all") {
        return Ok(Zones::All);
    }
    let zone = |zone: PyResult<Bound<'_, PyAny>>| keyword::integer(&zone?, u16::MAX);
    let zones = wanted.try_iter()?.map(zone).collect::<PyResult<Vec<u16>>>()?;
    if zones.is_empty() {
        return Err(PyValueError::new_err(NOTHING));
    }
    Ok(Zones::Only(zones))
}
