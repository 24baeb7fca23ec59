//! Reading counters and setting them to zero in one step.

use super::{Conntrack, owned};
use crate::dump::{Dump, Source};
use crate::error::{Error, Operation, Result};
use crate::filter::Filter;
use crate::flow::Flow;
use crate::key::Key;
use crate::reply::Reply;
use crate::request::{self, entry};

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
    /// read and zeroed by reply tuple and zone. (The kernel does not look at the id here: an entry
    /// that was re-created meanwhile with the same reply tuple is zeroed, and handed over.) A filtered dump that zeroes would leave the decision to the kernel.
    ///
    /// # Errors
    ///
    /// As [`dump`](Conntrack::dump). An entry that is gone meanwhile is none.
    pub fn zero(&self, filter: &Filter, mut each: impl FnMut(Flow)) -> Result<u64> {
        let mut dump = self.dump(filter)?;
        let (mut datagram, mut starts) = (Vec::new(), Vec::new());
        let mut zeroed = 0;
        loop {
            let flow = dump.next()?;
            if let Some(flow) = &flow {
                starts.push(datagram.len());
                entry::append_zero(&mut datagram, flow)?;
            }
            if starts.len() == LIMIT || (flow.is_none() && !starts.is_empty()) {
                let (flows, result) = self.zero_batch(&mut datagram, &starts);
                zeroed += flows.len() as u64;
                flows.into_iter().for_each(&mut each);
                result?;
                datagram.clear();
                starts.clear();
            }
            if flow.is_none() {
                return Ok(zeroed);
            }
        }
    }

    /// The entries as they were, also those before and after one that failed: their counters are
    /// zero now. They are handed over by the caller, after the lock is released.
    fn zero_batch(&self, datagram: &mut [u8], starts: &[usize]) -> (Vec<Flow>, Result<()>) {
        let mut command = self.command();
        let first = command.reserve(starts.len());
        for (sequence, start) in (first..).zip(starts) {
            request::seal(&mut datagram[*start..], sequence, false);
        }
        let mut flows = Vec::with_capacity(starts.len());
        let mut result = Ok(());
        let exchanged = command.exchange(Operation::Zero, datagram, |sequence, reply| {
            if sequence.wrapping_sub(first) as usize >= starts.len() {
                return Ok(());
            }
            let failed = match reply {
                Reply::Data(message) => match owned(Operation::Zero, &message) {
                    Ok(flow) => {
                        flows.push(flow);
                        return Ok(());
                    }
                    Err(error) => error,
                },
                Reply::Error(error) if !error.is_not_found() => error,
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
