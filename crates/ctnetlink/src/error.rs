//! One error type, which says what was attempted, what the kernel answered, and what to do.

use std::borrow::Cow;
use std::fmt;
use std::io;

/// Shorthand for a result with this crate's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What was being done when something went wrong. Most error texts begin with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Operation {
    /// Opening the socket, or entering the namespace it belongs to.
    Open,
    /// Reading the entry count and limit.
    Count,
    /// Dumping the table.
    Dump,
    /// Fetching one entry.
    Get,
    /// Creating an entry.
    Create,
    /// Updating an entry.
    Update,
    /// Deleting an entry.
    Delete,
    /// Running a batch of operations.
    Batch,
    /// Removing all entries of a family.
    Flush,
    /// Reading and zeroing counters.
    Zero,
    /// Reading statistics.
    Stats,
    /// An operation on expectations.
    Expect,
    /// An operation on timeout policies.
    Timeout,
    /// Finding out what the kernel can do.
    Probe,
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Operation::Open => "open",
            Operation::Count => "count",
            Operation::Dump => "dump",
            Operation::Get => "get",
            Operation::Create => "create",
            Operation::Update => "update",
            Operation::Delete => "delete",
            Operation::Batch => "batch",
            Operation::Flush => "flush",
            Operation::Zero => "zero",
            Operation::Stats => "stats",
            Operation::Expect => "expectation",
            Operation::Timeout => "timeout policy",
            Operation::Probe => "probe",
        })
    }
}

/// Everything that can go wrong.
///
/// Match on the predicates ([`is_not_found`](Error::is_not_found) and its siblings) rather than
/// on variants, and show the text to people: it ends with the remedy where one is known.
///
/// ```
/// # fn f(ct: &ctnetlink::Conntrack, flow: &ctnetlink::Flow) -> ctnetlink::Result<()> {
/// match ct.delete(flow) {
///     Err(e) if e.is_not_found() => Ok(()), // already gone
///     other => other,
/// }
/// # }
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The kernel refused a request (`NLMSG_ERROR`, or an error code in `NLMSG_DONE`).
    #[error("{}", KernelText { operation: *operation, errno: *errno, message: message.as_deref(), offset: *offset })]
    Kernel {
        /// What was attempted.
        operation: Operation,
        /// The positive errno.
        errno: i32,
        /// The kernel's own error message (extended ack), if it sent one.
        message: Option<String>,
        /// Offset of the offending attribute in the request, if the kernel reports it.
        offset: Option<u32>,
    },

    /// A system call on the socket or on the namespace failed.
    #[error(
        "{operation}: {call}: {}{}",
        system_text(source),
        remedy_of_call(*operation, call, source.raw_os_error())
    )]
    Io {
        /// What was attempted.
        operation: Operation,
        /// The system call, or the path of the file that could not be opened or read.
        call: Cow<'static, str>,
        /// The error of the system call.
        source: io::Error,
    },

    /// The kernel has no ctnetlink: requests that are always valid get `EINVAL`, or the socket
    /// cannot be opened at all.
    #[error(
        "{operation}: this kernel does not offer ctnetlink ({}); load it with `modprobe \
         nf_conntrack_netlink`, or use a kernel built with CONFIG_NF_CT_NETLINK{}",
        errno_text(*errno),
        hidden_family(*errno)
    )]
    NotSupported {
        /// What was attempted.
        operation: Operation,
        /// The errno by which it was detected.
        errno: i32,
    },

    /// The socket's receive buffer overflowed (`ENOBUFS` from a receive): answers were lost,
    /// although the requests were executed.
    ///
    /// A dump or a count has no result: try again. A delete may have been executed: asking again
    /// is safe, because it names the entry by its id, and [`delete_many`] and [`delete_matching`]
    /// do it themselves. What a [`Batch`] could not find out is [`Outcome::Unknown`].
    ///
    /// [`delete_many`]: crate::Conntrack::delete_many
    /// [`delete_matching`]: crate::Conntrack::delete_matching
    /// [`Batch`]: crate::Batch
    /// [`Outcome::Unknown`]: crate::Outcome::Unknown
    #[error(
        "{operation}: the socket's receive buffer overflowed (ENOBUFS), and answers of the kernel \
         were lost; try again"
    )]
    Overrun {
        /// What was attempted.
        operation: Operation,
    },

    /// A datagram did not fit the receive buffer, so a part of it was lost.
    #[error("{operation}: a datagram of {length} bytes was cut to {capacity}")]
    Truncated {
        /// What was attempted.
        operation: Operation,
        /// Real length of the datagram, bytes.
        length: usize,
        /// What the buffer held, bytes.
        capacity: usize,
    },

    /// The kernel's hash table was resized during the dump (`nf_conntrack_buckets`), so that entries
    /// may be missing. So it is if the kernel marks the dump (`NLM_F_DUMP_INTR`), which 6.18 never does.
    #[error("dump: interrupted, so the result is incomplete; try again")]
    DumpInterrupted,

    /// The kernel sent no answer, or did not finish it.
    #[error(
        "{operation}: the kernel did not finish its answer{}",
        if *seconds == 0 { String::new() } else { format!(" within {seconds} s") }
    )]
    NoAnswer {
        /// What was attempted.
        operation: Operation,
        /// How long the caller waited; 0 if there was nothing to wait for.
        seconds: u64,
    },

    /// An answer does not follow the protocol.
    #[error("{operation}: malformed message: {source}")]
    Decode {
        /// What was attempted.
        operation: Operation,
        /// What is wrong, and where.
        source: DecodeError,
    },

    /// The key names no entry. The kernel found another one by it, which was left alone: its lookup
    /// compares a tuple with both directions of each entry, and ignores the id.
    #[error(
        "{operation}: no entry has this name (ENOENT, errno 2); the kernel offered another one \
         instead, which was left alone: {found}"
    )]
    AnotherEntry {
        /// What was attempted.
        operation: Operation,
        /// The other entry, as a line of text.
        found: String,
    },

    /// The operation was cancelled on request before it finished.
    #[error("{operation}: cancelled, so the result is incomplete")]
    Cancelled {
        /// The operation that was cancelled.
        operation: Operation,
    },

    /// A desired state that is only half of one, such as a list that lost all Services. Nothing was
    /// sent: it must not mean that everything is gone.
    #[error(
        "desired state: {problem}: half a picture is not taken for the whole; nothing was deleted"
    )]
    HalfState {
        /// What is missing.
        problem: String,
    },

    /// The text of a filter is not one ([`Filter::from_str`](crate::Filter)).
    #[error("{message}")]
    Syntax {
        /// Where it stops being one: the number of characters before that, lines included.
        position: usize,
        /// Line and column, what is wrong, what was expected, and the line with a mark below it.
        message: String,
    },

    /// A setting (sysctl) could not be changed.
    #[error(
        "limits: {value} in {path}: {}{}",
        system_text(source),
        remedy_of_setting(path, source)
    )]
    Setting {
        /// The file.
        path: String,
        /// What was to be written.
        value: u32,
        /// The error of `write(2)` or `open(2)`; `EINVAL` for a value that was refused here.
        source: io::Error,
    },

    /// An argument is invalid. Nothing was sent.
    #[error("{0}")]
    Invalid(String),
}

impl Clone for Error {
    /// The copy of a system call's error keeps the errno, which is all that such an error contains.
    fn clone(&self) -> Self {
        match self {
            Error::Kernel { operation, errno, message, offset } => Error::Kernel {
                operation: *operation,
                errno: *errno,
                message: message.clone(),
                offset: *offset,
            },
            Error::Io { operation, call, source } => {
                Error::Io { operation: *operation, call: call.clone(), source: copy(source) }
            }
            Error::NotSupported { operation, errno } => {
                Error::NotSupported { operation: *operation, errno: *errno }
            }
            Error::Overrun { operation } => Error::Overrun { operation: *operation },
            Error::Truncated { operation, length, capacity } => {
                Error::Truncated { operation: *operation, length: *length, capacity: *capacity }
            }
            Error::DumpInterrupted => Error::DumpInterrupted,
            Error::Cancelled { operation } => Error::Cancelled { operation: *operation },
            Error::NoAnswer { operation, seconds } => {
                Error::NoAnswer { operation: *operation, seconds: *seconds }
            }
            Error::Decode { operation, source } => {
                Error::Decode { operation: *operation, source: *source }
            }
            Error::AnotherEntry { operation, found } => {
                Error::AnotherEntry { operation: *operation, found: found.clone() }
            }
            Error::HalfState { problem } => Error::HalfState { problem: problem.clone() },
            Error::Syntax { position, message } => {
                Error::Syntax { position: *position, message: message.clone() }
            }
            Error::Setting { path, value, source } => {
                Error::Setting { path: path.clone(), value: *value, source: copy(source) }
            }
            Error::Invalid(text) => Error::Invalid(text.clone()),
        }
    }
}

/// A system call's error contains nothing but the errno.
fn copy(source: &io::Error) -> io::Error {
    match source.raw_os_error() {
        Some(errno) => io::Error::from_raw_os_error(errno),
        None => io::Error::new(source.kind(), source.to_string()),
    }
}

impl Error {
    #[cold]
    pub(crate) fn kernel(operation: Operation, errno: i32) -> Self {
        Error::Kernel { operation, errno, message: None, offset: None }
    }

    #[cold]
    pub(crate) fn io(
        operation: Operation,
        call: impl Into<Cow<'static, str>>,
        source: io::Error,
    ) -> Self {
        match source.raw_os_error() {
            // socket() fails with these if the kernel has no NETLINK_NETFILTER.
            Some(errno @ (libc::EPROTONOSUPPORT | libc::EAFNOSUPPORT)) => {
                Error::NotSupported { operation, errno }
            }
            _ => Error::Io { operation, call: call.into(), source },
        }
    }

    #[cold]
    pub(crate) fn decode(operation: Operation, source: DecodeError) -> Self {
        Error::Decode { operation, source }
    }

    /// The errno of the error, if it has one: that of the kernel's answer or of the failed system
    /// call, or else the one that fits best (such as `ETIMEDOUT` where no answer came).
    pub fn raw_os_error(&self) -> Option<i32> {
        match self {
            Error::Kernel { errno, .. } | Error::NotSupported { errno, .. } => Some(*errno),
            Error::Io { source, .. } | Error::Setting { source, .. } => source.raw_os_error(),
            Error::AnotherEntry { .. } => Some(libc::ENOENT),
            Error::Overrun { .. } => Some(libc::ENOBUFS),
            Error::NoAnswer { .. } => Some(libc::ETIMEDOUT),
            Error::DumpInterrupted => Some(libc::EINTR),
            Error::Cancelled { .. } => Some(libc::ECANCELED),
            Error::Invalid(_) | Error::HalfState { .. } | Error::Syntax { .. } => {
                Some(libc::EINVAL)
            }
            Error::Truncated { .. } | Error::Decode { .. } => None,
        }
    }

    /// The entry does not exist (any more), or is another one: `ENOENT`.
    pub fn is_not_found(&self) -> bool {
        self.raw_os_error() == Some(libc::ENOENT)
    }

    /// `CAP_NET_ADMIN` is missing: `EPERM` or `EACCES`.
    pub fn is_permission_denied(&self) -> bool {
        matches!(self.raw_os_error(), Some(libc::EPERM | libc::EACCES))
    }

    /// The desired state is only half of one, and was refused.
    pub fn is_half_state(&self) -> bool {
        matches!(self, Error::HalfState { .. })
    }

    /// The operation was cancelled on request.
    pub fn is_cancelled(&self) -> bool {
        matches!(self, Error::Cancelled { .. })
    }

    /// The kernel does not offer ctnetlink.
    pub fn is_not_supported(&self) -> bool {
        matches!(self, Error::NotSupported { .. })
    }

    /// Something was lost on the way ([`Overrun`](Error::Overrun),
    /// [`Truncated`](Error::Truncated), [`DumpInterrupted`](Error::DumpInterrupted)): the same
    /// call may succeed when repeated.
    pub fn is_incomplete(&self) -> bool {
        matches!(self, Error::Overrun { .. } | Error::Truncated { .. } | Error::DumpInterrupted)
    }
}

/// Bytes that do not follow the protocol: what is wrong with them, and where.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{what} at offset {offset}")]
pub struct DecodeError {
    /// What is wrong, with the name of the attribute.
    pub what: &'static str,
    /// Offset in the bytes that were being read.
    pub offset: usize,
}

impl DecodeError {
    #[cold]
    pub(crate) fn new(what: &'static str, offset: usize) -> Self {
        DecodeError { what, offset }
    }
}

struct KernelText<'a> {
    operation: Operation,
    errno: i32,
    message: Option<&'a str>,
    offset: Option<u32>,
}

impl fmt::Display for KernelText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.operation, errno_text(self.errno))?;
        if let Some(message) = self.message {
            write!(f, ": {message}")?;
        }
        if let Some(offset) = self.offset {
            write!(f, " (attribute at offset {offset} of the request)")?;
        }
        f.write_str(&remedy_suffix(self.operation, Some(self.errno)))
    }
}

/// "Operation not permitted (EPERM, errno 1)" without the standard library's "(os error 1)".
pub(crate) fn errno_text(errno: i32) -> String {
    let text = io::Error::from_raw_os_error(errno).to_string();
    let text = text.split(" (os error").next().unwrap_or_default();
    match errno_name(errno) {
        Some(name) => format!("{text} ({name}, errno {errno})"),
        None => format!("{text} (errno {errno})"),
    }
}

/// The text of a failed system call, with the errno in the form of [`errno_text`].
fn system_text(error: &io::Error) -> String {
    error.raw_os_error().map_or_else(|| error.to_string(), errno_text)
}

/// The symbolic names of the errnos that ctnetlink answers with.
pub(crate) fn errno_name(errno: i32) -> Option<&'static str> {
    Some(match errno {
        libc::EPERM => "EPERM",
        libc::ENOENT => "ENOENT",
        libc::EINTR => "EINTR",
        libc::ENOMEM => "ENOMEM",
        libc::EACCES => "EACCES",
        libc::EBUSY => "EBUSY",
        libc::EEXIST => "EEXIST",
        libc::EINVAL => "EINVAL",
        libc::EMFILE => "EMFILE",
        libc::ENOSPC => "ENOSPC",
        libc::ERANGE => "ERANGE",
        libc::EROFS => "EROFS",
        libc::EOPNOTSUPP => "EOPNOTSUPP",
        libc::EPROTONOSUPPORT => "EPROTONOSUPPORT",
        libc::EAFNOSUPPORT => "EAFNOSUPPORT",
        libc::ENOBUFS => "ENOBUFS",
        libc::ECANCELED => "ECANCELED",
        libc::ETIMEDOUT => "ETIMEDOUT",
        _ => return None,
    })
}

fn remedy_suffix(operation: Operation, errno: Option<i32>) -> String {
    use Operation as O;
    let remedy = match (operation, errno.unwrap_or(0)) {
        (O::Update, libc::EPERM) => {
            "either the entry's timeout is fixed (FIXED_TIMEOUT), or CAP_NET_ADMIN is missing in \
             the user namespace that owns the network namespace"
        }
        (_, libc::EPERM) => {
            "this needs CAP_NET_ADMIN in the user namespace that owns the network namespace: run as \
             root, or grant the capability (a container: NET_ADMIN; systemd: \
             AmbientCapabilities=CAP_NET_ADMIN; a Kubernetes node: `kubectl debug node/NAME \
             --profile=sysadmin`)"
        }
        (O::Expect, libc::EMFILE) => {
            "the limit on expectations is reached (nf_conntrack_expect_max)"
        }
        (O::Expect, libc::EOPNOTSUPP) => "the master entry has no helper",
        (O::Timeout, libc::EINVAL) => {
            "try `modprobe nfnetlink_cttimeout` (CONFIG_NF_CT_NETLINK_TIMEOUT): without it every \
             request about timeout policies is invalid"
        }
        (O::Timeout, libc::EBUSY) => {
            "a rule uses the policy, or a policy of this name exists already"
        }
        (O::Timeout, libc::EOPNOTSUPP) => "the kernel has no timeouts for this protocol",
        (O::Create, libc::ENOMEM) => {
            "the table is full: raise net.netfilter.nf_conntrack_max in the initial namespace"
        }
        (O::Create, libc::ENOSPC) => {
            "the hash chain is full: spread the addresses, or raise nf_conntrack_buckets"
        }
        (O::Create | O::Update, libc::EBUSY) => {
            "the status sets or clears a bit that cannot be changed (repeat SEEN_REPLY and ASSURED \
             where they are set), or the entry has another helper"
        }
        (O::Update, libc::ENOSPC) => {
            "no rule of this namespace uses labels: add one, for instance `ct label set` of nftables"
        }
        (O::Create, libc::EOPNOTSUPP) => {
            "the helper is unknown or of another protocol, or the kernel lacks NAT, marks or zones"
        }
        (O::Update, libc::EOPNOTSUPP) => {
            "NAT, master and helper are decided when an entry is created"
        }
        (O::Delete, libc::EBUSY) => "kernels from 4.20 to 6.1 do not delete offloaded entries",
        _ => return String::new(),
    };
    format!("; {remedy}")
}

/// Names of calls that have a remedy of their own.
pub(crate) mod call {
    pub(crate) const SIOCGSKNS: &str = "ioctl SIOCGSKNS";
    /// The thread has the privilege for it.
    pub(crate) const FILTERED_NAMESPACE: &str = "entering a namespace";
}

/// What to do about a failed system call. An errno means something else from each of them, and not
/// what it means in an answer of the kernel.
fn remedy_of_call(operation: Operation, called: &str, errno: Option<i32>) -> String {
    let remedy = match (called, errno.unwrap_or(0)) {
        ("setns" | "unshare", libc::EPERM) => {
            "this needs CAP_SYS_ADMIN in your user namespace and in the one that owns the network \
             namespace: run as root"
        }
        (call::FILTERED_NAMESPACE, libc::EPERM) => {
            "the process has CAP_SYS_ADMIN, and a seccomp filter, which denies the call (a \
             container: `--security-opt seccomp=unconfined`; Kubernetes: seccompProfile \
             Unconfined); or the namespace belongs to another user namespace"
        }
        (path, libc::EPERM | libc::EACCES) if path.starts_with("/proc/") => {
            "the namespace of another user's process can be opened by root only (CAP_SYS_PTRACE)"
        }
        (call::SIOCGSKNS, libc::EPERM) => {
            "/proc is not mounted, and without it this needs CAP_NET_ADMIN in the user namespace \
             that owns the network namespace: mount /proc, or run as root"
        }
        ("socket" | "connect" | "send" | "recv" | "poll", libc::EPERM | libc::EACCES) => {
            "no capability is missing, because this call needs none: a security policy denies it \
             (seccomp, SELinux, AppArmor)"
        }
        ("send", libc::ENOBUFS) => {
            "the kernel had no memory for the request and executed nothing: try again"
        }
        (_, libc::EMFILE) => "close some files, or raise the limit with `ulimit -n`",
        (_, libc::EPERM | libc::ENOBUFS) => return String::new(),
        (_, other) => return remedy_suffix(operation, Some(other)),
    };
    format!("; {remedy}")
}

/// Why a setting could not be changed.
fn remedy_of_setting(path: &str, source: &io::Error) -> &'static str {
    let is_global = ["_max", "_buckets"].iter().any(|end| path.ends_with(end));
    match source.raw_os_error() {
        Some(libc::EACCES | libc::EPERM) if is_global => {
            "; it is one for the whole machine: change it in the initial network namespace, as root \
             (on a node: `nsenter -t 1 -n`; on Kubernetes: kube-proxy's conntrack options)"
        }
        Some(libc::EACCES | libc::EPERM) => "; this needs CAP_NET_ADMIN: run as root",
        Some(libc::EROFS) => {
            "; /proc/sys is read-only in this container: run it privileged, or change the value on \
             the host"
        }
        Some(libc::EINVAL) => "; it is out of range",
        Some(libc::ENOENT) => "; this kernel does not have it, or /proc is not mounted",
        _ => "",
    }
}

/// systemd's `RestrictAddressFamilies=` answers as a kernel without netlink does.
fn hidden_family(errno: i32) -> &'static str {
    match errno {
        libc::EAFNOSUPPORT => {
            "; under systemd, RestrictAddressFamilies= of the unit has to list AF_NETLINK"
        }
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_names_operation_errno_and_remedy() {
        let text = Error::kernel(Operation::Dump, libc::EPERM).to_string();
        assert!(
            text.starts_with("dump: Operation not permitted (EPERM, errno 1); this needs"),
            "{text}"
        );
        assert!(text.contains("CAP_NET_ADMIN") && text.contains("--profile=sysadmin"), "{text}");
        assert!(!text.contains("unshare"), "an empty table helps no operator: {text}");
    }

    /// The same errno, from one call and from another.
    #[test]
    fn an_errno_belongs_to_its_call() {
        let text = |operation, called, errno| {
            Error::io(operation, called, io::Error::from_raw_os_error(errno)).to_string()
        };
        for (operation, called, errno, words) in [
            (Operation::Open, "socket", libc::EPERM, "a security policy denies it"),
            (Operation::Dump, "recv", libc::EACCES, "a security policy denies it"),
            (Operation::Open, "setns", libc::EPERM, "needs CAP_SYS_ADMIN"),
            (Operation::Probe, "unshare", libc::EPERM, "needs CAP_SYS_ADMIN"),
            (Operation::Open, call::FILTERED_NAMESPACE, libc::EPERM, "seccomp filter"),
            (Operation::Open, "/proc/1/ns/net", libc::EACCES, "by root only"),
            (Operation::Open, call::SIOCGSKNS, libc::EPERM, "mount /proc"),
            (Operation::Dump, "send", libc::ENOBUFS, "executed nothing"),
            (Operation::Dump, "socket", libc::EMFILE, "ulimit -n"),
            (Operation::Open, "socket", libc::EAFNOSUPPORT, "RestrictAddressFamilies="),
        ] {
            let text = text(operation, called, errno);
            assert!(text.contains(words), "{text}");
            assert!(!text.contains("CAP_NET_ADMIN") || called == call::SIOCGSKNS, "{text}");
        }
        let sent =
            Error::io(Operation::Delete, "send", io::Error::from_raw_os_error(libc::ENOBUFS));
        assert!(!matches!(sent, Error::Overrun { .. }), "nothing was executed");
    }

    #[test]
    fn the_kernels_words_are_kept() {
        let error = Error::Kernel {
            operation: Operation::Count,
            errno: libc::ERANGE,
            message: Some("Attribute failed policy validation".into()),
            offset: Some(20),
        };
        let text = error.to_string();
        assert!(text.contains("Attribute failed policy validation"), "{text}");
        assert!(text.contains("offset 20"), "{text}");
    }

    #[test]
    fn a_kernel_without_netfilter_is_not_supported() {
        for errno in [libc::EPROTONOSUPPORT, libc::EAFNOSUPPORT] {
            let error = Error::io(Operation::Open, "socket", io::Error::from_raw_os_error(errno));
            assert!(error.is_not_supported());
            assert!(error.to_string().contains("modprobe nf_conntrack_netlink"), "{error}");
            assert_eq!(error.raw_os_error(), Some(errno));
        }
    }

    #[test]
    fn predicates() {
        assert!(Error::kernel(Operation::Delete, libc::ENOENT).is_not_found());
        assert!(Error::kernel(Operation::Delete, libc::EPERM).is_permission_denied());
        assert!(!Error::kernel(Operation::Delete, libc::EPERM).is_not_found());
        assert!(Error::Overrun { operation: Operation::Dump }.is_incomplete());
        assert!(Error::DumpInterrupted.is_incomplete());
        assert!(
            Error::Truncated { operation: Operation::Dump, length: 9, capacity: 8 }.is_incomplete()
        );
    }

    #[test]
    fn a_clone_says_the_same() {
        let operation = Operation::Batch;
        for error in [
            Error::Kernel { operation, errno: 34, message: Some("m".into()), offset: Some(4) },
            Error::Io { operation, call: "recv".into(), source: io::Error::from_raw_os_error(9) },
            Error::Io { operation, call: "recv".into(), source: io::Error::other("odd") },
            Error::NotSupported { operation, errno: 22 },
            Error::Overrun { operation },
            Error::Truncated { operation, length: 9, capacity: 8 },
            Error::DumpInterrupted,
            Error::Cancelled { operation },
            Error::AnotherEntry { operation, found: "udp".into() },
            Error::NoAnswer { operation, seconds: 5 },
            Error::decode(operation, DecodeError::new("cut", 3)),
            Error::HalfState { problem: "half".into() },
            Error::Syntax { position: 3, message: "filter".into() },
            Error::Invalid("no".into()),
        ] {
            let copy = error.clone();
            assert_eq!(
                (copy.to_string(), copy.raw_os_error()),
                (error.to_string(), error.raw_os_error())
            );
        }
    }

    #[test]
    fn unknown_errnos_still_print() {
        assert!(errno_text(4095).contains("errno 4095"));
    }
}
