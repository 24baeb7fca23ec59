//! Entry points for the fuzz targets in `fuzz/`, which call code that is not public.
#![doc(hidden)]

use crate::error::Operation;
use crate::filter::Filter;
use crate::model::capability::{KernelCriterion, Trust, Trusts};
use crate::model::flow::FlowRef;
use crate::model::new_entry::NewEntry;
use crate::request::{entry, filter};
use crate::transport::answer::Answer;
use crate::wire::Messages;

/// Reads a datagram as answers to a command.
pub fn answers(datagram: &[u8]) {
    for message in Messages::new(datagram).flatten() {
        let _ = format!("{:?}", Answer::of(Operation::Dump, message));
    }
}

/// The delete that would be sent for this entry, if there is one.
pub fn delete_request(flow: &FlowRef<'_>) -> Option<Vec<u8>> {
    let mut request = Vec::new();
    entry::append_delete(&mut request, flow).ok()?;
    Some(request)
}

/// The dumps that would be sent for a filter on a kernel that can be trusted with everything, and
/// the flushes, if flushes can express the filter.
pub fn filter_requests(expression: &Filter) -> (Vec<Vec<u8>>, Vec<Vec<u8>>) {
    let mut trusts = Trusts::UNTESTED;
    for criterion in KernelCriterion::ALL {
        trusts.set(criterion, Trust::Proved, Trust::Proved);
    }
    let plan = expression.plan(&trusts).map(|plan| plan.passes).unwrap_or_default();
    let dumps = plan.iter().map(|part| filter::dump(1, part)).collect();
    let flushes = expression.flush_plan(&trusts).unwrap_or_default();
    (dumps, flushes.iter().flat_map(filter::flush).collect())
}

/// The request that would create an entry.
pub fn create_request(new: &NewEntry) -> Option<Vec<u8>> {
    entry::create(new).ok()
}
