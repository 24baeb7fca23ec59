//! Dumping and filtering, against what was put in and against two oracles.

use std::time::Duration;

use ctnetlink::{
    Conntrack, DesiredState, Family, Filter, Profile, Protocol, ProtocolState, Reconciler, Status,
    TcpState,
};
use ctnetlink_testbed::fill::{Entry, fill};
use ctnetlink_testbed::netns::{in_netns, run};
use ctnetlink_testbed::oracle::{self, Seen};
use ctnetlink_tests::{at, clients, flows, tcp, udp};

fn seen(flow: &ctnetlink::Flow) -> Seen {
    Seen {
        protocol: flow.protocol().0,
        orig_src: flow.orig().source(),
        orig_dst: flow.orig().destination(),
        reply_src: flow.reply().source(),
        reply_dst: flow.reply().destination(),
        status: flow.status().bits(),
        mark: flow.mark().unwrap(),
    }
}

/// Protocols with ports in both families, zones and marks; more than one datagram of them.
fn mixed() -> Vec<Entry> {
    let mut entries = Vec::new();
    for n in 1..=200_u16 {
        for (protocol, mark) in [(6, 0), (17, 0x11), (132, 0x10), (136, 0)] {
            let v4 = udp(&format!("10.0.0.1:{n}"), "10.96.0.10:53", "10.244.1.5:5353");
            let v6 = udp(&format!("[fd00::1]:{n}"), "[fd00:96::a]:53", "[fd00:244::5]:5353");
            let status = if n % 2 == 0 { 0x8 } else { 0xe };
            entries.extend([v4, v6].map(|e| Entry { protocol, mark, status, zone: n % 3, ..e }));
        }
    }
    entries
}

#[test]
fn every_entry_is_dumped_once_and_reads_as_the_oracle_reads_it() {
    in_netns(|| {
        fill(&mixed());
        let ct = Conntrack::open().unwrap();
        let mut ours: Vec<_> = flows(&ct, None).iter().map(seen).collect();
        ours.sort_unstable();
        assert_eq!(ours.len(), 1600);
        assert_eq!(ours, oracle::table());
    });
}

#[test]
fn fields_of_one_entry() {
    in_netns(|| {
        fill(&[Entry {
            mark: 0xdead,
            zone: 7,
            timeout: 500,
            ..tcp("10.0.0.1:1001", "10.96.0.10:443", "10.244.1.5:8443")
        }]);
        let ct = Conntrack::open().unwrap();
        let flow = flows(&ct, None).remove(0);
        assert_eq!((flow.mark(), flow.zone()), (Some(0xdead), 7));
        assert_eq!(flow.status(), Status::SEEN_REPLY | Status::ASSURED | Status::CONFIRMED);
        assert!(flow.timeout().unwrap() > Duration::from_secs(490));
        assert!(flow.timeout().unwrap() <= Duration::from_secs(500));
        assert!(flow.id().is_some());
        assert!(matches!(
            flow.protocol_state(),
            Some(ProtocolState::Tcp { state: Some(TcpState::Established), .. })
        ));
    });
}

#[test]
fn icmp_in_both_families() {
    in_netns(|| {
        for arguments in ["-s 10.0.0.1 -d 10.0.0.2 -p icmp", "-s fd00::1 -d fd00::2 -p icmpv6"] {
            let fixed = "-I -t 60 --icmp-type 8 --icmp-code 0 --icmp-id 77";
            let fixed = match arguments.contains("icmpv6") {
                true => fixed.replace("--icmp-", "--icmpv6-").replace(" 8 ", " 128 "),
                false => fixed.to_owned(),
            };
            // It wants the protocol before its options.
            let (action, options) = fixed.split_at("-I -t 60".len());
            let text = format!("{action} {arguments}{options}");
            run("conntrack", &text.split(' ').collect::<Vec<_>>());
        }
        let ct = Conntrack::open().unwrap();
        let mut icmp: Vec<_> = flows(&ct, None)
            .iter()
            .map(|flow| {
                let (orig, reply) = (flow.orig().icmp().unwrap(), flow.reply().icmp().unwrap());
                (flow.protocol(), orig.kind, orig.code, orig.id, reply.kind, reply.id)
            })
            .collect();
        icmp.sort_unstable();
        assert_eq!(
            icmp,
            [(Protocol::ICMP, 8, 0, 77, 0, 77), (Protocol::ICMPV6, 128, 0, 77, 129, 77)]
        );
    });
}

/// Each filter against the same criterion applied by hand to what the oracle sees.
#[test]
fn filters_select_what_they_say() {
    type Naive = fn(&Seen) -> bool;
    in_netns(|| {
        let mut entries = mixed();
        for e in &mut entries {
            e.zone = 0;
        }
        // Two destinations in each family, or an inverted comparison could pass by luck.
        for (n, e) in entries.iter_mut().enumerate().filter(|(n, _)| n % 5 == 0) {
            e.frontend =
                if e.client.is_ipv4() { at("10.96.0.11:53") } else { at("[fd00:96::b]:53") };
            e.frontend.set_port(if n % 2 == 0 { 53 } else { 54 });
        }
        fill(&entries);
        let ip = |text: &str| text.parse().unwrap();
        let cases: Vec<(Filter, Naive)> = vec![
            (Filter::family(Family::Ipv6), |s| s.orig_src.is_ipv6()),
            (Filter::protocol(Protocol::UDP), |s| s.protocol == 17),
            (Filter::protocol(Protocol::UDP) & Filter::orig_dst_port(53), |s| {
                s.protocol == 17 && s.orig_dst.port() == 53
            }),
            (Filter::protocol(Protocol::SCTP) & Filter::orig_dst_port(54), |s| {
                s.protocol == 132 && s.orig_dst.port() == 54
            }),
            (Filter::orig_dst(ip("10.96.0.11")), |s| s.orig_dst.ip().to_string() == "10.96.0.11"),
            (Filter::orig_dst(ip("fd00:96::b")), |s| s.orig_dst.ip().to_string() == "fd00:96::b"),
            (!Filter::orig_dst(ip("fd00:96::b")), |s| s.orig_dst.ip().to_string() != "fd00:96::b"),
            (Filter::orig_src(ip("10.0.0.1")) & Filter::orig_src_port(7), |s| {
                s.orig_src == at("10.0.0.1:7")
            }),
            (Filter::protocol(Protocol::TCP) & Filter::orig_src_port(7), |s| {
                s.protocol == 6 && s.orig_src.port() == 7
            }),
            (Filter::reply_src(ip("10.244.1.5")) & Filter::reply_dst_port(9), |s| {
                s.reply_src.is_ipv4() && s.reply_dst.port() == 9
            }),
            (Filter::mark_masked(0x10, 0x10), |s| s.mark & 0x10 != 0),
            (Filter::mark(0x11) | Filter::mark(0x10), |s| s.mark != 0),
            (Filter::status_unset(Status::SEEN_REPLY), |s| s.status & 2 == 0),
            (Filter::status_set(Status::ASSURED) & Filter::family(Family::Ipv4), |s| {
                s.status & 4 != 0 && s.orig_src.is_ipv4()
            }),
            (Filter::family(Family::Ipv6) & Filter::orig_dst(ip("10.96.0.11")), |_| false),
        ];
        let ct = Conntrack::open().unwrap();
        let table = oracle::table();
        for (filter, naive) in cases {
            let mut ours: Vec<_> = flows(&ct, Some(&filter)).iter().map(seen).collect();
            ours.sort_unstable();
            let expected: Vec<_> = table.iter().filter(|s| naive(s)).copied().collect();
            assert_eq!(ours, expected, "{filter}");
            assert_eq!(ct.dump(&filter).unwrap().count().unwrap(), expected.len() as u64);
        }
    });
}

#[test]
fn zones_select_any_direction() {
    in_netns(|| {
        let entries = [0, 7, 9].map(|zone| Entry {
            zone,
            ..udp(&format!("10.0.0.1:{}", zone + 1), "10.0.0.2:53", "10.0.0.3:53")
        });
        fill(&entries);
        let add = "-I -p udp -t 60 -s 10.0.0.1 -d 10.0.0.2 --dport 53 --sport";
        let directions = ["100 --orig-zone 7", "101 --reply-zone 7"];
        for text in directions.map(|direction| format!("{add} {direction}")) {
            run("conntrack", &text.split(' ').collect::<Vec<_>>());
        }
        let ct = Conntrack::open().unwrap();
        assert_eq!(clients(&ct, Some(&Filter::zone(0))), ["10.0.0.1:1"]);
        assert_eq!(
            clients(&ct, Some(&Filter::zone(7))),
            ["10.0.0.1:100", "10.0.0.1:101", "10.0.0.1:8"]
        );
        let by_port = |port| flows(&ct, Some(&Filter::orig_src_port(port))).remove(0);
        assert_eq!((by_port(100).orig().zone(), by_port(100).reply().zone()), (Some(7), None));
        assert_eq!((by_port(101).orig().zone(), by_port(101).reply().zone()), (None, Some(7)));
        assert_eq!((by_port(8).orig().zone(), by_port(8).zone()), (None, 7));
    });
}

#[test]
fn the_kernel_receives_what_is_pushed_down() {
    in_netns(|| {
        fill(&mixed());
        let ct = Conntrack::open().unwrap();
        let mut all = ct.dump(None).unwrap();
        while all.next().unwrap().is_some() {}
        assert_eq!((all.received(), all.pushdown()), (1600, ""));

        let filter = Filter::family(Family::Ipv4)
            & Filter::protocol(Protocol::UDP)
            & Filter::orig_src_port(7);
        let mut one = ct.dump(&filter).unwrap();
        let mut matched = 0;
        while one.next().unwrap().is_some() {
            matched += 1;
        }
        assert_eq!((one.received(), matched), (1, 1));
        assert_eq!(one.pushdown(), "ip and udp and orig src port 7");
    });
}

#[test]
fn an_invalid_filter_is_refused_before_anything_is_sent() {
    in_netns(|| {
        let ct = Conntrack::open().unwrap();
        let error = ct.dump(&Filter::status_set(Status::empty())).unwrap_err();
        assert!(error.to_string().contains("empty mask compares no bits"), "{error}");
    });
}

#[test]
fn an_empty_table() {
    in_netns(|| {
        let ct = Conntrack::open().unwrap();
        assert_eq!(ct.dump(None).unwrap().count().unwrap(), 0);
        assert_eq!(ct.dump(&Filter::protocol(Protocol::UDP)).unwrap().count().unwrap(), 0);
    });
}

/// The real thing: the hash table is resized in the middle of a dump, which can hide entries. It
/// writes a sysctl of the whole machine, so it runs on one of its own only.
#[test]
#[ignore = "writes nf_conntrack_buckets: run by `make kernels` in a virtual machine"]
fn a_resize_during_a_dump_is_noticed() {
    let buckets = "/proc/sys/net/netfilter/nf_conntrack_buckets";
    let entries: Vec<_> = (1..=20_000_u16)
        .map(|port| udp(&format!("10.0.0.1:{port}"), "10.96.0.10:53", "10.244.9.9:53"))
        .collect();
    fill(&entries);
    let ct = Conntrack::open().unwrap();
    let before = std::fs::read_to_string(buckets).unwrap();
    let other = (before.trim().parse::<u64>().unwrap() * 2).to_string();
    let mut dump = ct.dump(None).unwrap();
    dump.next().unwrap().unwrap();
    std::fs::write(buckets, &other).unwrap();
    let error = loop {
        match dump.next() {
            Ok(Some(_)) => {}
            Ok(None) => panic!("a dump during a resize came to its end"),
            Err(error) => break error,
        }
    };
    assert!(error.is_incomplete(), "{error}");

    // The reconciler walks again, and nothing stale is left.
    let (mut sizes, mut once) = ([before, other].into_iter().cycle(), true);
    let mut reconciler =
        Reconciler::new(Profile::Strict).recheck(None).on_progress(move |progress| {
            if std::mem::take(&mut once) && progress.received > 0 {
                std::fs::write(buckets, sizes.next().unwrap().trim()).unwrap();
            }
        });
    let vip = "10.96.0.10".parse::<std::net::IpAddr>().unwrap();
    let desired = DesiredState::builder().udp(vip, 53).no_backends().build().unwrap();
    let report = reconciler.run(&ct, &desired).unwrap();
    assert!(report.succeeded(), "{report}");
    assert_eq!(ct.dump(None).unwrap().count().unwrap(), 0, "{report}");
}
