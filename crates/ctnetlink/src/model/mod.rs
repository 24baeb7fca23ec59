//! The model: entries as the kernel reports them, names of entries, entries to be created, and what
//! a kernel can do. No I/O.

pub(crate) mod capability;
pub(crate) mod expectation;
pub(crate) mod extension;
pub(crate) mod flow;
pub(crate) mod key;
pub(crate) mod labels;
pub(crate) mod line;
pub(crate) mod new_entry;
pub(crate) mod protocol;
#[cfg(test)]
pub(crate) mod sample;
#[cfg(feature = "serde")]
mod serialize;
pub(crate) mod status;
pub(crate) mod timeout_policy;
pub(crate) mod tuple;
