//! `Explanation` and `Stayed`: how the kernel's filters are used.

use pyo3::prelude::*;

use crate::record::record;

record! {
    [hash] []
    /// A part of a filter that the kernel is not asked for.
    #[derive(Eq, Hash)]
    Stayed {
        /// The part, in the words of the filter.
        criterion: String,
        /// Why it is matched here only.
        reason: String,
    }
}

record! {
    [hash] []
    /// A filter's plan in words. ``str()`` of it is for people.
    #[derive(Eq, Hash)]
    Explanation {
        /// The filter.
        filter: String,
        /// Why the filter can match no entry at all, if that can be seen from it.
        never: Option<String>,
        /// What the kernel is asked to filter by in each of its dumps.
        passes: Vec<String>,
        /// What is matched here only, and why.
        stayed: Vec<Stayed>,
        /// How many flushes a delete in the kernel would send.
        flushes: usize,
        /// Why the kernel cannot delete by this filter itself, if it cannot.
        not_in_kernel: Option<String>,
        /// The plan as lines of text, which ``str()`` returns.
        text: String,
    }
}

#[pymethods]
impl Explanation {
    fn __str__(&self) -> &str {
        &self.text
    }
}

impl From<ctnetlink::Explanation> for Explanation {
    fn from(explanation: ctnetlink::Explanation) -> Self {
        let text = explanation.to_string();
        let ctnetlink::Explanation {
            filter, never, passes, stayed, flushes, not_in_kernel, ..
        } = explanation;
        let stayed =
            stayed.into_iter().map(|one| Stayed { criterion: one.criterion, reason: one.reason });
        let stayed = stayed.collect();
        Explanation { filter, never, passes, stayed, flushes, not_in_kernel, text }
    }
}
