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
    /// Fetches one entry and zeroes its counters in one step, so that no packet goes uncounted in
    /// between.
    ///
    /// # Errors
    ///
    /// [`is_not_found`](Error::is_not_found).
    pub fn get_and_zero(&self, key: &Key) -> Result<Flow> {
        self.fetch(Operation::Zero, entry::get_and_zero(key)?)
    }

    /// Dumps the whole table, both families, and zeroes the counters of what was read.
    ///
    /// If the dump is dropped half-way, the counters of entries that the kernel has zeroed but that
    /// were not read are lost.
    ///
    /// # Errors
    ///
    /// As [`dump`](Conntrack::dump).
    pub fn dump_and_zero(&self) -> Result<Dump> {
        let started = Dump::of(self.namespace.socket()?, Source::TableAndZero);
        started.map_err(|error| self.diagnose(error))
    }

    /// Zeroes the counters of the entries a filter matches, and passes each entry to a callback as
    /// it was before. Returns how many.
    ///
    /// The callback may use the handle. What matches is decided here, by a plain dump; then each
    /// entry is read and zeroed by reply tuple and zone. A filtered dump that zeroes would leave
    /// the decision to the kernel.
    ///
    /// # Errors
    ///
    /// Those of [`dump`](Conntrack::dump). An entry that has gone in the meantime is not an error.
    ///
    /// The kernel does not compare the id here: an entry that has taken the place of a matching
    /// one, with the same reply tuple but another original tuple, is zeroed in its place. If such
    /// an entry does not match the filter, it is not passed to the callback. Instead there is an
    /// error, whose text shows the first of them with its counters.
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

    /// Returns the entries as they were, each with its position, including those before and after
    /// one that failed, because their counters are zero now. The caller passes them to the callback
    /// after the lock is released, because the callback may use the handle.
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
        // The counters in lost answers are zero now, and their values are gone. This has to be
        // reported.
        let complete = match exchanged {
            Ok(false) => result,
            Ok(true) => result.and(Err(Error::Overrun { operation: Operation::Zero })),
            Err(error) => Err(error),
        };
        (flows, complete)
    }
}

/// Entries that were zeroed although they do not match the filter.
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
                 and were zeroed although they do not match the filter; the first was: {first}"
            ))),
            (_, None) => Ok(()),
        }
    }
}
