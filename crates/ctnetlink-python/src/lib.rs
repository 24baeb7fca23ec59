//! The native half of the Python package `ctnetlink`: thin classes over the Rust crate. What they
//! mean is documented in the stubs (`python/ctnetlink/_ctnetlink.pyi`) and the Rust crate.

mod capability;
mod deletion;
mod desired;
mod dump;
mod error;
mod filter;
mod flow;
mod handle;
mod keyword;
mod options;
mod reconciler;
mod report;

use pyo3::prelude::*;

#[pymodule]
mod _ctnetlink {
    #[pymodule_export]
    use crate::capability::{Capabilities, Explanation, Stayed};
    #[pymodule_export]
    use crate::deletion::{DeleteReport, Deletions, Failure, Zeroed};
    #[pymodule_export]
    use crate::desired::DesiredState;
    #[pymodule_export]
    use crate::dump::Dump;
    #[pymodule_export]
    use crate::error::{DecodeError, DumpInterrupted};
    #[pymodule_export]
    use crate::filter::Filter;
    #[pymodule_export]
    use crate::flow::{Flow, Icmp, Tuple};
    #[pymodule_export]
    use crate::handle::Conntrack;
    #[pymodule_export]
    use crate::reconciler::Reconciler;
    #[pymodule_export]
    use crate::report::{ComesBack, FamilyReport, Reasons, Removal, Report};

    use super::*;

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        module.add("__version__", env!("CARGO_PKG_VERSION"))
    }
}
