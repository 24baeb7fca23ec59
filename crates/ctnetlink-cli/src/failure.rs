//! How a command ends.

use std::fmt;
use std::io;

/// The status that a shell shows for a program which `SIGPIPE` has ended.
pub(crate) const READER_GONE: u8 = 141;

/// It did what it was asked; this is the exit status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Done(pub(crate) u8);

impl Done {
    pub(crate) const OK: Done = Done(0);

    /// 0, or 1 if something failed that has been reported already.
    pub(crate) fn succeeded(yes: bool) -> Done {
        Done(u8::from(!yes))
    }
}

/// What ends a command early.
#[derive(Debug)]
pub(crate) enum Failure {
    /// Something failed: exit status 1.
    Failed(String),
    /// The input cannot be used: exit status 2.
    BadInput(String),
    /// Whoever read standard output has gone: `| head`. Nobody needs a message.
    ReaderGone,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Failed(message) | Failure::BadInput(message) => f.write_str(message),
            Failure::ReaderGone => f.write_str("standard output is closed"),
        }
    }
}

impl From<ctnetlink::Error> for Failure {
    fn from(error: ctnetlink::Error) -> Self {
        match error.is_half_state() {
            true => Failure::BadInput(error.to_string()),
            false => Failure::Failed(error.to_string()),
        }
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Failure::ReaderGone,
            _ => Failure::Failed(format!("standard output: {error}")),
        }
    }
}

impl From<serde_json::Error> for Failure {
    fn from(error: serde_json::Error) -> Self {
        Failure::from(io::Error::from(error))
    }
}
