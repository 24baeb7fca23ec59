//! The command and the example programs as a user runs them: what they print, and how they exit.
#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod doctor;
mod exporter;
mod reconcile;
mod runbook;
mod table;

use std::path::PathBuf;
use std::process::{Command, Output};
use std::sync::OnceLock;

use ctnetlink_testbed::netns::{in_netns, run};
use ctnetlink_testbed::oracle;
use serde_json::Value;

/// Builds the command and the examples once, and says where they are.
fn built() -> &'static PathBuf {
    static DIRECTORY: OnceLock<PathBuf> = OnceLock::new();
    DIRECTORY.get_or_init(|| {
        let build = Command::new(env!("CARGO"))
            .args(["build", "--quiet", "-p", "ctnetlink-examples", "-p", "ctnetlink-cli"])
            .args(["--examples", "--bins"])
            .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
            .status()
            .unwrap();
        assert!(build.success(), "cargo build: {build}");
        // target/debug/deps/this_test -> target/debug
        std::env::current_exe().unwrap().ancestors().nth(2).unwrap().to_owned()
    })
}

pub(crate) fn example(name: &str) -> PathBuf {
    built().join("examples").join(name)
}

/// The command.
pub(crate) fn command() -> PathBuf {
    built().join("ctnetlink")
}

/// Runs the command.
pub(crate) fn ctnetlink(arguments: &[&str]) -> Run {
    Command::new(command()).args(arguments).output().unwrap().into()
}

pub(crate) struct Run {
    pub(crate) status: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Run {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|e| panic!("{e}: {}", self.all()))
    }

    pub(crate) fn all(&self) -> String {
        format!("exit {}\n{}\n{}", self.status, self.stdout, self.stderr)
    }
}

impl From<Output> for Run {
    fn from(output: Output) -> Self {
        Run {
            status: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

pub(crate) fn conntrack_insert(
    protocol: &str,
    port: u16,
    frontend: (&str, u16),
    backend: (&str, u16),
) {
    let client = if frontend.0.contains(':') { "fd00:9::1" } else { "10.9.0.1" };
    let ((frontend, dport), (backend, reply_port)) = (frontend, backend);
    let state = if protocol == "tcp" { " --state ESTABLISHED" } else { "" };
    let text = format!(
        "-I -p {protocol} -t 600 -s {client} --sport {port} -d {frontend} --dport {dport} \
         -r {backend} --reply-port-src {reply_port} -q {client} --reply-port-dst {port} \
         -u SEEN_REPLY{state}"
    );
    run("conntrack", &text.split(' ').collect::<Vec<_>>());
}

/// One of each kind; the stale ones have ports from 100 on.
pub(crate) fn insert_all() {
    for (port, frontend, backend) in [
        (1, ("10.96.0.10", 53), ("10.244.1.5", 5353)),
        (2, ("10.96.0.10", 9153), ("10.244.9.9", 5353)),
        (3, ("203.0.113.9", 30053), ("203.0.113.9", 30053)),
        (4, ("192.0.2.5", 30053), ("10.244.1.5", 5353)),
        (5, ("fd00:96::a", 53), ("fd00:244::5", 5353)),
        (100, ("10.96.0.10", 53), ("10.244.9.9", 5353)),
        (101, ("10.96.0.10", 53), ("10.244.1.5", 53)),
        (102, ("10.96.0.10", 53), ("10.96.0.10", 53)),
        (103, ("192.0.2.5", 30053), ("10.244.9.9", 5353)),
        (104, ("fd00:96::a", 53), ("fd00:244::6", 5353)),
    ] {
        conntrack_insert("udp", port, frontend, backend);
    }
    conntrack_insert("tcp", 6, ("10.96.0.10", 53), ("10.244.9.9", 5353));
}

#[test]
fn the_host_is_left_alone() {
    in_netns(|| {
        insert_all();
        let before = oracle::table();
        for name in ["reconcile", "plain_desired_state", "published_ports"] {
            let arguments: &[&str] = if name == "reconcile" { &["--entries", "2000"] } else { &[] };
            let run: Run = Command::new(example(name)).args(arguments).output().unwrap().into();
            assert_eq!(run.status, 0, "{}", run.all());
        }
        assert_eq!(oracle::table(), before);
    });
}
