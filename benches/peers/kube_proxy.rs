//! A kube-proxy of one version, waiting for documents; built by `kube-proxy/build`.

use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde_json::Value;

pub(crate) struct KubeProxy {
    pub(crate) version: &'static str,
    child: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
}

impl KubeProxy {
    /// In the network namespace of the calling thread.
    pub(crate) fn start(version: &'static str) -> KubeProxy {
        let directory = std::env::var("CTNETLINK_KUBE_PROXY").unwrap_or_else(|_| {
            concat!(env!("CARGO_MANIFEST_DIR"), "/../target/kube-proxy").into()
        });
        let program = PathBuf::from(directory).join(version).join("kube-proxy");
        let mut child = Command::new(&program)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            // It logs each run; what it says of failures is looked for in the table.
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|e| {
                panic!("{}: {e}; benches/peers/kube-proxy/build builds it", program.display())
            });
        let (stdin, stdout) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        KubeProxy { version, child, stdin, stdout: BufReader::new(stdout) }
    }

    /// Has it clean up after a `List` of Services and EndpointSlices, in one line. Its answer has the
    /// versions, and seconds and memory.
    pub(crate) fn clean(&mut self, document: &str) -> Value {
        writeln!(self.stdin, "{document}").unwrap();
        let mut line = String::new();
        self.stdout.read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap_or_else(|e| panic!("{}: {e}: {line:?}", self.version))
    }
}

impl Drop for KubeProxy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
