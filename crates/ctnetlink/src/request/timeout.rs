//! Requests about timeout policies (`IPCTNL_MSG_TIMEOUT_*`).

use netlink_packet_core::{DefaultNla, NLM_F_CREATE, NLM_F_DUMP, NLM_F_EXCL, NLM_F_REPLACE};

use super::{Head, be16, be32, byte, nest, text};
use crate::error::{Error, Result};
use crate::model::protocol::Protocol;
use crate::model::timeout_policy::{TimeoutPolicy, Timeouts};
use crate::model::tuple::Family;
use crate::uapi::{self, timeout as x};

fn head(message: u8) -> Head {
    let subsystem = uapi::NFNL_SUBSYS_CTNETLINK_TIMEOUT;
    Head { subsystem, message, family: 0, version: 0, flags: 0, sequence: 0 }
}

fn data(timeouts: &Timeouts) -> DefaultNla {
    let members: Vec<_> =
        timeouts.seconds.iter().map(|(state, secs)| be32(*state, *secs)).collect();
    nest(x::DATA, &members)
}

/// Creates a policy; with `replace`, updates the policy of this name if it exists.
pub(crate) fn create(policy: &TimeoutPolicy, replace: bool) -> Result<Vec<u8>> {
    let TimeoutPolicy { name, family, timeouts, users: _ } = policy;
    let family = family.ok_or_else(|| {
        let expected = "expected ipv4 or ipv6";
        Error::Invalid(format!("timeout policy {name:?}: no layer 3 protocol: {expected}"))
    })?;
    let name = text(x::NAME, name, uapi::TIMEOUT_NAME_MAX)?;
    let flags = if replace { NLM_F_CREATE | NLM_F_REPLACE } else { NLM_F_CREATE | NLM_F_EXCL };
    Ok(Head { flags, ..head(uapi::IPCTNL_MSG_TIMEOUT_NEW) }.bytes(vec![
        name,
        be16(x::L3PROTO, family.number().into()),
        byte(x::L4PROTO, timeouts.protocol().0),
        data(timeouts),
    ]))
}

pub(crate) fn get(name: &str) -> Result<Vec<u8>> {
    let name = text(x::NAME, name, uapi::TIMEOUT_NAME_MAX)?;
    Ok(head(uapi::IPCTNL_MSG_TIMEOUT_GET).bytes(vec![name]))
}

pub(crate) fn dump() -> Vec<u8> {
    Head { flags: NLM_F_DUMP, ..head(uapi::IPCTNL_MSG_TIMEOUT_GET) }.bytes(Vec::new())
}

pub(crate) fn delete(name: &str) -> Result<Vec<u8>> {
    let name = text(x::NAME, name, uapi::TIMEOUT_NAME_MAX)?;
    Ok(head(uapi::IPCTNL_MSG_TIMEOUT_DELETE).bytes(vec![name]))
}

/// Deletes all policies that are not in use.
pub(crate) fn flush() -> Vec<u8> {
    head(uapi::IPCTNL_MSG_TIMEOUT_DELETE).bytes(Vec::new())
}

pub(crate) fn default_set(family: Family, timeouts: &Timeouts) -> Vec<u8> {
    head(uapi::IPCTNL_MSG_TIMEOUT_DEFAULT_SET).bytes(vec![
        be16(x::L3PROTO, family.number().into()),
        byte(x::L4PROTO, timeouts.protocol().0),
        data(timeouts),
    ])
}

pub(crate) fn default_get(family: Family, protocol: Protocol) -> Vec<u8> {
    head(uapi::IPCTNL_MSG_TIMEOUT_DEFAULT_GET)
        .bytes(vec![be16(x::L3PROTO, family.number().into()), byte(x::L4PROTO, protocol.0)])
}
