//! Timeout policies, and the timeouts of the protocols.

use pyo3::prelude::*;

use super::Conntrack;
use crate::timeout::{TimeoutPolicy, Timeouts};
use crate::value::{Family, Protocol};

#[pymethods]
impl Conntrack {
    /// Return all timeout policies.
    fn timeout_policies(&self, py: Python<'_>) -> PyResult<Vec<TimeoutPolicy>> {
        let all = self.detached(py, ctnetlink::Conntrack::timeout_policies)?;
        Ok(all.into_iter().map(TimeoutPolicy::from).collect())
    }

    /// Fetch one timeout policy by name. ``FileNotFoundError`` if it does not exist.
    fn timeout_policy(&self, py: Python<'_>, name: &str) -> PyResult<TimeoutPolicy> {
        self.detached(py, |ct| ct.timeout_policy(name)).map(TimeoutPolicy::from)
    }

    /// Create a timeout policy. ``FileExistsError`` if there is one of this name.
    fn create_timeout_policy(&self, py: Python<'_>, policy: TimeoutPolicy) -> PyResult<()> {
        let policy = ctnetlink::TimeoutPolicy::from(&policy);
        self.detached(py, |ct| ct.create_timeout_policy(&policy))
    }

    /// Create a timeout policy, or replace the timeouts of the one of this name.
    fn replace_timeout_policy(&self, py: Python<'_>, policy: TimeoutPolicy) -> PyResult<()> {
        let policy = ctnetlink::TimeoutPolicy::from(&policy);
        self.detached(py, |ct| ct.replace_timeout_policy(&policy))
    }

    /// Delete one timeout policy by name.
    fn delete_timeout_policy(&self, py: Python<'_>, name: &str) -> PyResult<()> {
        self.detached(py, |ct| ct.delete_timeout_policy(name))
    }

    /// Delete all timeout policies that are not in use.
    fn flush_timeout_policies(&self, py: Python<'_>) -> PyResult<()> {
        self.detached(py, ctnetlink::Conntrack::flush_timeout_policies)
    }

    /// Return the timeouts of a protocol in this namespace.
    fn default_timeouts(
        &self,
        py: Python<'_>,
        family: Family,
        protocol: Protocol,
    ) -> PyResult<Timeouts> {
        self.detached(py, |ct| ct.default_timeouts(family.0, protocol.0)).map(Timeouts)
    }

    /// Set timeouts of a protocol in this namespace. States that are not given keep theirs.
    fn set_default_timeouts(
        &self,
        py: Python<'_>,
        family: Family,
        timeouts: Timeouts,
    ) -> PyResult<()> {
        self.detached(py, |ct| ct.set_default_timeouts(family.0, &timeouts.0))
    }
}
