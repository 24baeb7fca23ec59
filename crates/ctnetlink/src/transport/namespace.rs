//! The network namespace a handle belongs to.
#![allow(
    unsafe_code,
    reason = "setns(2), unshare(2) and ioctl(2) have no safe form in the crates used"
)]

use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::thread;

use crate::error::{Error, Operation, Result, call};
use crate::transport::socket::Socket;

const THREAD_NAMESPACE: &str = "/proc/thread-self/ns/net";
const THREAD_STATUS: &str = "/proc/thread-self/status";
/// Which kind of namespace a descriptor is (`linux/nsfs.h`, Linux 4.11).
const NS_GET_NSTYPE: libc::Ioctl = 0xb703;
/// The network namespace of a socket, as a descriptor (`linux/sockios.h`, Linux 4.10).
const SIOCGSKNS: libc::Ioctl = 0x894c;

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
        match File::open(THREAD_NAMESPACE) {
            Ok(file) => Namespace::identified(file),
            Err(_) => Namespace::identified(of_socket(&Socket::open()?)?),
        }
    }

    /// A namespace from an open `/proc/PID/ns/net`, `/run/netns/NAME`, or the like.
    ///
    /// The descriptor is checked. One of a process, for instance, could be entered, too
    /// (`pidfd_open(2)`), but it means whatever namespace the process is in at that moment.
    pub(crate) fn from_file(file: File) -> Result<Namespace> {
        // SAFETY: this request takes no argument; the descriptor is open.
        let kind = unsafe { libc::ioctl(file.as_raw_fd(), NS_GET_NSTYPE) };
        if kind != libc::CLONE_NEWNET {
            let what = if kind < 0 { "no namespace" } else { "a namespace of another kind" };
            return Err(Error::Invalid(format!(
                "open: the descriptor is {what}, where a network namespace is expected: open \
                 /run/netns/NAME or /proc/PID/ns/net"
            )));
        }
        Namespace::identified(file)
    }

    fn identified(file: File) -> Result<Namespace> {
        let metadata =
            file.metadata().map_err(|source| Error::io(Operation::Open, "fstat", source))?;
        Ok(Namespace { identity: (metadata.dev(), metadata.ino()), file })
    }

    /// Its inode, by which the kernel's log names it.
    #[cfg(feature = "diagnose")]
    pub(crate) fn inode(&self) -> u64 {
        self.identity.1
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
                return Err(denied("unshare", io::Error::last_os_error()));
            }
            body()
        })
    }

    fn enter(&self) -> Result<()> {
        // SAFETY: setns takes no pointer; the descriptor is open as long as `self` is. It changes
        // the namespace of the calling thread only, and the caller is a scratch thread.
        let result = unsafe { libc::setns(self.file.as_raw_fd(), libc::CLONE_NEWNET) };
        if result != 0 {
            return Err(denied("setns", io::Error::last_os_error()));
        }
        Ok(())
    }
}

/// Where `/proc` is not mounted: the namespace of a socket, which is that of the thread that opened
/// it.
fn of_socket(socket: &Socket) -> Result<File> {
    // SAFETY: this request takes no argument; the descriptor is open.
    let descriptor = unsafe { libc::ioctl(socket.as_fd().as_raw_fd(), SIOCGSKNS) };
    if descriptor < 0 {
        return Err(Error::io(Operation::Open, call::SIOCGSKNS, io::Error::last_os_error()));
    }
    // SAFETY: the kernel has just made this descriptor for the caller (get_net_ns_by_fd's
    // counterpart open_related_ns), and nothing else owns it.
    Ok(File::from(unsafe { OwnedFd::from_raw_fd(descriptor) }))
}

/// The error of a call that moves between namespaces. `EPERM` to a thread that has the capability
/// is not a lack of it.
fn denied(call: &'static str, source: io::Error) -> Error {
    let status = fs::read_to_string(THREAD_STATUS).unwrap_or_default();
    let by_policy = source.raw_os_error() == Some(libc::EPERM) && is_filtered_admin(&status);
    let call = if by_policy { call::FILTERED_NAMESPACE } else { call };
    Error::io(Operation::Open, call, source)
}

/// Whether a `/proc/PID/status` shows both `CAP_SYS_ADMIN` and a seccomp filter.
fn is_filtered_admin(status: &str) -> bool {
    const CAP_SYS_ADMIN: u64 = 1 << 21;
    let value = |name| status.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
    let effective = value("CapEff:").and_then(|hex| u64::from_str_radix(hex, 16).ok());
    effective.is_some_and(|set| set & CAP_SYS_ADMIN != 0) && value("Seccomp:") == Some("2")
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_is_told_from_a_lack_of_privilege() {
        let status = |effective: &str, mode| format!("CapEff:\t{effective}\nSeccomp:\t{mode}\n");
        for (effective, mode, filtered) in [
            ("000001ffffffffff", 2, true),
            ("0000000000200000", 2, true),
            ("000001ffffffffff", 0, false),
            ("00000000a80425fb", 2, false),
        ] {
            assert_eq!(is_filtered_admin(&status(effective, mode)), filtered, "{effective} {mode}");
        }
        assert!(!is_filtered_admin(""));
    }
}
