//! Which process this is, and one value for each process that uses it.
#![allow(unsafe_code, reason = "pthread_atfork(3) has no safe form in the crates used")]

use std::process;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, Once, OnceLock, PoisonError};

use crate::error::Result;

/// How many forks lie between this process and the one that first asked.
static FORKS: AtomicU32 = AtomicU32::new(0);

extern "C" fn count_fork() {
    FORKS.fetch_add(1, Ordering::Relaxed);
}

/// What tells a process from its children and parents. Its number alone does not: in a pid namespace
/// of its own, a child has the number 1, which its parent can have too. The count of forks alone
/// does not, either: a raw `clone(2)` runs no handlers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ProcessId {
    number: u32,
    forks: u32,
}

impl ProcessId {
    /// Of the current process.
    pub(crate) fn current() -> ProcessId {
        static COUNTED: Once = Once::new();
        COUNTED.call_once(|| {
            // SAFETY: the handler is a function without state that lives as long as the code; it adds
            // to an atomic, which is allowed after a fork. If there is no memory for it, the number
            // alone has to do.
            let _ = unsafe { libc::pthread_atfork(None, None, Some(count_fork)) };
        });
        ProcessId { number: process::id(), forks: FORKS.load(Ordering::Relaxed) }
    }

    /// No process has the number 0.
    #[cfg(test)]
    pub(crate) fn of_nobody() -> ProcessId {
        ProcessId { number: 0, forks: 0 }
    }
}

/// A value that `fork(2)` does not share. A child process has the same descriptors as its parent,
/// so both would receive from one socket, and each could take the other's answers. The child makes
/// a value of its own when it first needs one.
#[derive(Debug)]
pub(crate) struct PerProcess<T> {
    process: ProcessId,
    value: Mutex<T>,
    /// That of a child of this process, which copied it with all its memory.
    next: OnceLock<Box<PerProcess<T>>>,
}

impl<T> PerProcess<T> {
    /// The value of the current process.
    pub(crate) fn new(value: T) -> PerProcess<T> {
        PerProcess {
            process: ProcessId::current(),
            value: Mutex::new(value),
            next: OnceLock::new(),
        }
    }

    /// Locks the value of the current process. If it does not exist yet, it is made first.
    ///
    /// The parent's value is not touched. If another thread of the parent held its lock at the moment
    /// of the fork, nobody in the child will ever release it.
    pub(crate) fn lock(&self, make: impl Fn() -> Result<T>) -> Result<MutexGuard<'_, T>> {
        let own = ProcessId::current();
        let mut at = self;
        while at.process != own {
            at = match at.next.get() {
                Some(next) => next,
                None => {
                    let fresh = Box::new(PerProcess::new(make()?));
                    at.next.get_or_init(|| fresh)
                }
            };
        }
        // A panic in the middle of an exchange leaves answers queued, which the next exchange
        // skips by their sequence numbers.
        Ok(at.value.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
