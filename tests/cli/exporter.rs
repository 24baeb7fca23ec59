//! `exporter`: what it serves, and that it stays alive.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use ctnetlink::Conntrack;
use ctnetlink_testbed::fill::{Entry, Filler, fill};
use ctnetlink_testbed::netns::{Namespace, drop_capabilities_of, in_netns, run};
use ctnetlink_tests::at;

use crate::{command, insert_all};

/// A running exporter.
struct Exporter {
    child: Child,
    address: SocketAddr,
}

impl Exporter {
    fn start(arguments: &[&str]) -> Exporter {
        Exporter::of(
            Command::new(command()).args(["exporter", "--listen", "127.0.0.1:0"]).args(arguments),
        )
    }

    fn of(command: &mut Command) -> Exporter {
        run("ip", &["link", "set", "lo", "up"]);
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stderr.as_mut().unwrap()).read_line(&mut line).unwrap();
        let address =
            line.trim().trim_start_matches("serving http://").trim_end_matches("/metrics");
        Exporter { address: address.parse().unwrap_or_else(|_| panic!("{line}")), child }
    }

    fn connect(&self) -> Client {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        Client(BufReader::new(stream))
    }

    fn scrape(&self) -> Values {
        self.connect().scrape()
    }

    /// Ends it as a service manager does; the exit status.
    fn stop(mut self) -> Option<i32> {
        run("kill", &["-TERM", &self.child.id().to_string()]);
        self.child.wait().unwrap().code()
    }
}

impl Drop for Exporter {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Values by name and labels.
type Values = BTreeMap<String, f64>;

/// A connection.
struct Client(BufReader<TcpStream>);

impl Client {
    /// Status and body of an answer.
    fn ask(&mut self, request: &str) -> (u16, String) {
        self.0.get_mut().write_all(request.as_bytes()).unwrap();
        let mut line = String::new();
        self.0.read_line(&mut line).unwrap();
        let status = line.split(' ').nth(1).unwrap_or_else(|| panic!("{line:?}")).parse().unwrap();
        let mut length = 0;
        loop {
            line.clear();
            self.0.read_line(&mut line).unwrap();
            if line.trim().is_empty() {
                break;
            }
            if let Some(value) = line.to_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().unwrap();
            }
        }
        let mut body = vec![0; length];
        self.0.read_exact(&mut body).unwrap();
        (status, String::from_utf8(body).unwrap())
    }

    fn scrape(&mut self) -> Values {
        let (status, body) = self.ask("GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n");
        assert_eq!(status, 200, "{body}");
        let values = body.lines().filter(|line| !line.starts_with('#'));
        let value = |line: &str| {
            let (name, value) = line.rsplit_once(' ').unwrap();
            (name.to_owned(), value.parse().unwrap())
        };
        values.map(value).collect()
    }
}

#[test]
fn a_table_is_exposed() {
    in_netns(|| {
        insert_all();
        let exporter = Exporter::start(&["--top", "2", "--node-exporter-names"]);
        let values = exporter.scrape();
        for (name, value) in [
            ("ctnetlink_up", 1.0),
            ("ctnetlink_table_entries", 11.0),
            ("node_nf_conntrack_entries", 11.0),
            ("node_nf_conntrack_stat_insert", 11.0),
            ("ctnetlink_entries{family=\"ipv4\",protocol=\"tcp\",state=\"ESTABLISHED\"}", 1.0),
            ("ctnetlink_packets_lost_total{reason=\"full\"}", 0.0),
            ("ctnetlink_timeout_seconds{state=\"tcp_established\"}", 432_000.0),
            ("ctnetlink_timeout_seconds{state=\"udp\"}", 30.0),
            ("ctnetlink_finding{id=\"not-your-limit\"}", 1.0),
            ("ctnetlink_finding{id=\"table-near-full\"}", 0.0),
        ] {
            assert_eq!(values.get(name), Some(&value), "{name} in {values:#?}");
        }
        let limit = Conntrack::open().unwrap().limit().unwrap();
        assert_eq!(values["ctnetlink_table_limit"], f64::from(limit));
        let top = values.keys().filter(|name| name.starts_with("ctnetlink_top_entries"));
        assert_eq!(top.count(), 9, "two of each kind, and the others");
        let mut client = exporter.connect();
        let accept = "Accept: application/openmetrics-text; version=1.0.0\r\n";
        let (_, open) = client.ask(&format!("GET /metrics HTTP/1.1\r\nHost: x\r\n{accept}\r\n"));
        assert!(
            open.ends_with("# EOF\n") && open.contains("# TYPE ctnetlink_packets_lost counter")
        );
        assert_eq!(exporter.stop(), Some(0));
    });
}

/// A new connection may not get through when the table is full; the one of the last scrape does.
#[test]
fn a_full_table_is_scraped_on_the_open_connection() {
    in_netns(|| {
        let rule = "table inet t {\n chain c {\n type filter hook input priority 0;\n ct state new counter;\n }\n}\n";
        run("nft", &[rule]);
        let exporter = Exporter::start(&["--cache", "0.1"]);
        let mut client = exporter.connect();
        assert!(client.scrape()["ctnetlink_table_entries"] < 10.0);
        // TCP is ASSURED after the handshake: the connection of the scrape stays.
        let limit = Conntrack::open().unwrap().limit().unwrap();
        let mut filler = Filler::open().unwrap();
        let room = limit - Conntrack::open().unwrap().count().unwrap();
        for n in 0..room {
            let client = SocketAddr::new(std::net::Ipv4Addr::from(0x0a00_0000 + n).into(), 1024);
            filler.create(&Entry::udp(client, at("10.96.0.10:53"), at("10.244.0.1:53"))).unwrap();
        }
        filler.flush().unwrap();
        let refused = TcpStream::connect_timeout(&exporter.address, Duration::from_millis(500));
        assert!(refused.is_err(), "a new connection is dropped");
        std::thread::sleep(Duration::from_millis(1200));
        let values = client.scrape();
        assert_eq!(values["ctnetlink_table_entries"], f64::from(limit));
        assert_eq!(values["ctnetlink_finding{id=\"full-and-assured\"}"], 3.0);
        assert!(values["ctnetlink_packets_lost_total{reason=\"full\"}"] >= 1.0, "{values:#?}");
        assert!(values["ctnetlink_loss_probability_when_full"] > 0.99);
    });
}

/// Whatever the table holds, a scrape has at most 150 series.
#[test]
fn series_are_bounded() {
    in_netns(|| {
        let mut entries = Vec::new();
        for n in 0..2000u16 {
            let client = SocketAddr::new(
                at(if n % 2 == 0 { "10.0.0.1:1" } else { "[fd00::1]:1" }).ip(),
                1024 + n,
            );
            let [frontend, backend] = match n % 2 {
                0 => ["10.96.0.10:53", "10.244.0.1:53"],
                _ => ["[fd00:96::a]:53", "[fd00:244::1]:53"],
            };
            let mut entry = Entry::udp(client, at(frontend), at(backend));
            entry.status = [0, 0xa, 0xe][usize::from(n / 2) % 3];
            if n % 3 == 0 {
                entry.protocol = 6;
                entry.tcp_state = u8::try_from(n / 6 % 9 + 1).unwrap();
            }
            entry.zone = n % 7;
            entries.push(entry);
        }
        fill(&entries);
        let exporter = Exporter::start(&[]);
        let values = exporter.scrape();
        assert!(values.len() <= 150, "{} series", values.len());
        assert!(values.len() > 70, "{values:#?}");
    });
}

#[test]
fn a_walk_is_used_for_the_cache_time() {
    in_netns(|| {
        insert_all();
        let exporter = Exporter::start(&["--cache", "3600"]);
        let mut client = exporter.connect();
        let first = client.scrape();
        std::thread::sleep(Duration::from_millis(1200));
        let second = client.scrape();
        let age = |values: &Values| values["ctnetlink_summary_age_seconds"];
        assert!(age(&second) > age(&first) + 1.0, "{} {}", age(&first), age(&second));
        assert!(second["ctnetlink_sample_age_seconds"] < 1.0, "the counters are looked at again");
    });
}

#[test]
fn several_namespaces_have_a_label() {
    in_netns(|| {
        insert_all();
        let other = Namespace::new();
        let there = other.path();
        let exporter = Exporter::start(&["--netns", &there, "--netns", "/proc/thread-self/ns/net"]);
        let values = exporter.scrape();
        assert_eq!(values[&format!("ctnetlink_table_entries{{netns=\"{there}\"}}")], 0.0);
        assert_eq!(values["ctnetlink_table_entries{netns=\"/proc/thread-self/ns/net\"}"], 11.0);
    });
}

#[test]
fn without_privilege_it_says_so_and_shows_what_is_there() {
    in_netns(|| {
        insert_all();
        let mut powerless = Command::new(command());
        powerless.args(["exporter", "--listen", "127.0.0.1:0"]);
        drop_capabilities_of(&mut powerless);
        let values = Exporter::of(&mut powerless).scrape();
        assert_eq!(values["ctnetlink_up"], 0.0);
        assert_eq!(values["ctnetlink_table_entries"], 11.0);
        // Anybody may read the counters where the kernel has this file; elsewhere they are absent, not 0.
        let in_proc = std::path::Path::new("/proc/thread-self/net/stat/nf_conntrack").exists();
        let lost = values.contains_key("ctnetlink_packets_lost_total{reason=\"full\"}");
        assert_eq!(lost, in_proc);
        assert!(!values.contains_key("ctnetlink_entries_assured"), "{values:#?}");
    });
}

#[test]
fn whatever_connects_a_normal_scrape_goes_on() {
    in_netns(|| {
        insert_all();
        let exporter = Exporter::start(&[]);
        let mut regular = exporter.connect();
        assert_eq!(regular.scrape()["ctnetlink_up"], 1.0);
        // Those that ask nothing, half a request, and an answer that nobody reads.
        // A thousand in all, in two halves: a test may have a thousand descriptors.
        let mut idle = Vec::new();
        for n in 0..1000 {
            if n == 500 {
                idle.clear();
            }
            let mut stream = TcpStream::connect(exporter.address).unwrap();
            match n % 3 {
                0 => {}
                1 => drop(stream.write_all(b"GET /metr")),
                _ => drop(stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")),
            }
            idle.push(stream);
        }
        assert_eq!(regular.scrape()["ctnetlink_up"], 1.0, "the open connection");
        assert_eq!(exporter.scrape()["ctnetlink_up"], 1.0, "a new one");
        for (request, status) in [
            ("NONSENSE\r\n\r\n", 400),
            ("\0\x01\x02\r\n\r\n", 400),
            ("POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n", 405),
            ("GET /other HTTP/1.1\r\nHost: x\r\n\r\n", 404),
            ("GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n", 200),
        ] {
            assert_eq!(exporter.connect().ask(request).0, status, "{request:?}");
        }
        let large = format!("GET /metrics HTTP/1.1\r\nX: {}\r\n\r\n", "x".repeat(100_000));
        let mut client = exporter.connect();
        let _ = client.0.get_mut().write_all(large.as_bytes());
        let mut answer = String::new();
        let _ = client.0.read_line(&mut answer);
        assert!(!answer.contains("200"), "{answer}");
        drop(idle);
        assert_eq!(exporter.scrape()["ctnetlink_table_entries"], 11.0);
        assert_eq!(exporter.stop(), Some(0));
    });
}
