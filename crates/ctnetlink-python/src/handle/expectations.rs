//! Expectations.

use pyo3::prelude::*;

use super::Conntrack;
use crate::expectation::{Expectation, NewExpectation};
use crate::key::{ExpectKey, Key};

#[pymethods]
impl Conntrack {
    /// Return all expectations.
    fn expectations(&self, py: Python<'_>) -> PyResult<Vec<Expectation>> {
        let all = self.detached(py, ctnetlink::Conntrack::expectations)?;
        Ok(all.into_iter().map(Expectation::from).collect())
    }

    /// Return the expectations of one entry.
    fn expectations_of(&self, py: Python<'_>, master: Key) -> PyResult<Vec<Expectation>> {
        let all = self.detached(py, |ct| ct.expectations_of(&master.0))?;
        Ok(all.into_iter().map(Expectation::from).collect())
    }

    /// Fetch one expectation. ``FileNotFoundError`` if it does not exist.
    fn expectation(&self, py: Python<'_>, key: &ExpectKey) -> PyResult<Expectation> {
        self.detached(py, |ct| ct.expectation(&key.key)).map(Expectation::from)
    }

    /// Create an expectation. ``FileExistsError`` if there is one like it.
    fn create_expectation(&self, py: Python<'_>, new: &NewExpectation) -> PyResult<()> {
        self.detached(py, |ct| ct.create_expectation(&new.new))
    }

    /// Create an expectation, or update the timeout of the one that exists.
    fn create_or_update_expectation(&self, py: Python<'_>, new: &NewExpectation) -> PyResult<()> {
        self.detached(py, |ct| ct.create_or_update_expectation(&new.new))
    }

    /// Delete one expectation. ``FileNotFoundError`` if it does not exist.
    fn delete_expectation(&self, py: Python<'_>, key: &ExpectKey) -> PyResult<()> {
        self.detached(py, |ct| ct.delete_expectation(&key.key))
    }

    /// Delete the expectations that belong to a helper.
    fn delete_expectations_of_helper(&self, py: Python<'_>, helper: &str) -> PyResult<()> {
        self.detached(py, |ct| ct.delete_expectations_of_helper(helper))
    }

    /// Remove **every** expectation.
    fn flush_expectations(&self, py: Python<'_>) -> PyResult<()> {
        self.detached(py, ctnetlink::Conntrack::flush_expectations)
    }
}
