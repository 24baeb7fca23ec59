//! The native half of the Python package `ctnetlink`: thin classes over the Rust crate. The comments of
//! its classes and methods are what Python's `help()` shows, and `make stubs` puts them into the stubs
//! (`python/ctnetlink/_ctnetlink.pyi`).

mod batch;
mod call;
mod cancel;
mod capability;
mod columns;
mod deletion;
mod desired;
mod diagnose;
mod dump;
mod error;
mod expectation;
mod explanation;
mod extension;
mod filter;
mod flow;
mod handle;
mod key;
mod keyword;
mod new_entry;
mod options;
mod reconciler;
mod record;
mod report;
mod rules;
mod service;
mod stats;
mod table;
mod timeout;
mod tuple;
mod value;

use pyo3::prelude::*;

#[pymodule]
mod _ctnetlink {
    #[pymodule_export]
    use crate::batch::{Batch, Outcome};
    #[pymodule_export]
    use crate::cancel::Canceller;
    #[pymodule_export]
    use crate::capability::Capabilities;
    #[pymodule_export]
    use crate::deletion::{DeleteReport, Deletions, Failure, Zeroed};
    #[pymodule_export]
    use crate::desired::DesiredState;
    #[pymodule_export]
    use crate::diagnose::counters::{Accumulator, CpuDelta, Delta, Losses, Statistics};
    #[pymodule_export]
    use crate::diagnose::limits::{_setting, Limits};
    #[pymodule_export]
    use crate::diagnose::pressure::{Growth, Pressure, Share, Thresholds, Trend};
    #[pymodule_export]
    use crate::diagnose::summary::{
        Churn, Group, Names, Summarizer, Summary, Top, TopRow, Unreplied,
    };
    #[pymodule_export]
    use crate::diagnose::{_command, Diagnosis, Finding, LogLine, Unseen};
    #[pymodule_export]
    use crate::dump::Dump;
    #[pymodule_export]
    use crate::error::{
        AnotherEntry, Cancelled, DecodeError, DumpInterrupted, HalfState, NotSupported, Overrun,
    };
    #[pymodule_export]
    use crate::expectation::{ExpectNat, Expectation, NewExpectation};
    #[pymodule_export]
    use crate::explanation::{Explanation, Stayed};
    #[pymodule_export]
    use crate::extension::{
        Counters, DccpProtocolState, LabelMap, SctpProtocolState, SeqAdj, SynProxy,
        TcpProtocolState,
    };
    #[pymodule_export]
    use crate::filter::Filter;
    #[pymodule_export]
    use crate::flow::Flow;
    #[pymodule_export]
    use crate::handle::{Conntrack, Echoing};
    #[pymodule_export]
    use crate::key::{ExpectKey, Key};
    #[pymodule_export]
    use crate::new_entry::{Change, NatRange, NewEntry};
    #[pymodule_export]
    use crate::reconciler::Reconciler;
    #[pymodule_export]
    use crate::record::_make;
    #[pymodule_export]
    use crate::report::{ComesBack, FamilyReport, Progress, Reasons, Removal, Report};
    #[pymodule_export]
    use crate::rules::{History, Rules, Scope, Verdict};
    #[pymodule_export]
    use crate::service::{Endpoint, Frontend, ServiceKey, ServicePort, Unknown};
    #[pymodule_export]
    use crate::stats::{CpuStats, ExpectStats};
    #[pymodule_export]
    use crate::table::Table;
    #[pymodule_export]
    use crate::timeout::{TimeoutPolicy, Timeouts};
    #[pymodule_export]
    use crate::tuple::{Icmp, Tuple};

    use super::*;

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        module.add("__version__", env!("CARGO_PKG_VERSION"))
    }
}
