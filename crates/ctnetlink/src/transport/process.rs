//! One value for each process that uses it.

use std::process;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use crate::error::Result;

/// A value that `fork(2)` does not share. A child process has the same descriptors as its parent,
/// so both would receive from one socket, and each could take the other's answers. The child makes
/// a value of its own when it first needs one.
#[derive(Debug)]
pub(crate) struct PerProcess<T> {
    process: u32,
    value: Mutex<T>,
    /// That of a child of this process, which copied it with all its memory.
    next: OnceLock<Box<PerProcess<T>>>,
}

impl<T> PerProcess<T> {
    /// The value of the current process.
    pub(crate) fn new(value: T) -> PerProcess<T> {
        PerProcess { process: process::id(), value: Mutex::new(value), next: OnceLock::new() }
    }

    /// Locks the value of the current process, and makes it first if there is none yet.
    ///
    /// The parent's value is not touched. If another thread of the parent held its lock at the moment
    /// of the fork, nobody in the child will ever release it.
    pub(crate) fn lock(&self, make: impl Fn() -> Result<T>) -> Result<MutexGuard<'_, T>> {
        let own = process::id();
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
