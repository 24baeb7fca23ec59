//! The handle's operations on expectations.

use super::Conntrack;
use super::stats::{self, ExpectStats};
use crate::error::{Error, Operation, Result};
use crate::model::expectation::{ExpectKey, Expectation, NewExpectation};
use crate::model::key::Key;
use crate::request::expect as request;
use crate::wire::Message;

/// Expectations: connections a helper has announced. They need `nf_conntrack_netlink`, like
/// everything here.
impl Conntrack {
    /// All expectations.
    ///
    /// # Errors
    ///
    /// [`is_permission_denied`](crate::Error::is_permission_denied).
    pub fn expectations(&self) -> Result<Vec<Expectation>> {
        self.list(request::dump(None)?)
    }

    /// The expectations of one entry, their master. The list is empty for an entry without a
    /// helper. The kernel does not compare the key's id.
    ///
    /// # Errors
    ///
    /// [`is_not_found`](crate::Error::is_not_found) if there is no such entry.
    pub fn expectations_of(&self, master: &Key) -> Result<Vec<Expectation>> {
        self.list(request::dump(Some(master))?)
    }

    /// Collects a dump of expectations. If the master has no helper, it has no expectations, and
    /// the kernel answers with a bare acknowledgement instead of `NLMSG_DONE`
    /// (`ctnetlink_dump_exp_ct`).
    fn list(&self, request: Vec<u8>) -> Result<Vec<Expectation>> {
        let mut all = Vec::new();
        self.ask(|command| {
            command.collect(Operation::Expect, request, |message| {
                all.push(parse(message)?);
                Ok(())
            })
        })?;
        Ok(all)
    }

    /// One expectation.
    ///
    /// # Errors
    ///
    /// [`is_not_found`](crate::Error::is_not_found), even if only the id differs from the key's.
    pub fn expectation(&self, key: &ExpectKey) -> Result<Expectation> {
        let request = request::get(key)?;
        self.ask(|command| command.fetch(Operation::Expect, request, parse))
    }

    /// Creates an expectation.
    ///
    /// # Errors
    ///
    /// `EEXIST` if it exists already; `ENOENT` if the master does not exist; `EOPNOTSUPP` if it has
    /// no helper; `EINVAL` for a class or function the kernel does not know.
    pub fn create_expectation(&self, new: &NewExpectation) -> Result<()> {
        self.act(Operation::Expect, request::create(new, false)?)
    }

    /// Creates an expectation, or sets the timeout of the one that exists.
    ///
    /// # Errors
    ///
    /// As [`create_expectation`](Conntrack::create_expectation).
    pub fn create_or_update_expectation(&self, new: &NewExpectation) -> Result<()> {
        self.act(Operation::Expect, request::create(new, true)?)
    }

    /// Deletes an expectation by its tuple.
    ///
    /// # Errors
    ///
    /// [`is_not_found`](crate::Error::is_not_found), even if only the id differs from the key's; a
    /// key [by its master](ExpectKey::master), because the kernel deletes by the expected tuple
    /// only.
    pub fn delete_expectation(&self, key: &ExpectKey) -> Result<()> {
        if key.by_master {
            return Err(Error::Invalid(
                "expectation: the kernel deletes by the expected tuple only; a delete by master \
                 would remove every expectation"
                    .into(),
            ));
        }
        self.act(Operation::Expect, request::delete(key)?)
    }

    /// Deletes **every** expectation of one helper, by its name.
    ///
    /// # Errors
    ///
    /// [`is_permission_denied`](crate::Error::is_permission_denied); a name that is empty, too long
    /// or contains a NUL. A name that no helper has is not an error.
    pub fn delete_expectations_of_helper(&self, helper: &str) -> Result<()> {
        if helper.is_empty() {
            return Err(Error::Invalid("expectation: the helper's name is empty".into()));
        }
        self.act(Operation::Expect, request::delete_by_helper(helper)?)
    }

    /// Deletes **every** expectation.
    ///
    /// # Errors
    ///
    /// [`is_permission_denied`](crate::Error::is_permission_denied).
    pub fn flush_expectations(&self) -> Result<()> {
        self.act(Operation::Expect, request::flush())
    }

    /// Statistics of expectations on each CPU.
    ///
    /// # Errors
    ///
    /// [`is_permission_denied`](crate::Error::is_permission_denied).
    pub fn expect_stats_per_cpu(&self) -> Result<Vec<ExpectStats>> {
        self.ask(stats::expect_per_cpu)
    }
}

fn parse(message: &Message<'_>) -> Result<Expectation> {
    let parsed = Expectation::parse(message.payload);
    parsed.map_err(|source| Error::decode(Operation::Expect, source))
}
