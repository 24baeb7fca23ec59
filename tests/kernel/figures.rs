//! Counters and statistics: get-and-zero, the dying list, per-CPU figures.

use std::net::UdpSocket;
use std::time::Duration;

use ctnetlink::{Conntrack, Error, Filter, Key, NewEntry, Operation, Protocol, Tuple};
use ctnetlink_testbed::netns::{in_netns, run, sysctl};
use ctnetlink_tests::{at, flows};

/// Sends one datagram from each port to port 9.
fn traffic(ports: std::ops::Range<u16>) {
    for port in ports {
        let socket = UdpSocket::bind(("127.0.0.1", port)).unwrap();
        socket.send_to(b"x", "127.0.0.1:9").unwrap();
    }
}

fn loopback_with_tracking() {
    run("ip", &["link", "set", "lo", "up"]);
    sysctl("net/netfilter/nf_conntrack_acct", "1");
    let rules = "add table inet t; add chain inet t c { type filter hook output priority 0; }; \
        add rule inet t c ct state new accept";
    run("nft", &[rules]);
}

fn packets(ct: &Conntrack, filter: Option<&Filter>) -> u64 {
    flows(ct, filter).iter().map(|flow| flow.counters_orig().unwrap().packets).sum()
}

#[test]
fn counters_are_read_and_zeroed_for_one_for_some_and_for_all() {
    in_netns(|| {
        loopback_with_tracking();
        let ct = Conntrack::open().unwrap();
        // More than one datagram's worth.
        traffic(2000..2150);
        let to_9 = Filter::orig_dst_port(9);
        assert_eq!(packets(&ct, Some(&to_9)), 150);

        let first = Filter::orig_src_port(2000);
        let flow = flows(&ct, Some(&first)).remove(0);
        let read = ct.get_and_zero(&Key::orig(*flow.orig())).unwrap();
        assert_eq!(read.counters_orig().unwrap().packets, 1);
        assert_eq!(packets(&ct, Some(&to_9)), 149, "one by key");
        let absent = Tuple::with_ports(Protocol::UDP, at("10.0.0.1:1"), at("10.0.0.2:2"));
        assert!(ct.get_and_zero(&Key::orig(absent)).unwrap_err().is_not_found());

        let mut read = 0;
        let zeroed = ct.zero(&(to_9.clone() & !first), |flow| {
            read += flow.counters_orig().unwrap().packets;
            assert!(ct.count().unwrap() > 0, "the callback may use the handle");
        });
        assert_eq!((zeroed.unwrap(), read), (149, 149));
        assert_eq!(packets(&ct, Some(&to_9)), 0);
        assert_eq!(ct.zero(&Filter::zone(9), |_| panic!("nothing matches")).unwrap(), 0);

        traffic(2000..2020);
        let mut all = 0;
        let mut dump = ct.dump_and_zero().unwrap();
        while let Some(flow) = dump.next().unwrap() {
            all += flow.counters_orig().unwrap().packets;
        }
        assert!(all >= 20, "{all}");
        assert_eq!(packets(&ct, None), 0);
    });
}

#[test]
fn statistics_per_cpu() {
    in_netns(|| {
        let ct = Conntrack::open().unwrap();
        let inserted =
            || -> u32 { ct.stats_per_cpu().unwrap().iter().map(|cpu| cpu.insert.unwrap()).sum() };
        assert_eq!(inserted(), 0);
        let orig = Tuple::with_ports(Protocol::UDP, at("10.0.0.1:1"), at("10.0.0.2:2"));
        ct.create(&NewEntry::new(orig, Duration::from_secs(60))).unwrap();
        assert_eq!(inserted(), 1, "it counts what netlink inserted");
        let cpus: Vec<_> = ct.stats_per_cpu().unwrap().iter().map(|cpu| cpu.cpu).collect();
        let expected: Vec<_> = (0..u16::try_from(cpus.len()).unwrap()).collect();
        assert_eq!(cpus, expected);
        let one = ct.stats_per_cpu().unwrap()[0];
        for figure in [
            one.found,
            one.invalid,
            one.insert_failed,
            one.drop,
            one.early_drop,
            one.error,
            one.search_restart,
            one.clash_resolve,
            one.chain_toolong,
        ] {
            assert_eq!(figure, Some(0));
        }
    });
}

#[test]
fn the_dying_list_is_empty_without_a_reliable_listener() {
    in_netns(|| {
        let ct = Conntrack::open().unwrap();
        let orig = Tuple::with_ports(Protocol::UDP, at("10.0.0.1:1"), at("10.0.0.2:2"));
        ct.create(&NewEntry::new(orig, Duration::from_secs(60))).unwrap();
        ct.delete_key(&Key::orig(orig)).unwrap();
        assert_eq!(ct.dying().unwrap().count().unwrap(), 0);
    });
}

/// docs/kernel-interface.md, 7: with a reliable listener that is full, deleted entries wait on the
/// dying list.
#[test]
fn the_dying_list_holds_what_a_reliable_listener_has_not_read() {
    in_netns(|| {
        sysctl("net/netfilter/nf_conntrack_events", "1");
        let mut listener = netlink_sys::Socket::new(12).unwrap();
        listener.bind_auto().unwrap();
        listener.set_rx_buf_sz(4096_i32).unwrap();
        listener.set_broadcast_error(true).unwrap();
        listener.set_no_enobufs(true).unwrap();
        listener.add_membership(3).unwrap();
        let ct = Conntrack::open().unwrap();
        for port in 1..=100 {
            let orig =
                Tuple::with_ports(Protocol::UDP, at(&format!("10.0.0.1:{port}")), at("10.0.0.2:2"));
            ct.create(&NewEntry::new(orig, Duration::from_secs(60))).unwrap();
        }
        ct.delete_many(&flows(&ct, None)).unwrap();
        let dying: Vec<_> = ct.dying().unwrap().into_iter().map(Result::unwrap).collect();
        assert!(dying.len() > 50, "{}", dying.len());
        assert!(dying.iter().all(|flow| flow.status().contains(ctnetlink::Status::DYING)));
        assert_eq!(flows(&ct, None).len(), 0, "out of the table");
        assert_eq!(ct.count().unwrap() as usize, dying.len(), "but counted");
    });
}

/// The counters of answers that did not fit the receive buffer are zero, and what they were is gone:
/// an error, behind what did arrive.
#[test]
fn lost_answers_of_a_zero_are_an_overrun() {
    in_netns(|| {
        loopback_with_tracking();
        let ct = Conntrack::open().unwrap();
        traffic(2000..2060);
        ct.set_receive_buffer(1).unwrap();
        let mut arrived = 0;
        let error = ct.zero(&Filter::orig_dst_port(9), |_| arrived += 1).unwrap_err();
        assert!(matches!(error, Error::Overrun { operation: Operation::Zero }), "{error}");
        assert!((1..60).contains(&arrived), "{arrived} of 60");
        assert_eq!(packets(&ct, Some(&Filter::orig_dst_port(9))), 0, "all are zero");
    });
}
