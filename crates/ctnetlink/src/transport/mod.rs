//! Datagrams in and out: one netlink socket, connected to the kernel, in one network namespace.
//!
//! What happens when the receive buffer overflows (`ENOBUFS`) differs by operation; the table is in
//! ARCHITECTURE.md.

pub(crate) mod answer;
pub(crate) mod command;
pub(crate) mod namespace;
pub(crate) mod process;
pub(crate) mod socket;
