//! Reading counters and setting them to zero in one step.

use super::batch::LOOKUPS;
use super::dump::{Dump, Source};
use super::{Conntrack, named};
use crate::error::{Error, Operation, Result};
use crate::filter::Filter;
use crate::model::flow::Flow;
use crate::model::key::Key;
use crate::request::entry;

/// Counters exist for entries created while `nf_conntrack_acct` was 1.
impl Conntrack {
    /// Fetches one entry and zeroes its counters in one step, so that no packet goes uncounted in
    /// between.
    ///
    /// The entry is fetched and compared with the key before that, and then named by its own reply
    /// tuple and zone. The kernel does not compare the id here. If another entry took its place
    /// between the two requests, that one was zeroed: it is not returned, and the error shows it
    /// with its counters.
    ///
    /// # Errors
    ///
    /// [`is_not_found`](Error::is_not_found).
    pub fn get_and_zero(&self, key: &Key) -> Result<Flow> {
        self.ask(|command| {
            let meant = named::find(command, Operation::Zero, key)?;
            let flow = command.fetch_entry(Operation::Zero, entry::get_and_zero(&meant)?)?;
            let mut strangers = Strangers::default();
            if !key.names(&flow) {
                strangers.add(&flow);
            }
            strangers.none().map(|()| flow)
        })
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
        let started =
            Dump::of(self.namespace.socket()?, self.cancellers.clone(), Source::TableAndZero);
        started.map_err(|error| self.explain(error))
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
            if starts.len() == LOOKUPS || (flow.is_none() && !starts.is_empty()) {
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
        let asked = self.command().and_then(|mut command| {
            named::ask_many(&mut command, Operation::Zero, datagram, starts)
        });
        let (answers, complete) = match asked {
            Ok(asked) => asked,
            Err(error) => return (Vec::new(), Err(error)),
        };
        let mut flows = Vec::with_capacity(starts.len());
        let mut failed = Ok(());
        for (at, answer) in answers.into_iter().enumerate() {
            match answer {
                Some(Ok(flow)) => flows.push((at, flow)),
                Some(Err(error)) if !error.is_not_found() => failed = failed.and(Err(error)),
                Some(Err(_)) | None => {}
            }
        }
        // The counters in lost answers are zero now, and their values are gone. This has to be
        // reported.
        (flows, failed.and(complete))
    }
}

/// Entries that were zeroed although they were not meant.
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
                "zero: {count} entries took the place of those that were meant, with the same reply \
                 tuple, and were zeroed instead; the first was: {first}"
            ))),
            (_, None) => Ok(()),
        }
    }
}
