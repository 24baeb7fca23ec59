//! `Limits`.

use ctnetlink::diagnose as core;
use pyo3::prelude::*;

use crate::value::Setting;

/// The settings in force in a namespace: limits, timeouts, modes.
///
/// One that the kernel does not have is ``None``.
#[pyclass(frozen, eq, module = "ctnetlink")]
#[derive(Clone, PartialEq)]
pub(crate) struct Limits(pub(crate) core::Limits);

#[pymethods]
impl Limits {
    #[new]
    #[pyo3(signature = (values=None))]
    fn new(values: Option<Vec<(Setting, u32)>>) -> Self {
        let values = values.unwrap_or_default();
        let limits = values.into_iter();
        Limits(
            limits
                .fold(core::Limits::default(), |all, (setting, value)| all.with(setting.0, value)),
        )
    }

    /// Return the same with a value for a setting, such as one that was saved with a table.
    #[pyo3(name = "with_")]
    fn with(&self, setting: Setting, value: u32) -> Limits {
        Limits(self.0.clone().with(setting.0, value))
    }

    /// Return the value of a setting (``"max"``, ``Setting.TCP_TIME_WAIT``).
    fn get(&self, setting: Setting) -> Option<u32> {
        self.0.get(setting.0)
    }

    /// Return every setting that this kernel has, with its value.
    fn items(&self) -> Vec<(Setting, u32)> {
        self.0.iter().map(|(setting, value)| (Setting(setting), value)).collect()
    }

    /// Whether this is the initial network namespace, the host's; ``None`` if that is not known.
    #[getter]
    fn is_initial_namespace(&self) -> Option<bool> {
        self.0.is_initial_namespace()
    }

    fn __repr__(&self) -> String {
        format!("<ctnetlink.Limits, {} settings>", self.0.iter().count())
    }
}

crate::record::copies!(Limits);

/// Return the unit of a setting: ``number``, ``seconds`` or ``mode``.
#[pyfunction]
pub(crate) fn _setting(setting: Setting) -> (String, Option<u32>, bool, String, u32) {
    let Setting(setting) = setting;
    let unit = match setting.unit() {
        core::Unit::Seconds => "seconds",
        core::Unit::Mode => "mode",
        _ => "number",
    };
    let largest = setting.largest_value();
    (unit.into(), setting.default_value(), setting.is_global(), setting.path(), largest)
}
