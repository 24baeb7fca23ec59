//! Deleting: by flow, in batches, in zones, and what is said of those that are gone.

use std::time::Duration;

use ctnetlink::{Conntrack, Filter, NewEntry, Protocol, Tuple};
use ctnetlink_testbed::fill::{Entry, fill};
use ctnetlink_testbed::netns::in_netns;
use ctnetlink_testbed::oracle;
use ctnetlink_tests::{at, clients, flows, tcp, udp};

#[test]
fn one_entry_and_then_it_is_not_found() {
    in_netns(|| {
        fill(&[
            udp("10.0.0.1:1", "10.96.0.10:53", "10.244.1.5:53"),
            udp("10.0.0.1:2", "10.96.0.10:53", "10.244.1.5:53"),
            udp("[fd00::1]:1", "[fd00:96::a]:53", "[fd00:244::5]:53"),
            tcp("10.0.0.1:1", "10.96.0.10:53", "10.244.1.5:53"),
        ]);
        let ct = Conntrack::open().unwrap();
        for (filter, left) in [
            (Filter::orig_src("10.0.0.1".parse().unwrap()) & Filter::orig_src_port(2), 3),
            (Filter::orig_src("fd00::1".parse().unwrap()), 2),
            (Filter::protocol(Protocol::TCP), 1),
        ] {
            let flow = flows(&ct, Some(&filter)).remove(0);
            ct.delete(&flow).unwrap();
            assert_eq!(ct.count().unwrap(), left);
            let error = ct.delete(&flow).unwrap_err();
            assert!(error.is_not_found(), "{error}");
            assert_eq!(error.to_string(), "delete: No such file or directory (ENOENT, errno 2)");
        }
        assert_eq!(clients(&ct, None), ["10.0.0.1:1"]);
    });
}

#[test]
fn many_entries_with_their_outcomes() {
    in_netns(|| {
        let entries: Vec<_> = (1..=1234)
            .map(|port| udp(&format!("10.0.0.1:{port}"), "10.96.0.10:53", "10.244.1.5:53"))
            .collect();
        fill(&entries);
        let ct = Conntrack::open().unwrap();
        let all = flows(&ct, None);
        // Some are gone before; their failures must not stop or shift the others.
        let some: Vec<_> = all.iter().skip(100).step_by(7).cloned().collect();
        assert_eq!(ct.delete_many(&some).unwrap().deleted, some.len() as u64);
        let done = ct.delete_many(&all).unwrap();
        assert_eq!(done.deleted, 1234 - some.len() as u64);
        assert_eq!(done.already_gone, some.len() as u64);
        assert_eq!((done.failed, done.unknown), (0, 0));
        assert_eq!(ct.count().unwrap(), 0);
        let nothing: [ctnetlink::Flow; 0] = [];
        let done = ct.delete_many(&nothing).unwrap();
        assert!((done.deleted, done.already_gone) == (0, 0) && done.failed == 0);
    });
}

#[test]
fn lost_answers_are_asked_for_again() {
    in_netns(|| {
        let entries: Vec<_> = (1..=450)
            .map(|port| udp(&format!("10.0.0.1:{port}"), "10.96.0.10:53", "10.244.1.5:53"))
            .collect();
        fill(&entries);
        let ct = Conntrack::open().unwrap();
        let all = flows(&ct, None);
        let gone: Vec<_> = all.iter().step_by(2).cloned().collect();
        assert_eq!(ct.delete_many(&gone).unwrap().deleted, 225);
        // Room for two or three answers: the hundred failures of each datagram cannot fit.
        assert!(ct.set_receive_buffer(1).unwrap() < 5000);
        let done = ct.delete_many(&all).unwrap();
        assert_eq!(done.deleted + done.already_gone, 450, "{done:?}");
        assert!(done.already_gone >= 225, "{done:?}");
        assert_eq!((done.failed, done.unknown), (0, 0));
        assert_eq!(ct.count().unwrap(), 0);
    });
}

#[test]
fn each_entry_in_its_own_zone() {
    in_netns(|| {
        let same = udp("10.0.0.1:1", "10.96.0.10:53", "10.244.1.5:53");
        fill(&[0, 7, 9].map(|zone| Entry { zone, ..same }));
        // Zones of one direction: inside the tuple, not at the top level.
        let ct = Conntrack::open().unwrap();
        let orig = Tuple::with_ports(Protocol::UDP, at("10.0.0.1:2"), at("10.96.0.10:53"));
        let reply = orig.inverse().unwrap();
        for (orig, reply) in [(orig.in_zone(7), reply), (orig, reply.in_zone(7))] {
            ct.create(&NewEntry::new(orig, Duration::from_secs(60)).reply(reply)).unwrap();
        }
        let all = flows(&ct, None);
        assert_eq!(all.len(), 5);
        let zone7: Vec<_> = all.iter().filter(|flow| flow.zone() == 7).cloned().collect();
        assert_eq!(zone7.len(), 3);
        let done = ct.delete_many(&zone7).unwrap();
        assert_eq!((done.deleted, done.already_gone), (3, 0), "{done:?}");
        let mut left: Vec<_> = flows(&ct, None).iter().map(ctnetlink::Flow::zone).collect();
        left.sort_unstable();
        assert_eq!(left, [0, 9]);
    });
}

#[test]
fn survivors_are_exactly_what_the_oracle_expects() {
    in_netns(|| {
        let mut entries = Vec::new();
        for n in 1..=300_u16 {
            let protocol = [6, 17, 132, 136][usize::from(n % 4)];
            let v4 = udp(&format!("10.0.0.1:{n}"), "10.96.0.10:53", "10.244.1.5:53");
            let v6 = udp(&format!("[fd00::1]:{n}"), "[fd00:96::a]:53", "[fd00:244::5]:53");
            entries.extend([v4, v6].map(|e| Entry { protocol, mark: (n % 3).into(), ..e }));
        }
        fill(&entries);
        let ct = Conntrack::open().unwrap();
        let before = oracle::table();
        let filter = Filter::mark(2) & !Filter::protocol(Protocol::SCTP);
        let done = ct.delete_many(&flows(&ct, Some(&filter))).unwrap();
        let expected: Vec<_> =
            before.iter().filter(|s| !(s.mark == 2 && s.protocol != 132)).copied().collect();
        assert_eq!(done.deleted, (before.len() - expected.len()) as u64);
        assert_eq!(oracle::table(), expected);
    });
}
