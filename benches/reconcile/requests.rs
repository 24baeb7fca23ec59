//! What goes to the kernel, counted from outside by `strace`, the same way for everybody.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStderr, Command, Stdio};

/// System calls of a run.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Requests {
    /// Datagrams sent; one can hold many requests.
    pub(crate) sends: u64,
    /// Sockets opened.
    pub(crate) sockets: u64,
}

/// How `strace` is called.
pub(crate) const ARGUMENTS: [&str; 8] =
    ["-f", "-c", "-U", "name,calls", "-e", "trace=sendto,sendmsg,sendmmsg,socket", "-o", OUTPUT];

/// In the directory of the build.
const OUTPUT: &str = concat!(env!("CARGO_TARGET_TMPDIR"), "/requests");

impl Requests {
    pub(crate) fn add(&mut self, more: Requests) {
        self.sends += more.sends;
        self.sockets += more.sockets;
    }

    /// Takes what the tracer has written.
    fn read() -> Requests {
        let text = fs::read_to_string(OUTPUT).unwrap_or_else(|e| panic!("{OUTPUT}: {e}"));
        fs::remove_file(OUTPUT).unwrap();
        let mut requests = Requests::default();
        for line in text.lines() {
            let mut words = line.split_whitespace();
            let (Some(name), Some(Ok(calls))) = (words.next(), words.next().map(str::parse::<u64>))
            else {
                continue;
            };
            match name {
                "sendto" | "sendmsg" | "sendmmsg" => requests.sends += calls,
                "socket" => requests.sockets += calls,
                _ => {}
            }
        }
        assert!(requests.sends > 0, "{text}");
        requests
    }
}

/// A tracer of a running process.
pub(crate) struct Trace {
    child: Child,
    /// Kept open: a tracer that cannot say that it detaches dies of it.
    _stderr: BufReader<ChildStderr>,
}

pub(crate) fn attach(process: u32) -> Trace {
    let mut child = Command::new("strace")
        .args(ARGUMENTS)
        .args(["-p", &process.to_string()])
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|e| panic!("strace: {e}; `make bench-peers` installs it"));
    let mut first = String::new();
    let mut stderr = BufReader::new(child.stderr.take().unwrap());
    stderr.read_line(&mut first).unwrap();
    assert!(first.contains("attached"), "{first}");
    Trace { child, _stderr: stderr }
}

impl Trace {
    pub(crate) fn detach(mut self) -> Requests {
        let stopped = Command::new("kill").args(["-INT", &self.child.id().to_string()]).status();
        assert!(stopped.unwrap().success(), "strace cannot be stopped");
        self.child.wait().unwrap();
        Requests::read()
    }
}

/// A whole program under the tracer.
pub(crate) fn trace(command: &mut Command) -> Requests {
    command.status().unwrap_or_else(|e| panic!("strace: {e}; `make bench-peers` installs it"));
    Requests::read()
}
