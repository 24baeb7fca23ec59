//! What several classes need: options of a reconciler, seconds, and a lock that survives a panic.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ctnetlink::{Authority, Profile, Zones};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyString;

use crate::desired::DesiredState;
use crate::error::raise;
use crate::keyword;

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Options of a reconciler, as Python passes them.
pub(crate) struct Options<'a, 'py> {
    pub(crate) profile: &'a str,
    pub(crate) dry_run: bool,
    pub(crate) protocols: Option<Vec<Bound<'py, PyAny>>>,
    /// Numbers, or the text "all".
    pub(crate) zones: Option<Bound<'py, PyAny>>,
    pub(crate) authority: &'a str,
    pub(crate) recheck: Option<f64>,
    pub(crate) previous: Option<&'a DesiredState>,
}

impl Options<'_, '_> {
    pub(crate) fn reconciler(self) -> PyResult<ctnetlink::Reconciler> {
        let delay = self.recheck.map(|delay| seconds("recheck", delay)).transpose()?;
        let profile = self.profile.parse::<Profile>().map_err(raise)?;
        let mut reconciler =
            ctnetlink::Reconciler::new(profile).dry_run(self.dry_run).recheck(delay);
        let authority = match self.authority {
            "rules" => Authority::Rules,
            "observer" => Authority::Observer,
            other => {
                let text = format!("authority: expected \"rules\" or \"observer\", not {other:?}");
                return Err(PyValueError::new_err(text));
            }
        };
        reconciler = reconciler.authority(authority);
        let nothing = "protocols, zones: an empty list judges nothing";
        if let Some(protocols) = self.protocols {
            let protocols: PyResult<Vec<_>> = protocols.iter().map(keyword::protocol).collect();
            let protocols = protocols?;
            if protocols.is_empty() {
                return Err(PyValueError::new_err(nothing));
            }
            reconciler = reconciler.protocols(protocols);
        }
        match self.zones {
            None => {}
            Some(all) if all.cast::<PyString>().is_ok_and(|text| text == "all") => {
                reconciler = reconciler.zones(Zones::All);
            }
            Some(zones) => {
                let zone = |zone: PyResult<Bound<'_, PyAny>>| keyword::integer(&zone?, u16::MAX);
                let zones = zones.try_iter()?.map(zone).collect::<PyResult<Vec<u16>>>()?;
                if zones.is_empty() {
                    return Err(PyValueError::new_err(nothing));
                }
                reconciler = reconciler.zones(zones);
            }
        }
        if let Some(previous) = self.previous {
            reconciler = reconciler.previous(previous.0.clone());
        }
        Ok(reconciler)
    }
}

/// A time span from Python's seconds.
pub(crate) fn seconds(keyword: &str, value: f64) -> PyResult<Duration> {
    Duration::try_from_secs_f64(value).map_err(|e| PyValueError::new_err(format!("{keyword}: {e}")))
}
