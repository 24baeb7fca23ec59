//! The diagnosis of a table: `Diagnosis`, `Finding` and the methods of the handle.

pub(crate) mod counters;
pub(crate) mod limits;
pub(crate) mod pressure;
pub(crate) mod summary;

use std::time::Duration;

use ctnetlink::diagnose as core;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

use self::counters::{Delta, Losses, Statistics};
use self::limits::Limits;
use self::pressure::{Pressure, Thresholds};
use self::summary::{Names, Summary};
use crate::desired::DesiredState;
use crate::error::raise;
use crate::handle::Conntrack;
use crate::record::record;
use crate::stats::CpuStats;
use crate::value::{FindingId, Level, Setting, Span, lock};

record! {
    [] []
    /// What was found, and what helps.
    Finding {
        /// What it is about.
        id: FindingId,
        /// How bad it is.
        level: Level,
        /// One line: what is so, with the numbers.
        says: String,
        /// The numbers behind it, by name.
        evidence: Vec<(String, f64)>,
        /// What to change, for good.
        remedy: String,
        /// The command that helps now.
        now: Option<String>,
    }
}

#[pymethods]
impl Finding {
    fn __str__(&self) -> String {
        format!("{} {}: {}", self.level.0, self.id.0, self.says)
    }
}

impl From<&core::Finding> for Finding {
    fn from(finding: &core::Finding) -> Self {
        let evidence = finding.evidence.iter();
        Finding {
            id: FindingId(finding.id.to_string()),
            level: Level::of(finding.level),
            says: finding.says.clone(),
            evidence: evidence.map(|(name, number)| ((*name).to_owned(), *number)).collect(),
            remedy: finding.remedy.clone(),
            now: finding.now.clone(),
        }
    }
}

record! {
    [] []
    /// The last time that the kernel's log says the table was full. It is no count.
    LogLine {
        /// The line.
        text: String,
        /// How many seconds ago.
        ago: f64,
    }
}

record! {
    [hash] []
    /// Something that could not be looked at.
    #[derive(Eq, Hash)]
    Unseen {
        /// What.
        what: String,
        /// Why not, and what to do.
        why: String,
    }
}

/// Everything that was seen of a table, and what was found.
///
/// What could not be seen is ``None``, and ``unseen`` says why.
#[pyclass(frozen, eq, module = "ctnetlink")]
#[derive(Clone, PartialEq)]
pub(crate) struct Diagnosis(core::Diagnosis);

#[pymethods]
impl Diagnosis {
    /// The worst of the findings; ``None`` if nothing could be looked at.
    #[getter]
    fn level(&self) -> Option<Level> {
        self.0.level.map(Level::of)
    }

    /// What was found, the worst first.
    #[getter]
    fn findings(&self) -> Vec<Finding> {
        self.0.findings.iter().map(Finding::from).collect()
    }

    /// Whether this is the initial network namespace, the host's.
    #[getter]
    fn is_host(&self) -> Option<bool> {
        self.0.is_host
    }

    /// Release of the kernel.
    #[getter]
    fn kernel(&self) -> Option<String> {
        self.0.kernel.clone()
    }

    /// Processors that are online.
    #[getter]
    fn processors(&self) -> Option<u32> {
        self.0.processors
    }

    /// How full the table is.
    #[getter]
    fn pressure(&self) -> Option<Pressure> {
        self.0.pressure.as_ref().map(Pressure::from)
    }

    /// The kernel's counters since the namespace exists.
    #[getter]
    fn statistics(&self) -> Option<Statistics> {
        self.0.statistics.as_ref().map(Statistics::from)
    }

    /// Packets lost since the namespace exists.
    #[getter]
    fn losses(&self) -> Option<Losses> {
        self.0.losses.map(Losses::from)
    }

    /// What was counted during the interval.
    #[getter]
    fn delta(&self) -> Option<Delta> {
        self.0.delta.as_ref().map(Delta::from)
    }

    /// The settings in force.
    #[getter]
    fn limits(&self) -> Limits {
        Limits(self.0.limits.clone())
    }

    /// What holds the table.
    #[getter]
    fn summary(&self) -> Option<Summary> {
        self.0.summary.as_ref().map(Summary::from)
    }

    /// How many expectations there are.
    #[getter]
    fn expectations(&self) -> Option<u64> {
        self.0.expectations
    }

    /// Entries of all network namespaces, which share the hash table; only root sees them.
    #[getter]
    fn entries_of_all_namespaces(&self) -> Option<u64> {
        self.0.entries_of_all_namespaces
    }

    /// The last line of the kernel's log about a full table.
    #[getter]
    fn table_full(&self) -> Option<LogLine> {
        let line = self.0.table_full.as_ref()?;
        Some(LogLine { text: line.text.clone(), ago: line.ago.as_secs_f64() })
    }

    /// Stale UDP entries, if a desired state was given.
    #[getter]
    fn stale(&self) -> Option<u64> {
        self.0.stale
    }

    /// What could not be looked at.
    #[getter]
    fn unseen(&self) -> Vec<Unseen> {
        let one = |u: &core::Unseen| Unseen { what: u.what.to_owned(), why: u.why.clone() };
        self.0.unseen.iter().map(one).collect()
    }

    /// Return the entries of a hash chain, on average.
    ///
    /// Each entry is in two chains, and all namespaces share them. ``None`` if the entries of all namespaces,
    /// or the buckets, are not known.
    fn chain_length_mean(&self) -> Option<f64> {
        self.0.chain_length_mean()
    }

    /// Return the finding about something, if it was found.
    fn finding(&self, id: FindingId) -> PyResult<Option<Finding>> {
        let known = core::FindingId::ALL.iter().find(|known| known.name() == id.0);
        let id = known.ok_or_else(|| {
            PyValueError::new_err(format!("unknown finding {:?}: see FindingId", id.0))
        })?;
        Ok(self.0.finding(*id).map(Finding::from))
    }

    /// Return the same diagnosis, judged by other thresholds.
    fn judge(&self, thresholds: &Thresholds) -> PyResult<Diagnosis> {
        let thresholds = Thresholds::core_of(Some(thresholds));
        thresholds.check().map_err(raise)?;
        let mut again = self.0.clone();
        again.judge(&thresholds);
        Ok(Diagnosis(again))
    }

    /// Return all of it as JSON, as ``ctnetlink doctor --json`` prints it.
    fn json(&self) -> PyResult<String> {
        serde_json::to_string(&self.0).map_err(|error| PyValueError::new_err(error.to_string()))
    }

    fn __str__(&self) -> String {
        self.0.findings.iter().map(|finding| format!("{finding}\n")).collect()
    }

    fn __repr__(&self) -> String {
        let level = self.0.level.map_or_else(|| "unknown".into(), |level| level.to_string());
        format!("<ctnetlink.Diagnosis, {level}, {} findings>", self.0.findings.len())
    }
}

crate::record::copies!(Diagnosis);

#[pymethods]
impl Conntrack {
    /// Return the settings of this network namespace: limits, timeouts, modes. It needs no privilege.
    fn limits(&self, py: Python<'_>) -> PyResult<Limits> {
        self.detached(py, ctnetlink::Conntrack::limits).map(Limits)
    }

    /// Change a setting of this network namespace, until the next boot.
    ///
    /// A timeout applies from the next packet of each connection on. An ``OSError`` names the file, the
    /// value and the reason.
    fn set_limit(&self, py: Python<'_>, setting: Setting, value: u32) -> PyResult<()> {
        self.detached(py, |ct| ct.set_limit(setting.0, value))
    }

    /// Return the counters of each CPU: those of ``stats_per_cpu()``, or of ``/proc`` without privilege.
    ///
    /// Not every kernel has the file (``CONFIG_NF_CONNTRACK_PROCFS``).
    fn counters(&self, py: Python<'_>) -> PyResult<Vec<CpuStats>> {
        let stats = self.detached(py, ctnetlink::Conntrack::counters)?;
        Ok(stats.into_iter().map(CpuStats::from).collect())
    }

    /// Dump the table once, and return what holds it, with so many rows of each kind.
    #[pyo3(signature = (rows=10, *, names=None))]
    fn summary(&self, py: Python<'_>, rows: usize, names: Option<&Names>) -> PyResult<Summary> {
        let mut summary = self.long(py, move |ct| ct.summary(rows))?;
        if let Some(names) = names {
            summary.name(&lock(&names.0));
        }
        Ok(Summary::from(&summary))
    }

    /// Look at everything for ``interval`` seconds, and return what was found.
    ///
    /// With an interval of 0, losses are only known since the namespace exists. ``summary=False`` does
    /// not dump the table. A ``desired`` state also counts stale UDP entries, and names services.
    #[pyo3(signature = (*, interval=None, rows=10, summary=true, names=None, thresholds=None, desired=None))]
    #[allow(clippy::too_many_arguments, reason = "keywords")]
    fn diagnose(
        &self,
        py: Python<'_>,
        interval: Option<Span>,
        rows: usize,
        summary: bool,
        names: Option<&Names>,
        thresholds: Option<&Thresholds>,
        desired: Option<&DesiredState>,
    ) -> PyResult<Diagnosis> {
        let interval = interval.map_or(Duration::from_secs(2), |interval| interval.0);
        let names = names.map(|names| lock(&names.0).clone()).unwrap_or_default();
        let thresholds = Thresholds::core_of(thresholds);
        let desired = desired.map(|desired| desired.core().clone());
        let found = self.long(py, move |ct| {
            let look = ct.diagnose().interval(interval).rows(rows).summary(summary);
            let look = look.names(names).thresholds(thresholds);
            match &desired {
                Some(desired) => look.desired(desired).run(),
                None => look.run(),
            }
        });
        found.map(Diagnosis)
    }
}

/// Runs the command ``ctnetlink`` with its arguments, and returns the exit status.
#[pyfunction]
pub(crate) fn _command(py: Python<'_>, arguments: Vec<String>) -> u8 {
    py.detach(|| ctnetlink_cli::run(arguments))
}
