//! Reading counters and setting them to zero in one step.

use super::dump::{Dump, Source};
use super::{Conntrack, owned};
use crate::error::{Error, Operation, Result};
use crate::filter::Filter;
use crate::model::flow::Flow;
use crate::model::key::Key;
use crate::request::{self, entry};
use crate::transport::answer::Answer;

/// Requests per datagram: each is answered with a whole entry, and all answers have to fit the
/// receive buffer.
const LIMIT: usize = 64;

/// Counters exist for entries created while `nf_conntrack_acct` was 1.
impl Conntrack {
    /// Fetches one entry and zeroes its counters, in one step: no packet is lost between.
    ///
    /// # Errors
    ///
    /// [`is_not_found`](Error::is_not_found).
    pub fn get_and_zero(&self, key: &Key) -> Result<Flow> {
        self.fetch(Operation::Zero, entry::get_and_zero(key)?)
    }

    /// Dumps the whole table, both families, and zeroes the counters of what was read.
    ///
    /// An entry whose counters were zeroed but which was not read to the end (a dump that is
    /// dropped half-way) has lost them.
    ///
    /// # Errors
    ///
    /// As [`dump`](Conntrack::dump).
    pub fn dump_and_zero(&self) -> Result<Dump> {
        let started = Dump::of(self.namespace.socket()?, Source::TableAndZero);
        started.map_err(|error| self.diagnose(error))
    }

    /// Zeroes the counters of the entries a filter matches, and hands over each as it was before.
    /// Returns how many.
    ///
    /// The callback may use the handle. What matches is decided here, by a plain dump; then each is
    /// read and zeroed by reply tuple and zone. A filtered dump that zeroes would leave the decision
    /// to the kernel.
    ///
    /// # Errors
    ///
    /// As [`dump`](Conntrack::dump). An entry that is gone meanwhile is none. The kernel does not
    /// look at the id here: an entry that has taken the place of a matching one, with the same reply
    /// tuple but another original one, is zeroed with it. If it does not match the filter, it is not
    /// handed over but the error, with its counters.
    pub fn zero(&self, filter: &Filter, mut each: impl FnMut(Flow)) -> Result<u64> {
        let mut dump = self.dump(filter)?;
        let (mut datagram, mut starts, mut meant) = (Vec::new(), Vec::new(), Vec::new());
        let (mut zeroed, mut strangers) = (0, Strangers::default());
        loop {
            let flow = dump.next()?;
            if let Some(flow) = &flow {
                starts.push(datagram.len());
                meant.push((*flow.orig(), flow.id()));
                entry::append_zero(&mut datagram, flow)?;
            }
            if starts.len() == LIMIT || (flow.is_none() && !starts.is_empty()) {
                let (flows, result) = self.zero_batch(&mut datagram, &starts);
                for (at, flow) in flows {
                    if meant[at] == (*flow.orig(), flow.id()) || filter.matches(&flow) {
                        zeroed += 1;
                        each(flow);
                    } else {
                        strangers.add(&flow);
                    }
                }
                result?;
                datagram.clear();
                starts.clear();
                meant.clear();
            }
            if flow.is_none() {
                return strangers.none().map(|()| zeroed);
            }
        }
    }

    /// The entries as they were, each with its position, also those before and after one that
    /// failed: their counters are zero now. They are handed over by the caller, after the lock is released.
    fn zero_batch(
        &self,
        datagram: &mut [u8],
        starts: &[usize],
    ) -> (Vec<(usize, Flow)>, Result<()>) {
        let mut command = self.command();
        let first = command.reserve(starts.len());
        for (sequence, start) in (first..).zip(starts) {
            request::seal(&mut datagram[*start..], sequence, false);
        }
        let mut flows = Vec::with_capacity(starts.len());
        let mut result = Ok(());
        let exchanged = command.exchange(Operation::Zero, datagram, |sequence, answer| {
            let at = sequence.wrapping_sub(first) as usize;
            if at >= starts.len() {
                return Ok(());
            }
            let failed = match answer {
                Answer::Data(message) => match owned(Operation::Zero, &message) {
                    Ok(flow) => {
                        flows.push((at, flow));
                        return Ok(());
                    }
                    Err(error) => error,
                },
                Answer::Error(error) if !error.is_not_found() => error,
                _ => return Ok(()),
            };
            if result.is_ok() {
                result = Err(failed);
            }
            Ok(())
        });
        // The counters of lost answers are zero now, and what they were is gone: that has to be
        // said.
        let complete = match exchanged {
            Ok(false) => result,
            Ok(true) => result.and(Err(Error::Overrun { operation: Operation::Zero })),
            Err(error) => Err(error),
        };
        (flows, complete)
    }
}

/// Entries that were zeroed although nobody meant them.
#[derive(Default)]
struct Strangers {
    count: u64,
    first: Option<String>,
}

impl Strangers {
    fn add(&mut self, flow: &Flow) {
        self.count += 1;
        self.first.get_or_insert_with(|| flow.to_string());
    }

    fn none(self) -> Result<()> {
        match (self.count, self.first) {
            (count, Some(first)) => Err(Error::Invalid(format!(
                "zero: {count} entries took the place of matching ones, with the same reply tuple, \
                 and were zeroed with them; the first was: {first}"
            ))),
            (_, None) => Ok(()),
        }
    }
}
