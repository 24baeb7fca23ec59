//! A program that cleans the table, a document a line: kube-proxy of some version, or ours.

use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde_json::Value;

/// Started in the network namespace of the calling thread, waiting for documents.
pub(crate) struct Program {
    name: String,
    child: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
}

impl Program {
    /// kube-proxy of a version, with flags; built by `kube-proxy/build`.
    pub(crate) fn kube_proxy(version: &str, flags: &[&str]) -> Program {
        let directory = std::env::var("CTNETLINK_KUBE_PROXY").unwrap_or_else(|_| {
            concat!(env!("CARGO_MANIFEST_DIR"), "/../target/kube-proxy").into()
        });
        let program = PathBuf::from(directory).join(version).join("kube-proxy");
        Program::start(
            Command::new(&program).args(flags),
            &format!("{} (benches/peers/kube-proxy/build builds it)", program.display()),
        )
    }

    pub(crate) fn start(command: &mut Command, name: &str) -> Program {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            // kube-proxy logs each run; what it says of failures is looked for in the table.
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|e| panic!("{name}: {e}"));
        let (stdin, stdout) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        Program { name: name.to_owned(), child, stdin, stdout: BufReader::new(stdout) }
    }

    /// Has it clean up after a `List` of Services and EndpointSlices, in one line. Its answer has
    /// seconds and memory, and versions.
    pub(crate) fn clean(&mut self, document: &str) -> Value {
        writeln!(self.stdin, "{document}").unwrap_or_else(|e| panic!("{}: {e}", self.name));
        let mut line = String::new();
        self.stdout.read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap_or_else(|e| panic!("{}: {e}: {line:?}", self.name))
    }

    #[allow(dead_code, reason = "whoever compares only results does not trace")]
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
