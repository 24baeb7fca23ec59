//! Calls into the kernel: without the interpreter lock, and ended by a signal.
//!
//! Python handles signals in its main thread only, between two instructions. A call that takes long
//! runs in a thread of its own there, while the main thread looks for signals. The kernel cannot be
//! interrupted in a walk over the table, but nobody has to wait for it.

use std::sync::Mutex;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use ctnetlink::{Canceller, Conntrack};
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;

use crate::value::lock;

/// How often the main thread looks for signals.
const POLL: Duration = Duration::from_millis(10);
/// How long an interrupted operation is given to end. After that it is left to end by itself.
const GRACE: Duration = Duration::from_millis(20);
/// Values for a callback that can wait.
const QUEUE: usize = 1024;

/// What the thread of an operation sends to the caller.
enum Message<T, M> {
    Each(M),
    Done(T),
}

/// Hands values to the callback of a call, which runs in the caller's thread.
pub(crate) struct Teller<T, M>(Option<SyncSender<Message<T, M>>>);

impl<T, M> Clone for Teller<T, M> {
    fn clone(&self) -> Self {
        Teller(self.0.clone())
    }
}

impl<T, M> Teller<T, M> {
    /// Waits while the queue is full. Nobody receives it if the call was interrupted.
    pub(crate) fn tell(&self, value: M) {
        if let Some(sender) = &self.0 {
            // A caller that is gone has cancelled the operation.
            let _ = sender.send(Message::Each(value));
        }
    }

    /// Drops the value if the queue is full.
    pub(crate) fn tell_if_there_is_room(&self, value: M) {
        if let Some(sender) = &self.0 {
            let _ = sender.try_send(Message::Each(value));
        }
    }
}

/// A callback of the caller, with the values it gets.
pub(crate) type Callback<'a, M> = Box<dyn FnMut(Python<'_>, M) -> PyResult<()> + 'a>;

/// Runs an operation on a handle that a signal, or an exception in the callback, ends early.
pub(crate) fn long<T: Send + 'static, M: Send + 'static>(
    py: Python<'_>,
    handle: &Conntrack,
    callback: Option<Callback<'_, M>>,
    operation: impl FnOnce(&Conntrack, &Teller<T, M>) -> T + Send + 'static,
) -> PyResult<T> {
    if callback.is_none() && !is_main_thread(py)? {
        return Ok(py.detach(|| operation(handle, &Teller(None))));
    }
    let canceller = Canceller::new();
    let ct = handle.cancelled_by(&canceller);
    let (sender, receiver) = sync_channel(QUEUE);
    let builder = thread::Builder::new().name("ctnetlink-call".into());
    let spawned = builder.spawn(move || {
        let done = operation(&ct, &Teller(Some(sender.clone())));
        let _ = sender.send(Message::Done(done));
    });
    spawned.map_err(|error| PyRuntimeError::new_err(format!("a thread for the call: {error}")))?;
    attend(py, &Mutex::new(receiver), &canceller, callback)
}

/// Waits for the end of an operation, calls back, and looks for signals.
fn attend<T: Send, M: Send>(
    py: Python<'_>,
    receiver: &Mutex<Receiver<Message<T, M>>>,
    canceller: &Canceller,
    mut callback: Option<Callback<'_, M>>,
) -> PyResult<T> {
    let mut looked = Instant::now();
    loop {
        let called = match receive(py, receiver, POLL) {
            Ok(Message::Done(done)) => return Ok(done),
            Ok(Message::Each(value)) => match &mut callback {
                Some(callback) => callback(py, value),
                None => Ok(()),
            },
            Err(RecvTimeoutError::Timeout) => Ok(()),
            Err(RecvTimeoutError::Disconnected) => {
                return Err(PyRuntimeError::new_err("the call has panicked"));
            }
        };
        let mut signalled = || {
            if looked.elapsed() < POLL {
                return Ok(());
            }
            looked = Instant::now();
            py.check_signals()
        };
        if let Err(error) = called.and_then(|()| signalled()) {
            canceller.cancel();
            let end = Instant::now() + GRACE;
            while let Ok(Message::Each(_)) =
                receive(py, receiver, end.saturating_duration_since(Instant::now()))
            {}
            return Err(error);
        }
    }
}

fn receive<M: Send>(
    py: Python<'_>,
    receiver: &Mutex<Receiver<M>>,
    limit: Duration,
) -> Result<M, RecvTimeoutError> {
    // For a value that is there already, the interpreter lock need not be released.
    let there = lock(receiver).try_recv();
    there.or_else(|_| py.detach(|| lock(receiver).recv_timeout(limit)))
}

fn is_main_thread(py: Python<'_>) -> PyResult<bool> {
    let threading = py.import("threading")?;
    Ok(threading.call_method0("current_thread")?.is(threading.call_method0("main_thread")?))
}
