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
    /// What matches is decided here, by a plain dump; then each is read and zeroed by reply tuple
    /// and zone. A filtered dump that zeroes would leave the decision to the kernel.
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
                zeroed += self.zero_batch(&mut datagram, &starts, &mut each)?;
                datagram.clear();
                starts.clear();
            }
            if flow.is_none() {
                return Ok(zeroed);
            }
        }
    }

    fn zero_batch(
        &self,
        datagram: &mut [u8],
        starts: &[usize],
        each: &mut impl FnMut(Flow),
    ) -> Result<u64> {
        let mut command = self.command();
        let first = command.reserve(starts.len());
        for (sequence, start) in (first..).zip(starts) {
            request::seal(&mut datagram[*start..], sequence, false);
        }
        let mut zeroed = 0;
        let lost = command.exchange(Operation::Zero, datagram, |sequence, reply| {
            if sequence.wrapping_sub(first) as usize >= starts.len() {
                return Ok(());
            }
            match reply {
                Reply::Data(message) => {
                    zeroed += 1;
                    each(owned(Operation::Zero, &message)?);
                    Ok(())
                }
                Reply::Error(error) if !error.is_not_found() => Err(error),
                _ => Ok(()),
            }
        })?;
        // Their counters are zero now, and what they were is lost: that has to be said.
        if lost { Err(Error::Overrun { operation: Operation::Zero }) } else { Ok(zeroed) }
    }
}
