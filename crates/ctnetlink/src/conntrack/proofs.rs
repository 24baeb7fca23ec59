//! What a handle knows of the kernel's filters, and how it finds out more.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::error::{Error, Result};
use crate::filter::Filter;
use crate::filter::kernel_part::KernelPart;
use crate::filter::plan::{DumpPlan, Purpose};
use crate::model::capability::{Trust, Trusts};
use crate::probe::proof;

/// What is known, and can be asked of it by several threads.
#[derive(Debug, Default)]
pub(super) struct Proofs(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    /// What the kernel is trusted with by criterion, once the handle has probed or was given it.
    trusts: Option<Trusts>,
    /// Shapes of requests that were tried out, and what came of it.
    shapes: HashMap<(KernelPart, Purpose), Trust>,
}

impl Proofs {
    fn lock(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn trusts(&self) -> Option<Trusts> {
        self.lock().trusts.clone()
    }

    pub(super) fn trust(&self, trusts: Trusts) {
        self.lock().trusts = Some(trusts);
    }

    /// The requests of a dump: the cheapest of which each is proved, or needs no proof.
    pub(super) fn plan(&self, filter: &Filter) -> Result<DumpPlan> {
        if let Some(trusts) = self.trusts() {
            return filter.plan(&trusts);
        }
        let safe = filter.plan(&Trusts::UNTESTED)?;
        for trusts in Trusts::to_be_proved() {
            let plan = filter.plan(&trusts)?;
            let to_prove = plan.passes.iter().filter(|part| !safe.passes.contains(part));
            match self.all_proved(to_prove) {
                Ok(true) => return Ok(plan),
                Ok(false) => {}
                // Nothing can be tried out here, so no other plan can be proved either.
                Err(_) => break,
            }
        }
        Ok(safe)
    }

    /// The flushes that together remove exactly what a filter matches, each of them proved.
    pub(super) fn flush_plan(&self, filter: &Filter) -> Result<Vec<KernelPart>> {
        if let Some(trusts) = self.trusts() {
            return filter.flush_plan(&trusts);
        }
        let parts = filter.flush_plan(&Trusts::PROVED)?;
        for part in &parts {
            let why = match self.tried(part, Purpose::Flush) {
                Ok(Trust::Proved) => continue,
                Ok(Trust::Wrong) => "this kernel removes other entries".to_owned(),
                Ok(Trust::Refused(errno)) => {
                    format!("this kernel refuses it: {}", crate::error::errno_text(errno))
                }
                Ok(_) => {
                    "it could not be tried out: the entries that would show it cannot be made \
                          here"
                        .to_owned()
                }
                Err(error) => format!("it could not be tried out: {error}"),
            };
            return Err(Error::Invalid(format!("filter: not in the kernel: {part}: {why}")));
        }
        Ok(parts)
    }

    fn all_proved<'p>(&self, parts: impl Iterator<Item = &'p KernelPart>) -> Result<bool> {
        for part in parts {
            if self.tried(part, Purpose::Dump)? != Trust::Proved {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Tries out the shape of a request, unless that was done before. An error is not remembered:
    /// it may be possible later.
    fn tried(&self, part: &KernelPart, purpose: Purpose) -> Result<Trust> {
        let key = (proof::shape(part), purpose);
        if let Some(known) = self.lock().shapes.get(&key) {
            return Ok(*known);
        }
        // Without the lock: other threads go on. At worst a shape is tried out twice.
        let found = proof::prove(&key.0, purpose)?;
        self.lock().shapes.insert(key, found);
        Ok(found)
    }
}
