//! Everything an entry can carry, on real entries; and the lines `conntrack` prints of them.

use std::time::{Duration, SystemTime};

use ctnetlink::{
    Change, Conntrack, Echo, Family, Filter, Key, Labels, NewEntry, Protocol, Status, Tuple,
};
use ctnetlink_testbed::kube::KubeTable;
use ctnetlink_testbed::netns::{in_netns, run, sysctl};
use ctnetlink_testbed::oracle;
use ctnetlink_tests::{at, flows};

const LIFE: Duration = Duration::from_secs(600);

/// Real packets over the loopback, with accounting and timestamps: counters, times, a label and a
/// helper set by rules.
#[test]
fn extensions_of_a_real_connection() {
    in_netns(|| {
        run("ip", &["link", "set", "lo", "up"]);
        sysctl("net/netfilter/nf_conntrack_acct", "1");
        sysctl("net/netfilter/nf_conntrack_timestamp", "1");
        let rules = "add table inet t; \
            add ct helper inet t h { type \"ftp\" protocol tcp; }; \
            add chain inet t c { type filter hook output priority 0; }; \
            add rule inet t c tcp dport 2121 ct helper set \"h\"; \
            add rule inet t c udp dport 99 ct label set 5";
        run("nft", &[rules]);
        let before = SystemTime::now();
        let socket = std::net::UdpSocket::bind("127.0.0.1:98").unwrap();
        socket.send_to(b"12345", "127.0.0.1:99").unwrap();
        let listener = std::net::TcpListener::bind("127.0.0.1:2121").unwrap();
        let stream = std::net::TcpStream::connect("127.0.0.1:2121").unwrap();

        let ct = Conntrack::open().unwrap();
        let udp = flows(&ct, Some(&Filter::orig_dst_port(99))).remove(0);
        let counters = udp.counters_orig().unwrap();
        assert_eq!((counters.packets, counters.bytes), (1, 28 + 5));
        assert_eq!(udp.counters_reply().unwrap().packets, 0);
        assert_eq!(udp.labels(), Some(Labels::from_iter([5])));
        let times = udp.timestamps().unwrap();
        assert!(times.start.unwrap() >= before && times.start.unwrap() <= SystemTime::now());
        assert_eq!((times.stop, udp.event_time()), (None, None));
        assert_eq!(udp.synproxy(), None, "an entry of the packet path");

        let tcp = flows(&ct, Some(&Filter::orig_dst_port(2121))).remove(0);
        assert_eq!(tcp.helper().as_deref(), Some("ftp"));
        assert!(tcp.counters_reply().unwrap().packets > 0);
        assert_eq!(tcp.protocol_state().unwrap().to_string(), "ESTABLISHED");
        drop((listener, stream));
    });
}

/// Without accounting and timestamps their attributes are absent, which is not zero.
#[test]
fn absent_and_zero_are_different() {
    in_netns(|| {
        let ct = Conntrack::open().unwrap();
        let orig = Tuple::with_ports(Protocol::UDP, at("10.0.0.1:1"), at("10.0.0.2:2"));
        ct.create(&NewEntry::new(orig, LIFE)).unwrap();
        let bare = ct.get(&Key::orig(orig)).unwrap();
        assert_eq!((bare.counters_orig(), bare.timestamps()), (None, None));
        assert_eq!((bare.labels(), bare.helper(), bare.master()), (None, None, None));
        assert_eq!((bare.seq_adj_orig(), bare.security_context()), (None, None));
        ct.delete(&bare).unwrap();
        sysctl("net/netfilter/nf_conntrack_acct", "1");
        ct.create(&NewEntry::new(orig, LIFE)).unwrap();
        let counted = ct.get(&Key::orig(orig)).unwrap();
        assert_eq!(counted.counters_orig(), Some(ctnetlink::Counters::default()));
    });
}

/// An expected entry knows its master.
#[test]
fn masters() {
    in_netns(|| {
        let ct = Conntrack::open().unwrap();
        let tcp = |client, server| Tuple::with_ports(Protocol::TCP, at(client), at(server));
        for (master, child) in [
            (tcp("10.0.0.1:1000", "10.0.0.2:21"), tcp("10.0.0.2:20", "10.0.0.1:1001")),
            (tcp("[fd00::1]:1000", "[fd00::2]:21"), tcp("[fd00::2]:20", "[fd00::1]:1001")),
        ] {
            ct.create(&NewEntry::new(master, LIFE).helper("ftp")).unwrap();
            ct.create(&NewEntry::new(child, LIFE).master(master)).unwrap();
            let flow = ct.get(&Key::orig(child)).unwrap();
            assert!(flow.status().contains(Status::EXPECTED));
            assert_eq!(flow.master(), Some(master));
        }
    });
}

/// The lines of `conntrack -L` and `conntrack -L -o extended,id`, for entries of every kind.
#[test]
fn lines_are_those_of_the_conntrack_program() {
    in_netns(|| {
        sysctl("net/netfilter/nf_conntrack_acct", "1");
        sysctl("net/netfilter/nf_conntrack_timestamp", "1");
        KubeTable { entries: 400 }.fill(|_| ()).unwrap();
        let ct = Conntrack::open().unwrap();
        let (src, dst) = (at("10.7.0.1:1"), at("10.7.0.2:2"));
        for protocol in [132, 136, 47, 89].map(Protocol) {
            let tuple = match protocol.name() {
                Some(_) => Tuple::with_ports(protocol, src, dst),
                None => Tuple::new(protocol, src.ip(), dst.ip()),
            };
            let assured = Status::SEEN_REPLY | Status::ASSURED;
            ct.create(&NewEntry::new(tuple, LIFE).mark(9).status(assured)).unwrap();
            ct.create(&NewEntry::new(tuple, LIFE).zone(7)).unwrap();
        }
        let udp = Tuple::with_ports(Protocol::UDP, src, dst);
        ct.create(&NewEntry::new(udp.in_zone(8), LIFE)).unwrap();
        ct.create(&NewEntry::new(udp, LIFE).reply(udp.inverse().unwrap().in_zone(9))).unwrap();
        let ftp = Tuple::with_ports(Protocol::TCP, src, at("10.7.0.2:21"));
        ct.create(&NewEntry::new(ftp, LIFE).helper("ftp")).unwrap();
        let icmp = ctnetlink::Icmp { kind: 8, code: 0, id: 77 };
        ct.create(&NewEntry::new(Tuple::with_icmp(src.ip(), dst.ip(), icmp), LIFE)).unwrap();

        // Time passes between the listings.
        let timeless = |line: &str| -> String {
            let mut words: Vec<_> = line.split_whitespace().collect();
            let seconds = if words[0].starts_with("ipv") { 4 } else { 2 };
            words.remove(seconds);
            words.retain(|word| !word.starts_with("delta-time="));
            words.join(" ")
        };
        let sorted = |mut lines: Vec<String>| {
            lines.sort_unstable();
            lines
        };
        let extended: Vec<_> =
            flows(&ct, None).iter().map(|flow| flow.line().extended().id().to_string()).collect();
        let theirs = oracle::conntrack_list(&["-o", "extended,id"]);
        assert_eq!(extended.len(), 412);
        assert_eq!(
            sorted(extended.iter().map(|line| timeless(line)).collect()),
            sorted(theirs.iter().map(|line| timeless(line)).collect())
        );
        // Not only the words: the spaces, too.
        let spaced =
            |line: &String| line.starts_with("ipv4     2 ") || line.starts_with("ipv6     10 ");
        assert!(extended.iter().all(spaced) && theirs.iter().all(spaced));

        let v4 = Filter::family(Family::Ipv4);
        let plain: Vec<_> = flows(&ct, Some(&v4)).iter().map(ToString::to_string).collect();
        assert_eq!(
            sorted(plain.iter().map(|line| timeless(line)).collect()),
            sorted(oracle::conntrack_list(&["-f", "ipv4"]).iter().map(|l| timeless(l)).collect())
        );
    });
}

/// docs/kernel-interface.md, 5.6: the kernel tells of entries with an event extension, and only of
/// those.
#[test]
fn echoes() {
    in_netns(|| {
        let ct = Conntrack::open().unwrap();
        let orig = Tuple::with_ports(Protocol::UDP, at("10.0.0.1:1"), at("10.0.0.2:2"));
        let (new, key) = (NewEntry::new(orig, LIFE), Key::orig(orig));
        sysctl("net/netfilter/nf_conntrack_events", "0");
        assert!(matches!(ct.echo().create(&new).unwrap(), Echo::NotReported));
        assert!(matches!(ct.echo().delete_key(&key).unwrap(), Echo::NotReported));

        sysctl("net/netfilter/nf_conntrack_events", "1");
        sysctl("net/netfilter/nf_conntrack_acct", "1");
        sysctl("net/netfilter/nf_conntrack_timestamp", "1");
        let made = ct.echo().create(&new).unwrap();
        assert_eq!(*made.flow().unwrap().orig(), orig);
        let marked = ct.echo().update(&key, &Change::new().mark(9)).unwrap();
        assert_eq!(marked.flow().unwrap().mark(), Some(9));
        let again = ct.echo().create_or_update(&new.clone().mark(10)).unwrap();
        assert_eq!(again.flow().unwrap().mark(), Some(10));
        let flow = ct.get(&key).unwrap();
        let last = ct.echo().delete(&flow).unwrap();
        let last = last.flow().unwrap();
        assert!(last.status().contains(Status::DYING));
        assert!(last.counters_orig().is_some() && last.timestamps().unwrap().stop.is_some());
        assert!(ct.echo().delete(&flow).unwrap_err().is_not_found());
        assert_eq!(ct.echo().create(&new).unwrap().flow().map(|f| *f.orig()), Some(orig));
        assert_eq!(ct.count().unwrap(), 1, "the handle is in step");
    });
}
