//! What the kernel tests share.

use std::net::SocketAddr;

use ctnetlink::{Conntrack, Filter, Flow};
use ctnetlink_testbed::fill::Entry;

/// Parses an address with port.
pub fn at(text: &str) -> SocketAddr {
    text.parse().unwrap_or_else(|e| panic!("{text}: {e}"))
}

/// A UDP entry from client, frontend and backend.
pub fn udp(client: &str, frontend: &str, backend: &str) -> Entry {
    Entry::udp(at(client), at(frontend), at(backend))
}

/// The same over TCP.
pub fn tcp(client: &str, frontend: &str, backend: &str) -> Entry {
    Entry::tcp(at(client), at(frontend), at(backend))
}

/// Dumps into a list.
pub fn flows(ct: &Conntrack, filter: Option<&Filter>) -> Vec<Flow> {
    let dump = ct.dump(filter).unwrap_or_else(|e| panic!("{e}"));
    dump.into_iter().map(|flow| flow.unwrap_or_else(|e| panic!("{e}"))).collect()
}

/// The clients (original sources) of what a dump shows, sorted.
pub fn clients(ct: &Conntrack, filter: Option<&Filter>) -> Vec<String> {
    let mut clients: Vec<_> =
        flows(ct, filter).iter().map(|flow| flow.orig().source().to_string()).collect();
    clients.sort_unstable();
    clients
}

/// Runs something on a thread of its own in which one system call always fails with this errno (a
/// seccomp filter answers). Children inherit it.
pub fn with_failing_call<T: Send>(call: i64, errno: i32, body: impl FnOnce() -> T + Send) -> T {
    use seccompiler::{SeccompAction, SeccompFilter};
    let filter = SeccompFilter::new(
        [(call, Vec::new())].into(),
        SeccompAction::Allow,
        SeccompAction::Errno(errno.unsigned_abs()),
        std::env::consts::ARCH.try_into().unwrap_or_else(|e| panic!("{e}")),
    );
    let program = filter.and_then(seccompiler::BpfProgram::try_from);
    let program = program.unwrap_or_else(|e| panic!("{e}"));
    std::thread::scope(|scope| {
        let inside = scope.spawn(|| {
            seccompiler::apply_filter(&program).unwrap_or_else(|e| panic!("{e}"));
            body()
        });
        inside.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}
