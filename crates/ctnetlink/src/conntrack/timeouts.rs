//! The handle's operations on timeout policies.

use super::Conntrack;
use crate::error::{Error, Operation, Result};
use crate::model::protocol::Protocol;
use crate::model::timeout_policy::{TimeoutPolicy, Timeouts};
use crate::model::tuple::Family;
use crate::request::timeout as request;

/// Timeout policies (`nfnetlink_cttimeout`).
impl Conntrack {
    /// All policies of the namespace.
    ///
    /// # Errors
    ///
    /// `EINVAL` where the kernel lacks `nfnetlink_cttimeout`.
    pub fn timeout_policies(&self) -> Result<Vec<TimeoutPolicy>> {
        let mut all = Vec::new();
        self.ask(|command| {
            command.collect(Operation::Timeout, request::dump(), |message| {
                all.push(TimeoutPolicy::parse(message.payload));
                Ok(())
            })
        })?;
        Ok(all)
    }

    /// One policy by name.
    ///
    /// # Errors
    ///
    /// [`is_not_found`](Error::is_not_found).
    pub fn timeout_policy(&self, name: &str) -> Result<TimeoutPolicy> {
        let request = request::get(name)?;
        self.ask(|command| {
            command.fetch(Operation::Timeout, request, |m| Ok(TimeoutPolicy::parse(m.payload)))
        })
    }

    /// Creates a policy.
    ///
    /// # Errors
    ///
    /// `EEXIST` if there is a policy with this name; `EINVAL` for a name of more than 31 bytes;
    /// `EOPNOTSUPP` for a protocol without timeouts.
    pub fn create_timeout_policy(&self, policy: &TimeoutPolicy) -> Result<()> {
        self.act(Operation::Timeout, request::create(policy, false)?)
    }

    /// Creates a policy, or changes the existing one with the same name and protocols.
    ///
    /// # Errors
    ///
    /// `EINVAL` if the existing policy is for other protocols.
    pub fn replace_timeout_policy(&self, policy: &TimeoutPolicy) -> Result<()> {
        self.act(Operation::Timeout, request::create(policy, true)?)
    }

    /// Deletes a policy.
    ///
    /// # Errors
    ///
    /// [`is_not_found`](Error::is_not_found); `EBUSY` while a rule uses it; an empty name.
    pub fn delete_timeout_policy(&self, name: &str) -> Result<()> {
        if name.is_empty() {
            return Err(Error::Invalid("timeout policy: the name is empty".into()));
        }
        self.act(Operation::Timeout, request::delete(name)?)
    }

    /// Deletes **every** policy that is not in use.
    ///
    /// # Errors
    ///
    /// [`is_permission_denied`](Error::is_permission_denied).
    pub fn flush_timeout_policies(&self) -> Result<()> {
        self.act(Operation::Timeout, request::flush())
    }

    /// The namespace's own timeouts of a protocol, as in the `nf_conntrack_*_timeout*` sysctls.
    ///
    /// # Errors
    ///
    /// `EOPNOTSUPP` for a protocol without timeouts.
    pub fn default_timeouts(&self, family: Family, protocol: Protocol) -> Result<Timeouts> {
        let request = request::default_get(family, protocol);
        self.ask(|command| {
            command.fetch(Operation::Timeout, request, |m| Ok(Timeouts::parse(m.payload)))
        })
    }

    /// Changes the namespace's own timeouts of a protocol; states that are not named keep theirs.
    ///
    /// # Errors
    ///
    /// As [`default_timeouts`](Conntrack::default_timeouts).
    pub fn set_default_timeouts(&self, family: Family, timeouts: &Timeouts) -> Result<()> {
        self.act(Operation::Timeout, request::default_set(family, timeouts))
    }
}
