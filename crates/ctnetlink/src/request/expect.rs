//! Requests about expectations (`IPCTNL_MSG_EXP_*`).

use netlink_packet_core::{NLM_F_CREATE, NLM_F_DUMP, NLM_F_EXCL};

use super::{Head, be16, be32, nest, text, tuple};
use crate::error::Result;
use crate::model::expectation::{ExpectKey, ExpectNat, NewExpectation};
use crate::model::key::Key;
use crate::model::new_entry::mixed_families;
use crate::model::timeout_policy::whole_seconds;
use crate::model::tuple::Tuple;
use crate::uapi::{self, expect as x};

fn head(message: u8, family: u8) -> Head {
    let subsystem = uapi::NFNL_SUBSYS_CTNETLINK_EXP;
    Head { subsystem, message, family, version: 0, flags: 0, sequence: 0 }
}

fn family(tuple: &Tuple) -> Result<u8> {
    Ok(tuple.family().ok_or_else(mixed_families)?.number())
}

/// Dumps all expectations, or those of one master.
pub(crate) fn dump(master: Option<&Key>) -> Result<Vec<u8>> {
    let number = master.map_or(Ok(0), |master| family(&master.tuple))?;
    let mut attributes = Vec::new();
    if let Some(master) = master {
        attributes.push(tuple(x::MASTER, &master.tuple));
        attributes.extend(master.zone.map(|zone| be16(x::ZONE, zone)));
    }
    let head = Head { flags: NLM_F_DUMP, ..head(uapi::IPCTNL_MSG_EXP_GET, number) };
    Ok(head.bytes(attributes))
}

/// `EXP_GET` of the expectation with this tuple. The answer can be one that covers the tuple by its
/// mask.
pub(crate) fn get(key: &ExpectKey, expected: Tuple) -> Result<Vec<u8>> {
    keyed(uapi::IPCTNL_MSG_EXP_GET, key, expected)
}

/// `EXP_DELETE`. The kernel compares the id, if the key has one.
pub(crate) fn delete(key: &ExpectKey, expected: Tuple) -> Result<Vec<u8>> {
    keyed(uapi::IPCTNL_MSG_EXP_DELETE, key, expected)
}

fn keyed(message: u8, key: &ExpectKey, expected: Tuple) -> Result<Vec<u8>> {
    let ExpectKey { named: _, id, zone } = key;
    let mut attributes = vec![tuple(x::TUPLE, &expected)];
    attributes.extend(id.map(|id| be32(x::ID, id)));
    attributes.extend(zone.map(|zone| be16(x::ZONE, zone)));
    Ok(head(message, family(&expected)?).bytes(attributes))
}

/// Removes every expectation of one helper.
pub(crate) fn delete_by_helper(helper: &str) -> Result<Vec<u8>> {
    let name = text(x::HELP_NAME, helper, uapi::HELPER_NAME_MAX)?;
    Ok(head(uapi::IPCTNL_MSG_EXP_DELETE, 0).bytes(vec![name]))
}

/// Removes every expectation.
pub(crate) fn flush() -> Vec<u8> {
    head(uapi::IPCTNL_MSG_EXP_DELETE, 0).bytes(Vec::new())
}

pub(crate) fn create(new: &NewExpectation, or_update: bool) -> Result<Vec<u8>> {
    // Destructured by name, so that a field added to the type cannot be forgotten in the request.
    let NewExpectation {
        master,
        tuple: expected,
        mask,
        timeout,
        helper,
        function,
        flags,
        class,
        nat,
        zone,
    } = new;
    let mut attributes = vec![
        tuple(x::MASTER, master),
        tuple(x::TUPLE, expected),
        tuple(x::MASK, mask),
        // A creation does not need it, but it is the only thing an update changes.
        be32(x::TIMEOUT, whole_seconds(*timeout)),
        be32(x::FLAGS, flags.bits()),
        be32(x::CLASS, *class),
    ];
    if let Some(name) = helper {
        attributes.push(text(x::HELP_NAME, name, uapi::HELPER_NAME_MAX)?);
    }
    if let Some(name) = function {
        attributes.push(text(x::FN, name, uapi::EXPECT_FUNCTION_MAX)?);
    }
    if let Some(ExpectNat { reply_direction, to }) = nat {
        let members = [be32(1, u32::from(*reply_direction)), tuple(2, to)];
        attributes.push(nest(x::NAT, &members));
    }
    attributes.extend(zone.map(|zone| be16(x::ZONE, zone)));
    let flags = if or_update { NLM_F_CREATE } else { NLM_F_CREATE | NLM_F_EXCL };
    let head = Head { flags, ..head(uapi::IPCTNL_MSG_EXP_NEW, family(expected)?) };
    Ok(head.bytes(attributes))
}

pub(crate) fn stats_cpu() -> Vec<u8> {
    Head { flags: NLM_F_DUMP, ..head(uapi::IPCTNL_MSG_EXP_GET_STATS_CPU, 0) }.bytes(Vec::new())
}
