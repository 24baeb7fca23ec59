//! The handle's operations on expectations.

use super::stats::{self, ExpectStats};
use super::{Conntrack, named};
use crate::error::{Error, Operation, Result};
use crate::model::expectation::{ExpectKey, Expectation, Named, NewExpectation};
use crate::model::key::Key;
use crate::model::tuple::Tuple;
use crate::request::expect as request;
use crate::transport::command::Command;
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
    /// helper.
    ///
    /// # Errors
    ///
    /// [`is_not_found`](crate::Error::is_not_found) if there is no such entry.
    pub fn expectations_of(&self, master: &Key) -> Result<Vec<Expectation>> {
        // The kernel looks for the master in both directions (nf_conntrack_find_get).
        let master = self.ask(|command| named::find(command, Operation::Expect, master))?;
        let zone = Some(master.reply_zone()).filter(|zone| *zone != 0);
        let name = Key { zone, ..Key::reply(master.reply().without_zone()) };
        let mut all = self.list(request::dump(Some(&name))?)?;
        all.retain(|one| one.master.is_same_but_zone(master.orig()));
        Ok(all)
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
        match key.named {
            Named::Expected(tuple) => self.ask(|command| find(command, key, tuple)),
            // The kernel takes the tuple of a master for that of the expectation
            // (ctnetlink_get_expect), so the master's list is read instead.
            Named::OfMaster(orig) => {
                let all = self.expectations_of(&Key { zone: key.zone, ..Key::orig(orig) })?;
                let found = all.into_iter().find(|one| key.id.is_none() || key.id == one.id);
                found.ok_or(Error::kernel(Operation::Expect, libc::ENOENT))
            }
        }
    }

    /// Creates an expectation.
    ///
    /// # Errors
    ///
    /// `EEXIST` if it exists already; `ENOENT` if the master does not exist; `EOPNOTSUPP` if it has
    /// no helper; `EINVAL` for a class or function the kernel does not know.
    pub fn create_expectation(&self, new: &NewExpectation) -> Result<()> {
        let request = request::create(new, false)?;
        self.ask(|command| {
            find_master(command, new)?;
            command.act(Operation::Expect, request)
        })
    }

    /// Creates an expectation, or sets the timeout of the one that exists with the same tuple.
    ///
    /// The kernel does not compare the id in an update: an expectation that took the place of this
    /// one in the meantime would get the timeout.
    ///
    /// # Errors
    ///
    /// As [`create_expectation`](Conntrack::create_expectation).
    pub fn create_or_update_expectation(&self, new: &NewExpectation) -> Result<()> {
        let (create, update) = (request::create(new, false)?, request::create(new, true)?);
        self.ask(|command| {
            find_master(command, new)?;
            // The kernel's own choice would update one that covers the tuple by its mask
            // (__nf_ct_expect_find).
            let exists = match command.act(Operation::Expect, create) {
                Err(error) if error.raw_os_error() == Some(libc::EEXIST) => error,
                result => return result,
            };
            let key = ExpectKey { zone: new.zone, ..ExpectKey::tuple(new.tuple) };
            match find(command, &key, new.tuple) {
                Err(Error::AnotherEntry { .. }) => Err(exists),
                Err(error) => Err(error),
                Ok(_) => command.act(Operation::Expect, update),
            }
        })
    }

    /// Deletes an expectation by its tuple: the one that expects this tuple, not one that covers it
    /// by its mask. It is fetched, compared, and then deleted by its id.
    ///
    /// # Errors
    ///
    /// [`is_not_found`](crate::Error::is_not_found), even if only the id differs from the key's; a
    /// key [by its master](ExpectKey::master), which can name several.
    pub fn delete_expectation(&self, key: &ExpectKey) -> Result<()> {
        let Named::Expected(tuple) = key.named else {
            return Err(Error::Invalid(
                "expectation: a master can have several: name the one to be deleted by its own tuple"
                    .into(),
            ));
        };
        self.ask(|command| {
            let found = find(command, key, tuple)?;
            let pinned = ExpectKey { id: found.id, ..*key };
            command.act(Operation::Expect, request::delete(&pinned, tuple)?)
        })
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

/// Fetches the expectation with this tuple. The kernel would also find one that covers the tuple by
/// its mask, and a delete would remove that one.
fn find(command: &mut Command, key: &ExpectKey, tuple: Tuple) -> Result<Expectation> {
    let found = command.fetch(Operation::Expect, request::get(key, tuple)?, parse)?;
    if !found.tuple.is_same_but_zone(&tuple) {
        let Expectation { tuple, mask, .. } = found;
        return Err(Error::AnotherEntry {
            operation: Operation::Expect,
            found: format!("{} {tuple} mask {mask}", tuple.protocol()),
        });
    }
    Ok(found)
}

/// The kernel looks for the master in both directions.
fn find_master(command: &mut Command, new: &NewExpectation) -> Result<()> {
    let master = Key { zone: new.zone, ..Key::orig(new.master) };
    named::find(command, Operation::Expect, &master).map(|_| ())
}

fn parse(message: &Message<'_>) -> Result<Expectation> {
    let parsed = Expectation::parse(message.payload);
    parsed.map_err(|source| Error::decode(Operation::Expect, source))
}
