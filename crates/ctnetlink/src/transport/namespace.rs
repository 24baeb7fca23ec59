//! The network namespace a handle belongs to.
#![allow(unsafe_code, reason = "setns(2) and unshare(2) have no safe form in the crates used")]

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::thread;

use crate::error::{Error, Operation, Result};
use crate::transport::socket::Socket;

const THREAD_NAMESPACE: &str = "/proc/thread-self/ns/net";

/// A network namespace. The open descriptor keeps it alive as long as this value exists.
#[derive(Debug)]
pub(crate) struct Namespace {
    file: File,
    /// Device and inode, which identify a namespace (namespaces(7)).
    identity: (u64, u64),
}

impl Namespace {
    /// The namespace of the calling thread (which can differ from that of the process).
    pub(crate) fn current() -> Result<Namespace> {
        let file = File::open(THREAD_NAMESPACE)
            .map_err(|source| Error::io(Operation::Open, THREAD_NAMESPACE, source))?;
        Namespace::from_file(file)
    }

    /// A namespace from an open `/proc/PID/ns/net`, `/run/netns/NAME`, or the like.
    pub(crate) fn from_file(file: File) -> Result<Namespace> {
        let metadata =
            file.metadata().map_err(|source| Error::io(Operation::Open, "fstat", source))?;
        Ok(Namespace { identity: (metadata.dev(), metadata.ino()), file })
    }

    /// Opens a socket in this namespace, wherever the calling thread is. A socket belongs to the
    /// namespace of the thread that creates it, for good.
    pub(crate) fn socket(&self) -> Result<Socket> {
        self.run(Socket::open)
    }

    /// Runs something in this namespace. If the calling thread is elsewhere, a scratch thread
    /// enters the namespace and ends afterwards: no thread of the caller ever moves.
    pub(crate) fn run<T: Send>(&self, body: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        if Namespace::current().is_ok_and(|here| here.identity == self.identity) {
            return body();
        }
        on_scratch_thread(|| {
            self.enter()?;
            body()
        })
    }

    /// Runs something in a fresh network namespace that ends with it, on a scratch thread.
    ///
    /// It needs `CAP_SYS_ADMIN`. Without that, it would need a new user namespace, but the kernel
    /// refuses one to a process with several threads, and a library should not fork.
    pub(crate) fn scratch<T: Send>(body: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        on_scratch_thread(|| {
            // SAFETY: unshare takes no pointer. It changes the calling thread only, which is a
            // scratch thread.
            let result = unsafe { libc::unshare(libc::CLONE_NEWNET) };
            if result != 0 {
                return Err(Error::io(Operation::Open, "unshare", io::Error::last_os_error()));
            }
            body()
        })
    }

    fn enter(&self) -> Result<()> {
        // SAFETY: setns takes no pointer; the descriptor is open as long as `self` is. It changes
        // the namespace of the calling thread only, and the caller is a scratch thread.
        let result = unsafe { libc::setns(self.file.as_raw_fd(), libc::CLONE_NEWNET) };
        if result != 0 {
            return Err(Error::io(Operation::Open, "setns", io::Error::last_os_error()));
        }
        Ok(())
    }
}

fn on_scratch_thread<T: Send>(body: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    thread::scope(|scope| {
        let scratch = thread::Builder::new()
            .name("ctnetlink-netns".into())
            .spawn_scoped(scope, body)
            .map_err(|source| Error::io(Operation::Open, "thread", source))?;
        scratch.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}
