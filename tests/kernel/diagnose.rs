//! The diagnosis against a real table: full ones, lost packets counted at the receiver, summaries
//! against an independent count.
#![allow(clippy::cast_possible_truncation, reason = "numbers of entries in tests are small")]

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::time::Duration;

use ctnetlink::diagnose::{Accumulator, Diagnosis, FindingId, Level, Losses, Setting};
use ctnetlink::{Conntrack, Protocol};
use ctnetlink_testbed::fill::{Entry, Filler, fill};
use ctnetlink_testbed::netns::{Namespace, in_netns, run, sysctl};
use ctnetlink_tests::{at, udp};

/// Without a rule that asks for the state, nothing is tracked.
const RULE: &str = "table inet t {\n chain c {\n type filter hook input priority 0;\n ct state new counter;\n }\n}\n";

const ASSURED: u32 = 0xe;
const REPLIED: u32 = 0xa;
const TIME_WAIT: u8 = 7;

/// Address, port and protocol of a row.
type Place = (IpAddr, Option<u16>, u8);

/// Entries by number, all different.
fn numbered(n: u32, make: fn(SocketAddr, SocketAddr, SocketAddr) -> Entry) -> Entry {
    let client =
        SocketAddr::new(Ipv4Addr::from(0x0a00_0000 + (n >> 4)).into(), 1024 + (n & 15) as u16);
    Entry { timeout: 600, ..make(client, at("10.96.0.10:53"), at("10.244.0.1:53")) }
}

/// Fills the table with so many entries, of which the first ones are not ASSURED.
fn fill_up(entries: u32, not_assured: u32) {
    let mut filler = Filler::open().unwrap();
    for n in 0..entries {
        let status = if n < not_assured { REPLIED } else { ASSURED };
        filler.create(&Entry { status, ..numbered(n, Entry::udp) }).unwrap();
    }
    filler.flush().unwrap();
}

fn diagnose(ct: &Conntrack) -> Diagnosis {
    ct.diagnose().interval(Duration::ZERO).run().unwrap()
}

/// A client behind a veth pair, whose packets are tracked here, and a receiver here.
struct Wire {
    client: Namespace,
    receiver: UdpSocket,
}

impl Wire {
    fn new() -> Wire {
        let client = Namespace::new();
        let ip = |words: &str| run("ip", &words.split(' ').collect::<Vec<_>>());
        // Nothing else may send: a packet of the neighbour discovery counts, too.
        let quiet = || sysctl("net/ipv6/conf/all/disable_ipv6", "1");
        quiet();
        client.run(quiet);
        ip("link add h0 type veth peer name p0");
        ip(&format!("link set p0 netns {}", client.path()));
        ip("addr add 10.9.0.1/16 dev h0");
        ip("link set h0 up");
        client.run(|| {
            ip("addr add 10.9.0.2/16 dev p0");
            ip("link set p0 up");
        });
        run("nft", &[RULE]);
        let receiver = UdpSocket::bind("10.9.0.1:5000").unwrap();
        receiver.set_nonblocking(true).unwrap();
        Wire { client, receiver }
    }

    /// Sends packets, each from a port of its own, and returns how many arrived.
    fn send(&self, packets: u16, first_port: u16) -> u64 {
        let mut arrived = 0;
        for start in (0..packets).step_by(100) {
            // A hundred fit any receive buffer.
            let burst = start..packets.min(start + 100);
            self.client.run(|| {
                for n in burst {
                    let socket = UdpSocket::bind(("10.9.0.2", first_port + n)).unwrap();
                    socket.send_to(b"x", "10.9.0.1:5000").unwrap();
                }
            });
            // veth delivers within the send, or soon after on a busy machine.
            let mut idle = 0;
            while idle < 5 {
                match self.receiver.recv(&mut [0; 8]) {
                    Ok(_) => (arrived, idle) = (arrived + 1, 0),
                    Err(_) => {
                        idle += 1;
                        std::thread::sleep(Duration::from_millis(1));
                    }
                }
            }
        }
        arrived
    }
}

/// What the kernel counted as lost while something ran, and how many entries it evicted.
fn losses_of<T>(ct: &Conntrack, body: impl FnOnce() -> T) -> (T, Losses, u64) {
    let mut counters = Accumulator::default();
    counters.add(Duration::ZERO, &ct.stats_per_cpu().unwrap());
    let result = body();
    let change = counters.add(Duration::from_secs(1), &ct.stats_per_cpu().unwrap()).unwrap();
    (result, change.losses, change.statistics.early_drop.unwrap())
}

#[test]
fn usage_is_a_warning_from_75_and_critical_from_90_percent() {
    in_netns(|| {
        let ct = Conntrack::open().unwrap();
        let limit = ct.limit().unwrap();
        let nothing = diagnose(&ct);
        assert_eq!(nothing.level, Some(Level::Ok), "{:?}", nothing.findings);
        assert_eq!(nothing.is_host, Some(false));
        assert!(nothing.finding(FindingId::NotYourLimit).is_some());
        for (percent, level) in [(80, Level::Warning), (95, Level::Critical)] {
            ct.flush_all().unwrap();
            let entries = u32::try_from(u64::from(limit) * percent / 100).unwrap();
            // Nothing is assured, so that the usage alone is what is found.
            fill_up(entries, entries);
            let found = diagnose(&ct);
            let pressure = found.pressure.unwrap();
            // From 95 % on the garbage collector may evict some (gc_worker_can_early_drop).
            let evicted = entries - pressure.entries;
            assert!(evicted < 2000 && (percent == 95 || evicted == 0), "{pressure:?}");
            assert_eq!(pressure.limit, Some(limit));
            let shown = pressure.evictable.unwrap();
            assert!(shown.abs_diff(pressure.entries.into()) < 2000, "{pressure:?}");
            let near_full = found.finding(FindingId::TableNearFull).unwrap();
            assert_eq!(near_full.level, level, "{near_full}");
            assert!(near_full.says.contains(&format!("({percent} %)")), "{near_full}");
            assert!(found.finding(FindingId::FullAndAssured).is_none());
        }
    });
}

#[test]
fn a_full_table_loses_what_the_counters_say_and_the_dump_predicts() {
    in_netns(|| {
        const PACKETS: u16 = 2000;
        let ct = Conntrack::open().unwrap();
        let limit = ct.limit().unwrap();
        assert_eq!(ct.limits().unwrap().get(Setting::Max), Some(limit));
        let wire = Wire::new();
        let sent = u64::from(PACKETS);
        assert_eq!(wire.send(PACKETS, 20_000), sent, "nothing is lost before");
        // Parts of a full table that are not ASSURED, in percent.
        for (case, percent) in (1..).zip([100, 40, 10, 1, 0]) {
            ct.flush_all().unwrap();
            fill_up(limit, u32::try_from(u64::from(limit) * percent / 100).unwrap());
            let before = diagnose(&ct);
            let predicted = before.pressure.unwrap().loss_when_full().unwrap();
            let critical = before.finding(FindingId::FullAndAssured).is_some();
            assert_eq!(critical, percent <= 10, "{percent} %: {:?}", before.findings);
            let first_port = 20_000 + PACKETS * case;
            let (arrived, losses, evicted) = losses_of(&ct, || wire.send(PACKETS, first_port));
            let lost = sent - arrived;
            assert_eq!(losses.full, lost, "{percent} %");
            assert_eq!((losses.clash, losses.chain), (0, 0));
            let measured = lost as f64 / f64::from(PACKETS);
            println!("{percent} % evictable: predicted {predicted:.3}, measured {measured:.3}");
            assert!(
                (measured - predicted).abs() < 0.05,
                "{percent} %: {measured}, not {predicted}"
            );
            assert!(percent != 100 || (lost == 0 && evicted >= sent));
            assert!(percent != 0 || (arrived == 0 && evicted == 0));
            let after = diagnose(&ct);
            let total = after.losses.unwrap().total();
            assert_eq!(after.finding(FindingId::PacketsDropped).is_some(), total > 0);
        }
    });
}

#[test]
fn an_interval_says_what_is_lost_now() {
    in_netns(|| {
        let ct = Conntrack::open().unwrap();
        let wire = Wire::new();
        fill_up(ct.limit().unwrap(), 0);
        let found = std::thread::scope(|scope| {
            let looking = scope.spawn(|| {
                let look = ct.diagnose().interval(Duration::from_secs(3));
                look.summary(false).run().unwrap()
            });
            std::thread::sleep(Duration::from_millis(300));
            assert_eq!(wire.send(200, 20_000), 0);
            looking.join().unwrap()
        });
        let dropped = found.finding(FindingId::PacketsDropped).unwrap();
        assert_eq!(dropped.level, Level::Critical);
        assert!(dropped.says.starts_with("200 packets lost in 3."), "{dropped}");
        assert_eq!(found.delta.unwrap().losses.full, 200);
        assert_eq!(found.level, Some(Level::Critical));
        // The log is the machine's, and can be closed to this user.
        if let Some(line) = found.table_full {
            assert!(line.text.contains("table full"), "{line:?}");
            assert!(line.ago < Duration::from_secs(60), "{line:?}");
        }
    });
}

/// The kernel does not clear `TIME_WAIT` for new connections; the first aid that is printed does.
#[test]
fn the_first_aid_against_time_wait_ends_the_loss() {
    in_netns(|| {
        let ct = Conntrack::open().unwrap();
        let limit = ct.limit().unwrap();
        let wire = Wire::new();
        let mut filler = Filler::open().unwrap();
        for n in 0..limit {
            let tcp_state = if n % 10 < 3 { TIME_WAIT } else { 3 };
            filler.create(&Entry { tcp_state, ..numbered(n, Entry::tcp) }).unwrap();
        }
        filler.flush().unwrap();
        assert_eq!(wire.send(500, 20_000), 0);
        let found = diagnose(&ct);
        let time_wait = found.finding(FindingId::TimeWait).unwrap();
        assert!(time_wait.says.starts_with("30 % of the table is TIME_WAIT"), "{time_wait}");
        let command = found.finding(FindingId::FullAndAssured).unwrap().now.clone().unwrap();
        let text = command.split('\'').nth(1).unwrap_or_else(|| panic!("{command}"));
        ct.delete_matching(&text.parse().unwrap()).run().unwrap();
        assert_eq!(wire.send(500, 21_000), 500);
        assert!(diagnose(&ct).finding(FindingId::FullAndAssured).is_none());
    });
}

#[test]
fn a_summary_equals_an_independent_count() {
    in_netns(|| {
        let ct = Conntrack::open().unwrap();
        let mut entries = Vec::new();
        for n in 0..3000u32 {
            // A few frontends and many clients, some of them busier than others.
            let v4 = |n: u32, port: u32| SocketAddr::new(Ipv4Addr::from(n).into(), port as u16);
            let client = v4(0x0a00_0000 + n % 700, 1024 + n);
            let frontend = v4(0x0a60_0000 + n % 17, 53 + n % 3);
            let backend = v4(0x0af4_0000 + n % 41, 53);
            let mut entry = match n % 4 {
                0 => {
                    let tcp_state = (n / 4 % 9 + 1) as u8;
                    Entry { tcp_state, timeout: 300, ..Entry::tcp(client, frontend, backend) }
                }
                _ => Entry { timeout: 30 - n % 20, ..Entry::udp(client, frontend, backend) },
            };
            entry.status = [0, REPLIED, ASSURED][n as usize % 3];
            entry.zone = (n % 5 == 0).into();
            entries.push(entry);
        }
        entries.push(udp("[fd00::1]:1000", "[fd00::a]:53", "[fd00:1::1]:53"));
        fill(&entries);
        let summary = ct.summary(1000).unwrap();
        let count = |of: fn(&Entry) -> bool| entries.iter().filter(|e| of(e)).count() as u64;
        let udp = |state| summary.in_state(Protocol::UDP, state);
        assert_eq!(summary.entries, entries.len() as u64);
        assert_eq!(summary.assured, count(|e| e.status == ASSURED));
        assert_eq!(summary.evictable(), count(|e| e.status != ASSURED));
        assert_eq!(summary.of_protocol(Protocol::TCP), count(|e| e.protocol == 6));
        let time_wait = summary.in_state(Protocol::TCP, "TIME_WAIT");
        assert_eq!(time_wait, count(|e| e.protocol == 6 && e.tcp_state == TIME_WAIT));
        assert_eq!(udp("unreplied"), count(|e| e.protocol == 17 && e.status == 0));
        assert_eq!(udp("replied"), count(|e| e.protocol == 17 && e.status == REPLIED));
        assert_eq!(udp("assured"), count(|e| e.protocol == 17 && e.status == ASSURED));
        let handshake = [1, 2, 9];
        let unreplied = entries
            .iter()
            .filter(|e| e.status == 0 && (e.protocol == 17 || !handshake.contains(&e.tcp_state)));
        assert_eq!(summary.unreplied.entries, unreplied.count() as u64);
        assert_eq!(summary.zones[&1], count(|e| e.zone == 1));
        assert_eq!(summary.groups.iter().map(|group| group.entries).sum::<u64>(), summary.entries);
        let dns = |e: &Entry| e.frontend.port() == 53 || e.backend.port() == 53;
        assert_eq!(
            summary.dns,
            entries.iter().filter(|e| e.protocol == 17 && dns(e)).count() as u64
        );
        // Every place, with its count.
        let places = |of: fn(&Entry) -> Place| {
            let mut counts = HashMap::new();
            entries.iter().for_each(|entry| *counts.entry(of(entry)).or_default() += 1u64);
            counts
        };
        let shown = |top: &ctnetlink::diagnose::Top| {
            assert_eq!((top.maximum_error, top.other), (0, 0));
            assert_eq!(top.different, Some(top.rows.len() as u64));
            assert!(top.rows.is_sorted_by(|a, b| a.at_least >= b.at_least));
            let row = |row: &ctnetlink::diagnose::TopRow| {
                assert_eq!(row.at_least, row.at_most);
                ((row.address, row.port, row.protocol.map_or(0, |p| p.0)), row.at_least)
            };
            top.rows.iter().map(row).collect::<HashMap<_, _>>()
        };
        assert_eq!(
            shown(&summary.frontends),
            places(|e| (e.frontend.ip(), Some(e.frontend.port()), e.protocol))
        );
        assert_eq!(
            shown(&summary.backends),
            places(|e| (e.backend.ip(), Some(e.backend.port()), e.protocol))
        );
        assert_eq!(shown(&summary.sources), places(|e| (e.client.ip(), None, 0)));
        // A short table says how many entries it leaves out.
        let short = ct.summary(3).unwrap().sources;
        let listed: u64 = short.rows.iter().map(|row| row.at_least).sum();
        assert_eq!((short.rows.len(), listed + short.other), (3, summary.entries));
    });
}

#[test]
fn churn_is_read_off_the_timeouts() {
    in_netns(|| {
        let ct = Conntrack::open().unwrap();
        let timeout = ct.limits().unwrap().get(Setting::Udp).unwrap();
        assert_eq!(timeout, 30);
        // Twenty new flows a second for thirty seconds.
        let at_age = |n: u32| Entry { status: 0, timeout: 30 - n / 20, ..numbered(n, Entry::udp) };
        fill((0..600).map(at_age).collect::<Vec<_>>().iter());
        let churn = ct.summary(10).unwrap();
        let rate = churn.churn.udp.unwrap();
        assert!((18.0..=22.5).contains(&rate), "{rate}");
        assert_eq!(churn.churn.dns, churn.churn.udp);
        let frontend = &churn.frontends.rows[0];
        assert_eq!(frontend.to_string(), "10.96.0.10:53/udp");
        assert_eq!(frontend.new_per_second, churn.churn.udp);
        // One entry with more time left than the setting gives is a stray one; with more than one in a
        // hundred the timeouts say nothing.
        let stray = |n: u32| Entry { status: 0, timeout: 500, ..numbered(9000 + n, Entry::udp) };
        fill(&[stray(0)]);
        assert!(ct.summary(10).unwrap().churn.udp.is_some());
        fill((1..10).map(stray).collect::<Vec<_>>().iter());
        assert_eq!(ct.summary(10).unwrap().churn.udp, None);
    });
}

#[test]
fn settings_are_read_and_changed_in_the_handles_namespace() {
    in_netns(|| {
        let other = Namespace::new();
        let ct = Conntrack::open_in(other.file()).unwrap();
        let here = Conntrack::open().unwrap();
        ct.set_limit(Setting::TcpTimeWait, 77).unwrap();
        assert_eq!(ct.limits().unwrap().get(Setting::TcpTimeWait), Some(77));
        assert_eq!(here.limits().unwrap().get(Setting::TcpTimeWait), Some(120));
        for setting in [Setting::Accounting, Setting::Timestamps, Setting::Events] {
            here.set_limit(setting, 1).unwrap();
            assert_eq!(here.limits().unwrap().get(setting), Some(1));
        }
        // Every known default is the kernel's.
        let limits = Conntrack::open_in(Namespace::new().file()).unwrap().limits().unwrap();
        let mut known = 0;
        for (setting, value) in limits.iter() {
            known += 1;
            assert!(setting.default_value().is_none_or(|default| default == value), "{setting}");
        }
        assert!(known >= 30, "{known}");
        // The limit is the host's, and no value is -1.
        let error = here.set_limit(Setting::Max, 1_000_000).unwrap_err();
        assert!(error.is_permission_denied(), "{error}");
        let text = error.to_string();
        let file = "1000000 in /proc/sys/net/netfilter/nf_conntrack_max";
        for part in [file, "EACCES", "whole machine"] {
            assert!(text.contains(part), "{text}");
        }
        for value in [u32::MAX, 1 << 31, 8_589_935 * 200] {
            let error = here.set_limit(Setting::Udp, value).unwrap_err();
            assert_eq!(error.raw_os_error(), Some(libc::EINVAL), "{error}");
            assert!(error.to_string().contains("out of range"), "{error}");
        }
        assert_eq!(here.limits().unwrap().get(Setting::Udp), Some(30));
    });
}

#[test]
fn one_of_everything_is_a_finding() {
    in_netns(|| {
        let ct = Conntrack::open().unwrap();
        // 12,000 entries of one frontend and one source: DNS without an answer.
        let unanswered = |n: u32| {
            let client = SocketAddr::new(at("10.0.0.1:1").ip(), 1024 + n as u16);
            let entry = Entry::udp(client, at("10.96.0.10:53"), at("10.244.0.1:53"));
            Entry { status: 0, timeout: 30, ..entry }
        };
        fill((0..12_000).map(unanswered).collect::<Vec<_>>().iter());
        let found = diagnose(&ct);
        let ids: Vec<_> = found.findings.iter().map(|finding| finding.id.name()).collect();
        let warnings = ["dns-share", "unreplied", "one-frontend", "one-source", "one-backend"];
        assert_eq!(ids[..5], warnings);
        assert_eq!(ids[5..], ["established-5-days", "not-your-limit"]);
        assert_eq!(found.level, Some(Level::Warning));
        ct.flush_all().unwrap();
        let waiting = |n: u32| {
            let client = SocketAddr::new(Ipv4Addr::from(0x0a00_0000 + n).into(), 1024);
            let tcp_state = if n.is_multiple_of(2) { 1 } else { 5 };
            let status = if n.is_multiple_of(2) { 0 } else { ASSURED };
            Entry {
                status,
                tcp_state,
                ..Entry::tcp(client, at("10.96.0.11:80"), at("10.244.0.2:80"))
            }
        };
        fill((0..20_000).map(waiting).collect::<Vec<_>>().iter());
        ct.set_limit(Setting::TcpCloseWait, 3600).unwrap();
        let found = diagnose(&ct);
        for id in [FindingId::SynFlood, FindingId::CloseWait1Hour, FindingId::OneFrontend] {
            let finding =
                found.finding(id).unwrap_or_else(|| panic!("{id} in {:?}", found.findings));
            assert!(!finding.says.is_empty() && !finding.remedy.is_empty());
            assert!(!finding.evidence.is_empty());
        }
        assert!(found.finding(FindingId::OneSource).is_none());
        let says = &found.finding(FindingId::SynFlood).unwrap().says;
        assert!(says.contains("SYN flood"), "{says}");
    });
}

/// A burst before the look is not forgotten, and nothing is spared that is not there.
#[test]
fn earlier_losses_are_said_and_no_aid_that_does_not_help() {
    in_netns(|| {
        let ct = Conntrack::open().unwrap();
        let wire = Wire::new();
        // All established: there is no TIME_WAIT to delete.
        let mut filler = Filler::open().unwrap();
        for n in 0..ct.limit().unwrap() {
            filler.create(&numbered(n, Entry::tcp)).unwrap();
        }
        filler.flush().unwrap();
        assert_eq!(wire.send(100, 20_000), 0);
        let full = diagnose(&ct);
        let assured = full.finding(FindingId::FullAndAssured).unwrap();
        assert!(assured.now.is_none() && assured.remedy.contains("Nothing can be spared"));
        ct.flush_all().unwrap();
        let after = ct.diagnose().interval(Duration::from_millis(50)).run().unwrap();
        let dropped = after.finding(FindingId::PacketsDropped).unwrap();
        assert_eq!(dropped.level, Level::Info);
        assert!(dropped.says.starts_with("100 packets lost since the namespace exists, none now"));
        assert_eq!(after.level, Some(Level::Ok));
    });
}

#[test]
fn stale_entries_are_counted_and_named() {
    in_netns(|| {
        let ct = Conntrack::open().unwrap();
        fill(&[
            udp("10.0.0.1:1000", "10.96.0.10:53", "10.244.0.1:53"),
            udp("10.0.0.1:1001", "10.96.0.10:53", "10.244.9.9:53"),
        ]);
        let builder = ctnetlink::DesiredState::builder().udp(at("10.96.0.10:1").ip(), 53);
        let desired = builder.backends([at("10.244.0.1:53")]).build().unwrap();
        let mut names = ctnetlink::diagnose::Names::default();
        names.add(at("10.0.0.1:1").ip(), "shop/web-0");
        let look = ct.diagnose().interval(Duration::ZERO).desired(&desired).names(names);
        let found = look.run().unwrap();
        assert_eq!(found.stale, Some(1));
        assert_eq!(found.finding(FindingId::StaleEntries).unwrap().level, Level::Critical);
        // A second set of names leaves those of the first.
        let summary = found.summary.unwrap();
        assert_eq!(summary.sources.rows[0].to_string(), "shop/web-0");
        assert!(summary.frontends.rows[0].name.is_some(), "{:?}", summary.frontends.rows);
        // A look that is cancelled is no look, and a threshold that is never reached is refused.
        let canceller = ctnetlink::Canceller::new();
        canceller.cancel();
        assert!(ct.cancelled_by(&canceller).diagnose().run().unwrap_err().is_cancelled());
        let mut thresholds = ctnetlink::diagnose::Thresholds::default();
        thresholds.usage_critical = 90.0;
        let error = ct.diagnose().thresholds(thresholds).run().unwrap_err();
        assert!(error.to_string().contains("usage_critical"), "{error}");
    });
}

#[test]
fn what_cannot_be_seen_is_named() {
    in_netns(|| {
        fill(&[udp("10.0.0.1:1000", "10.96.0.10:53", "10.244.0.1:53")]);
        ctnetlink_testbed::netns::drop_capabilities();
        let ct = Conntrack::open().unwrap();
        let found = diagnose(&ct);
        // The count and the limit are in /proc/sys.
        assert_eq!(found.pressure.unwrap().entries, 1);
        assert_eq!(found.level, Some(Level::Ok));
        let unseen: Vec<_> = found.unseen.iter().map(|unseen| unseen.what).collect();
        assert!(unseen.contains(&"what holds the table"), "{unseen:?}");
        assert!(found.unseen.iter().any(|unseen| unseen.why.contains("CAP_NET_ADMIN")));
        assert!(found.summary.is_none() && found.delta.is_none());
        // Where the kernel has the file, anybody may read the counters.
        let in_proc = std::path::Path::new("/proc/thread-self/net/stat/nf_conntrack").exists();
        assert_eq!(found.losses.is_some(), in_proc);
        assert_eq!(unseen.contains(&"counters"), !in_proc);
        assert!(!in_proc || found.statistics.unwrap().insert == Some(1), "{:?}", found.statistics);
    });
}
