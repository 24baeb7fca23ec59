//! Prometheus metrics of conntrack tables and of reconciliations, for any program that has an HTTP
//! server: the command's exporter, an agent.
//!
//! [`Watched`] looks at one table and gives [`Sample`]s; [`Tables`] encodes the last ones, [`Passes`]
//! what reconciliations did. Both are collectors of `prometheus-client`. Names, types, labels and
//! helps stand in [`TABLE`], [`NODE_EXPORTER`] and [`PASSES`], from which docs/metrics.md is made.
//!
//! ```no_run
//! use ctnetlink::Conntrack;
//! use ctnetlink_metrics::{Options, Tables, Watched};
//! use prometheus_client::registry::Registry;
//!
//! let mut watched = Watched::new(Conntrack::open()?, Options::default());
//! let tables = Tables::default();
//! let mut registry = Registry::default();
//! registry.register_collector(Box::new(tables.clone()));
//! // For each scrape:
//! tables.set(vec![watched.sample()]);
//! let mut text = String::new();
//! prometheus_client::encoding::text::encode(&mut text, &registry).expect("strings do not fail");
//! # Ok::<(), ctnetlink::Error>(())
//! ```
#![deny(missing_docs)]

mod metric;
mod node_exporter;
mod passes;
mod sample;
mod table;

pub use self::metric::{Kind, Metric, documentation};
pub use self::node_exporter::NODE_EXPORTER;
pub use self::passes::{PASSES, Passes};
pub use self::sample::{Options, Sample, Watched};
pub use self::table::{TABLE, Tables};
