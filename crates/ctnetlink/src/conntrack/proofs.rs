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
    shapes: HashMap<(KernelPart, Purpose), (Trust, String)>,
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
        let mut tried = None;
        for trusts in Trusts::to_be_proved() {
            let plan = filter.plan(&trusts)?;
            if plan == safe {
                break;
            }
            let needs_no_proof = |part: &KernelPart| safe.passes.contains(part);
            let proved = |part: &KernelPart| self.tried(part, Purpose::Dump).0 == Trust::Proved;
            if tried.as_ref() != Some(&plan)
                && plan.passes.iter().all(|part| needs_no_proof(part) || proved(part))
            {
                return Ok(plan);
            }
            tried = Some(plan);
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
                (Trust::Proved, _) => continue,
                (Trust::Wrong, _) => "this kernel removes other entries".to_owned(),
                (Trust::Refused(errno), _) => {
                    format!("this kernel refuses it: {}", crate::error::errno_text(errno))
                }
                (_, why) => format!("it could not be tried out: {why}"),
            };
            return Err(Error::Invalid(format!("filter: not in the kernel: {part}: {why}")));
        }
        Ok(parts)
    }

    /// Tries out the shape of a request, unless that was done before. The second value says why it
    /// could not be tried out.
    fn tried(&self, part: &KernelPart, purpose: Purpose) -> (Trust, String) {
        let key = (proof::shape(part), purpose);
        if let Some(known) = self.lock().shapes.get(&key) {
            return known.clone();
        }
        // Without the lock: other threads go on. At worst a shape is tried out twice.
        let found = match proof::prove(&key.0, purpose) {
            Ok(Trust::Untested) => {
                (Trust::Untested, "the entries that would show it cannot be made here".to_owned())
            }
            Ok(trust) => (trust, String::new()),
            // It may be possible later: not remembered.
            Err(error) => return (Trust::Untested, error.to_string()),
        };
        self.lock().shapes.insert(key, found.clone());
        found
    }
}
