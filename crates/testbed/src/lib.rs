//! What tests, benches and the demo need around a real kernel: private network namespaces, tables
//! filled over ctnetlink, and oracles that share no code with the library under test.
#![deny(missing_docs)]

pub mod fill;
pub mod kube;
pub mod netns;
pub mod oracle;
pub mod raw;
