//! Private network namespaces, as root or without any privilege.
//!
//! Namespaces belong to threads, and libtest gives each test a thread, so tests run in parallel,
//! each in a namespace of its own that dies with it. Child processes inherit it.
//!
//! A test that cannot get a namespace fails and says why; no test is skipped.
#![allow(unsafe_code, reason = "unshare(2), setns(2), fork(2) and their like have no safe form")]

use std::ffi::CString;
use std::fs::{self, File};
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::thread;

/// Set in the child that runs one test inside a user namespace.
const MARK: &str = "CTNETLINK_TEST_IN_USERNS";

fn unshare(flags: libc::c_int) -> io::Result<()> {
    // SAFETY: no pointers; it moves the calling thread (for CLONE_NEWUSER: the process, which the
    // kernel refuses if it has several threads).
    match unsafe { libc::unshare(flags) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Runs a test in a fresh network namespace.
///
/// As root that is `unshare(CLONE_NEWNET)` in the calling thread. Without privilege the test
/// binary is executed once more, for this one test, inside a user namespace of its own; the test
/// passes if that child says that exactly one test passed.
///
/// Call it directly in the test function, with a closure: the test's name is taken from the
/// closure's type name.
///
/// # Panics
///
/// If no namespace can be made, or the test fails.
pub fn in_netns<F: FnOnce()>(body: F) {
    match unshare(libc::CLONE_NEWNET) {
        Ok(()) => body(),
        Err(e) if e.raw_os_error() == Some(libc::EPERM) && std::env::var_os(MARK).is_none() => {
            reexecute(&test_name::<F>());
        }
        Err(e) => panic!("cannot make a private network namespace: {e}"),
    }
}

/// `crate::module::test::{{closure}}` without the crate and the closure.
fn test_name<F>() -> String {
    let path = std::any::type_name::<F>();
    let path = path.trim_end_matches("::{{closure}}");
    path.split_once("::").map_or(path, |(_, test)| test).to_owned()
}

fn reexecute(test: &str) {
    let program = std::env::current_exe().unwrap_or_else(|e| panic!("current_exe: {e}"));
    let mut command = Command::new(program);
    command.args(["--exact", test, "--nocapture", "--test-threads=1"]).env(MARK, "1");
    in_user_namespace(&mut command);
    let output = command.output().unwrap_or_else(|e| {
        panic!(
            "cannot make a user namespace, and without root a private network namespace needs one \
             (see kernel.unprivileged_userns_clone and user.max_user_namespaces): {e}"
        )
    });
    let stdout = String::from_utf8_lossy(&output.stdout);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && stdout.contains("test result: ok. 1 passed"),
        "{test} in a user namespace: {}\n{stdout}\n{stderr}",
        output.status
    );
}

/// Makes a command start as root of a user namespace of its own.
pub fn in_user_namespace(command: &mut Command) {
    let maps = id_maps();
    let enter = move || {
        unshare(libc::CLONE_NEWUSER)?;
        for (path, text) in &maps {
            write_raw(path, text.as_bytes())?;
        }
        Ok(())
    };
    // SAFETY: the closure runs between fork and exec and only makes system calls; everything it
    // uses was allocated before.
    unsafe {
        command.pre_exec(enter);
    }
}

/// Files and contents that map root inside to the calling user outside.
fn id_maps() -> Vec<(CString, String)> {
    // SAFETY: these two never fail and take nothing.
    let (uid, gid) = unsafe { (libc::geteuid(), libc::getegid()) };
    [
        (c"/proc/self/setgroups", "deny".to_owned()),
        (c"/proc/self/uid_map", format!("0 {uid} 1")),
        (c"/proc/self/gid_map", format!("0 {gid} 1")),
    ]
    .map(|(path, text)| (path.to_owned(), text))
    .to_vec()
}

/// Writes a file with system calls alone, fit for the time between fork and exec.
fn write_raw(path: &CString, text: &[u8]) -> io::Result<()> {
    // SAFETY: the path is NUL-terminated, the buffer valid for its length, and the descriptor is
    // used only if open succeeded.
    unsafe {
        let fd = libc::open(path.as_ptr(), libc::O_WRONLY | libc::O_CLOEXEC);
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        let written = libc::write(fd, text.as_ptr().cast(), text.len());
        let result = if written < 0 { Err(io::Error::last_os_error()) } else { Ok(()) };
        libc::close(fd);
        result
    }
}

/// Moves the calling thread into a fresh network namespace for good, with a user namespace around
/// it where that is needed. For programs: the process must still have one thread.
///
/// # Errors
///
/// The error of `unshare(2)`, or of writing the id maps.
pub fn enter_private() -> io::Result<()> {
    match unshare(libc::CLONE_NEWNET) {
        Err(e) if e.raw_os_error() == Some(libc::EPERM) => {
            let maps = id_maps();
            unshare(libc::CLONE_NEWUSER | libc::CLONE_NEWNET)?;
            maps.iter().try_for_each(|(path, text)| write_raw(path, text.as_bytes()))
        }
        other => other,
    }
}

/// A second network namespace beside the current one: "another host" for packets, or a place to
/// open by its file.
#[derive(Debug)]
pub struct Namespace {
    file: File,
}

impl Namespace {
    /// Makes a new namespace. The calling thread stays where it is.
    ///
    /// # Panics
    ///
    /// If no namespace can be made.
    pub fn new() -> Namespace {
        let made = thread::spawn(|| {
            unshare(libc::CLONE_NEWNET)?;
            File::open("/proc/thread-self/ns/net")
        });
        match made.join() {
            Ok(Ok(file)) => Namespace { file },
            Ok(Err(e)) => panic!("cannot make another network namespace: {e}"),
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }

    /// The namespace's file, for `Conntrack::open_in`.
    ///
    /// # Panics
    ///
    /// If the descriptor cannot be duplicated.
    pub fn file(&self) -> File {
        self.file.try_clone().unwrap_or_else(|e| panic!("dup: {e}"))
    }

    /// Runs something on a thread of its own inside the namespace.
    ///
    /// # Panics
    ///
    /// If the namespace cannot be entered, or the body panics.
    pub fn run<T: Send>(&self, body: impl FnOnce() -> T + Send) -> T {
        thread::scope(|scope| {
            let inside = scope.spawn(|| {
                // SAFETY: no pointers; the descriptor is open as long as `self` is, and the
                // thread ends after the body.
                let result = unsafe { libc::setns(self.file.as_raw_fd(), libc::CLONE_NEWNET) };
                assert!(result == 0, "setns: {}", io::Error::last_os_error());
                body()
            });
            inside.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// A path under which a child process of this one finds the namespace.
    pub fn path(&self) -> String {
        format!("/proc/{}/fd/{}", std::process::id(), self.file.as_raw_fd())
    }
}

impl Default for Namespace {
    fn default() -> Self {
        Namespace::new()
    }
}

/// Runs something on a thread of its own, in a mount namespace without `/proc`.
///
/// # Panics
///
/// If the mount namespace cannot be made, or the body panics.
pub fn without_proc<T: Send>(body: impl FnOnce() -> T + Send) -> T {
    thread::scope(|scope| {
        let inside = scope.spawn(|| {
            unshare(libc::CLONE_NEWNS).unwrap_or_else(|e| panic!("unshare: {e}"));
            // SAFETY: all strings are NUL-terminated; the mounts change the namespace of this
            // thread only, which has just been made.
            let mounted = unsafe {
                let private = libc::MS_REC | libc::MS_PRIVATE;
                let none = std::ptr::null();
                libc::mount(none, c"/".as_ptr(), none, private, none.cast()) == 0
                    && libc::mount(
                        c"none".as_ptr(),
                        c"/proc".as_ptr(),
                        c"tmpfs".as_ptr(),
                        0,
                        none.cast(),
                    ) == 0
            };
            assert!(mounted, "mount over /proc: {}", io::Error::last_os_error());
            body()
        });
        inside.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// Runs something in a child process made with `fork(2)`, while the parent does something else, and
/// returns the result of the parent. The child starts in the thread's namespaces.
///
/// # Panics
///
/// If the child cannot be made, or does not succeed. What it does should not print or panic: it has
/// one thread only, and locks that other threads held stay locked.
pub fn in_fork<T>(child: impl FnOnce() -> bool, parent: impl FnOnce() -> T) -> T {
    // SAFETY: the child only runs the body, which by contract waits for no lock of another thread,
    // and ends without running destructors or exit handlers of the parent.
    let process = unsafe { libc::fork() };
    assert!(process >= 0, "fork: {}", io::Error::last_os_error());
    if process == 0 {
        let succeeded = std::panic::catch_unwind(std::panic::AssertUnwindSafe(child));
        // SAFETY: ends the process.
        unsafe { libc::_exit(i32::from(!matches!(succeeded, Ok(true)))) }
    }
    let result = parent();
    let mut status = 0;
    // SAFETY: the pointer is to a valid integer, and the child is ours.
    let waited = unsafe { libc::waitpid(process, &raw mut status, 0) };
    assert!(waited == process && status == 0, "the child failed: status {status:#x}");
    result
}

/// [`in_fork`], but the child is process 1 of a pid namespace of its own. From then on, the calling
/// thread can make child processes, but no threads.
///
/// # Panics
///
/// As [`in_fork`].
pub fn in_fork_as_first<T>(child: impl FnOnce() -> bool, parent: impl FnOnce() -> T) -> T {
    unshare(libc::CLONE_NEWPID).unwrap_or_else(|error| panic!("a pid namespace: {error}"));
    in_fork(child, parent)
}

/// A descriptor of a process (`pidfd_open(2)`), which can be entered like a namespace.
///
/// # Panics
///
/// If there is no such process.
pub fn process_descriptor(pid: u32) -> File {
    let pid = libc::c_long::from(pid);
    // SAFETY: two integers, no pointers.
    let descriptor = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
    let descriptor = i32::try_from(descriptor).ok().filter(|fd| *fd >= 0);
    let descriptor = descriptor.unwrap_or_else(|| panic!("{}", io::Error::last_os_error()));
    // SAFETY: the kernel has just made it for the caller, and nothing else owns it.
    File::from(unsafe { OwnedFd::from_raw_fd(descriptor) })
}

/// Runs a program in the current namespace and returns what it printed.
///
/// # Panics
///
/// If it cannot be started or fails.
pub fn run(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output().unwrap_or_else(|e| {
        panic!(
            "{program}: {e}; `make test` installs the Debian packages conntrack, nftables, iproute2"
        )
    });
    assert!(
        output.status.success(),
        "{program} {arguments:?}: {}\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Sets a sysctl of the calling thread's network namespace, for instance
/// `net/netfilter/nf_conntrack_acct`.
///
/// # Panics
///
/// If it cannot be written.
pub fn sysctl(name: &str, value: &str) {
    let path = format!("/proc/sys/{name}");
    fs::write(&path, value).unwrap_or_else(|e| panic!("{path}: {e}"));
}

/// Gives up all capabilities of the calling thread, for good.
///
/// # Panics
///
/// If the kernel refuses.
pub fn drop_capabilities() {
    capset(0).unwrap_or_else(|e| panic!("capset: {e}"));
}

/// Gives up all capabilities of the calling thread but `CAP_NET_ADMIN`, for good.
///
/// # Panics
///
/// If the kernel refuses.
pub fn keep_only_net_admin() {
    const CAP_NET_ADMIN: u32 = 12;
    capset(1 << CAP_NET_ADMIN).unwrap_or_else(|e| panic!("capset: {e}"));
}

/// Makes a command start without capabilities, and without a way to get them back.
pub fn drop_capabilities_of(command: &mut Command) {
    // SAFETY: the closures run between fork and exec and only make system calls.
    unsafe {
        command.pre_exec(|| {
            // Root would get them back at exec, unless the securebits say otherwise.
            let bits = libc::SECBIT_NOROOT | libc::SECBIT_NOROOT_LOCKED;
            if libc::prctl(libc::PR_SET_SECUREBITS, bits) != 0 {
                return Err(io::Error::last_os_error());
            }
            capset(0)
        });
    }
}

/// Sets the effective and permitted capabilities of the calling thread; numbers up to 31 only.
fn capset(keep: u32) -> io::Result<()> {
    #[repr(C)]
    struct Header {
        version: u32,
        pid: libc::c_int,
    }
    /// `_LINUX_CAPABILITY_VERSION_3`, which takes two sets of three words.
    const VERSION_3: u32 = 0x2008_0522;
    let header = Header { version: VERSION_3, pid: 0 };
    // Effective, permitted, inheritable; then the same for capabilities from 32 on.
    let sets = [keep, keep, 0, 0, 0, 0];
    // SAFETY: both pointers are valid for what version 3 of capset(2) reads, and it changes the
    // calling thread only.
    match unsafe { libc::syscall(libc::SYS_capset, &raw const header, &raw const sets) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
