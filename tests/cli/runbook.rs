//! The screens of docs/runbook.md are what the commands print, on a table that is made here.

use std::net::{Ipv4Addr, SocketAddr};
use std::process::Command;

use ctnetlink::Conntrack;
use ctnetlink_testbed::fill::{Entry, Filler};
use ctnetlink_testbed::netns::in_netns;
use ctnetlink_tests::at;

use crate::command;

const RUNBOOK: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/runbook.md");

/// A node at 03:00: full; half of it toward one service, a third of it closed, some DNS without an
/// answer.
fn fill_as_at_night(limit: u32) {
    let mut filler = Filler::open().unwrap();
    let place = |address: u32, port| SocketAddr::new(Ipv4Addr::from(address).into(), port);
    for n in 0..limit {
        // Client and port make an entry unique. One client has a quarter of all.
        let round = n / 180_000;
        let (client, number) = match n % 3 {
            0 => (0x0af4_0311 + round, n / 3),
            _ => (0x0af4_1000 + n % 900 + 900 * round, n),
        };
        let client = place(client, u16::try_from(1024 + number % 60_000).unwrap());
        let backend = place(0x0af4_2000 + n % 40, 8080);
        let kind = n % 20;
        let frontend = if kind % 2 == 1 { 0x0a60_7604 } else { 0x0a60_0700 + kind };
        let tcp = Entry::tcp(client, place(frontend, 8080), backend);
        let dns = Entry::udp(client, at("10.96.0.10:53"), at("10.244.0.2:53"));
        filler
            .create(&match kind {
                0 => Entry { status: 0, timeout: 25 + n / 20 % 6, ..dns },
                kind if kind % 3 == 1 => Entry { tcp_state: 7, timeout: 120 - n / 20 % 100, ..tcp },
                _ => Entry { timeout: 80_000 + n % 6_000, ..tcp },
            })
            .unwrap();
    }
    filler.flush().unwrap();
}

/// The kernel's log is the machine's.
fn is_log(line: &str) -> bool {
    line.starts_with(" log ") || line.trim_end().ends_with("dropping packet")
}

/// What a screen looks like whatever the machine, the moment and the last digit.
fn shape(text: &str) -> Vec<String> {
    let mut lines = Vec::new();
    for line in text.lines() {
        if line.starts_with("conntrack on ") {
            lines.push("conntrack on ...".to_owned());
            continue;
        }
        let mut shape = String::new();
        for c in line.chars() {
            match c {
                '0'..='9' | ',' | '.' | '+' | '-' if shape.ends_with('#') => {}
                '0'..='9' | '+' | '-' => shape.push('#'),
                ' ' if shape.ends_with(' ') => {}
                c => shape.push(c),
            }
        }
        lines.push(shape.trim_end().to_owned());
    }
    lines
}

#[test]
fn the_screens_of_the_runbook_are_real() {
    in_netns(|| {
        let ct = Conntrack::open().unwrap();
        ct.set_limit(ctnetlink::diagnose::Setting::TcpEstablished, 86_400).unwrap();
        let text = std::fs::read_to_string(RUNBOOK).unwrap();
        let mut written = String::new();
        let mut blocks = 0;
        let mut parts = text.split("```console\n");
        written.push_str(parts.next().unwrap());
        for part in parts {
            let (block, rest) = part.split_once("\n```").unwrap();
            let mut real = String::new();
            for line in block.lines().filter_map(|line| line.strip_prefix("$ ")) {
                // Entries of DNS expire in half a minute.
                ct.flush_all().unwrap();
                fill_as_at_night(ct.limit().unwrap());
                let script = line.replacen("ctnetlink", command().to_str().unwrap(), 1);
                let output = Command::new("sh").args(["-c", &script]).output().unwrap();
                assert!(
                    output.stderr.is_empty(),
                    "{line}: {}",
                    String::from_utf8_lossy(&output.stderr)
                );
                let printed = String::from_utf8(output.stdout).unwrap();
                let lines = printed.lines().filter(|line| !is_log(line));
                real += &lines.fold(format!("$ {line}\n"), |text, line| text + line + "\n");
            }
            if std::env::var_os("CTNETLINK_WRITE_SCREENS").is_none() {
                assert_eq!(shape(block), shape(&real), "`make screens` writes docs/runbook.md");
            }
            written += &format!("```console\n{}\n```{rest}", real.trim_end());
            blocks += 1;
        }
        assert!(blocks >= 7);
        if std::env::var_os("CTNETLINK_WRITE_SCREENS").is_some() {
            std::fs::write(RUNBOOK, written).unwrap();
        }
    });
}
