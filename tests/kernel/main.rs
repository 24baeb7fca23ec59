//! What only a real kernel can tell, one file per capability, each test in a network namespace of
//! its own. `never.rs` holds the tests named after what must never happen.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod batch;
mod cancel;
mod capability;
mod churn;
mod delete;
mod diagnose;
mod differential;
mod dump;
mod expect;
mod figures;
mod filter;
mod handle;
mod model;
mod naive;
mod names;
mod never;
mod operations;
mod packets;
mod raw;
mod recheck;
mod reconcile;
mod rootless;
mod schedule;
mod timeout;
mod transport;
