//! A key names the entry that it says, and no other. The kernel's lookup takes a tuple of either
//! direction, and compares the id in deletes only.

use std::time::Duration;

use ctnetlink::{
    Batch, Change, Conntrack, Error, ExpectKey, Filter, Flow, Key, NatRange, NewEntry,
    NewExpectation, Outcome, Protocol, Tuple,
};
use ctnetlink_testbed::netns::{in_netns, sysctl};
use ctnetlink_tests::{at, flows};

const LIFE: Duration = Duration::from_secs(600);

/// A pair of peers that use the same port on both sides, as SIP, NTP and WireGuard do: the tuple
/// from us to the peer, of each family.
fn peers() -> [Tuple; 2] {
    [("10.0.0.1:5060", "10.0.0.2:5060"), ("[fd00::1]:5060", "[fd00::2]:5060")]
        .map(|(us, peer)| Tuple::with_ports(Protocol::UDP, at(us), at(peer)))
}

/// The entry that the peer has opened: our tuple is its reply tuple.
fn opened_by_peer(ct: &Conntrack, to_peer: Tuple) -> Flow {
    let from_peer = to_peer.inverse().unwrap();
    ct.create(&NewEntry::new(from_peer, LIFE).mark(1)).unwrap();
    ct.get(&Key::orig(from_peer)).unwrap()
}

fn is_another(error: &Error) -> bool {
    matches!(error, Error::AnotherEntry { .. }) && error.is_not_found()
}

#[test]
fn the_entry_of_the_peer_is_another_one() {
    in_netns(|| {
        sysctl("net/netfilter/nf_conntrack_acct", "1");
        let ct = Conntrack::open().unwrap();
        for tuple in peers() {
            let theirs = opened_by_peer(&ct, tuple);
            let ours = Key::orig(tuple);
            let change = Change::new().mark(7);
            let error = ct.get(&ours).unwrap_err();
            assert!(is_another(&error), "{error}");
            assert!(error.to_string().contains("sport=5060"), "{error}");
            for error in [
                ct.delete_key(&ours).unwrap_err(),
                ct.update(&ours, &change).unwrap_err(),
                ct.get_and_zero(&ours).unwrap_err(),
                ct.echo().delete_key(&ours).unwrap_err(),
                ct.echo().update(&ours, &change).unwrap_err(),
                ct.expectations_of(&ours).unwrap_err(),
                // The other way round, too: our tuple is its reply tuple, not its original one.
                ct.get(&Key::reply(tuple.inverse().unwrap())).unwrap_err(),
            ] {
                assert!(is_another(&error), "{error}");
            }
            // Its own names still find it.
            for key in [Key::orig(*theirs.orig()), Key::reply(tuple)] {
                assert_eq!(ct.get(&key).unwrap().id(), theirs.id());
                assert!(ct.get(&key.id(theirs.id().unwrap())).is_ok());
                let other_id = theirs.id().unwrap() ^ 1;
                assert!(is_another(&ct.get(&key.id(other_id)).unwrap_err()));
                assert!(is_another(&ct.update(&key.id(other_id), &change).unwrap_err()));
                assert!(is_another(&ct.delete_key(&key.id(other_id)).unwrap_err()));
            }
            // Creating ours finds it in the way, and does not change it.
            let new = NewEntry::new(tuple, LIFE).mark(7);
            for error in [
                ct.create(&new).unwrap_err(),
                ct.create_or_update(&new).unwrap_err(),
                ct.echo().create_or_update(&new).unwrap_err(),
            ] {
                assert_eq!(error.raw_os_error(), Some(libc::EEXIST), "{error}");
            }
            let now = ct.get(&Key::reply(tuple)).unwrap();
            assert_eq!((now.id(), now.mark()), (theirs.id(), Some(1)));
            ct.delete_key(&Key::reply(tuple)).unwrap();
        }
    });
}

#[test]
fn batches_leave_the_entry_of_the_peer_alone() {
    in_netns(|| {
        let ct = Conntrack::open().unwrap();
        for tuple in peers() {
            opened_by_peer(&ct, tuple);
            let ours = Key::orig(tuple);
            let mut batch = Batch::new();
            batch.update(&ours, &Change::new().mark(7)).unwrap();
            batch.delete_key(&ours).unwrap();
            batch.create_or_update(&NewEntry::new(tuple, LIFE).mark(7)).unwrap();
            batch.delete_key(&ours).unwrap();
            batch.update(&Key::reply(tuple), &Change::new().mark(9)).unwrap();
            let outcomes = ct.execute(&mut batch).unwrap();
            assert!(
                matches!(
                    &outcomes[..],
                    [
                        Outcome::NotFound,
                        Outcome::NotFound,
                        Outcome::Failed(exists),
                        Outcome::NotFound,
                        Outcome::Done
                    ] if exists.raw_os_error() == Some(libc::EEXIST)
                ),
                "{outcomes:?}"
            );
            assert_eq!(ct.get(&Key::reply(tuple)).unwrap().mark(), Some(9));
        }
        assert_eq!(ct.count().unwrap(), 2);
    });
}

/// The order of a batch is kept: a key is looked up when everything before it is done.
#[test]
fn keys_of_a_batch_see_what_came_before() {
    in_netns(|| {
        let ct = Conntrack::open().unwrap();
        let [tuple, _] = peers();
        let (new, key) = (NewEntry::new(tuple, LIFE), Key::orig(tuple));
        let mark = |mark| Change::new().mark(mark);
        let mut batch = Batch::new();
        batch.update(&key, &mark(1)).unwrap();
        batch.create(&new).unwrap();
        batch.update(&key, &mark(2)).unwrap();
        batch.create_or_update(&new.clone().mark(3)).unwrap();
        batch.update(&key, &mark(4)).unwrap();
        batch.delete_key(&key).unwrap();
        batch.update(&key, &mark(5)).unwrap();
        batch.create_or_update(&new.clone().mark(6)).unwrap();
        let outcomes = ct.execute(&mut batch).unwrap();
        let done: Vec<_> = outcomes.iter().map(Outcome::is_done).collect();
        assert_eq!(done, [false, true, true, true, true, true, false, true], "{outcomes:?}");
        assert!(outcomes[0].is_not_found() && outcomes[6].is_not_found(), "{outcomes:?}");
        assert_eq!(ct.get(&key).unwrap().mark(), Some(6));

        // More keys than fit into one datagram of lookups, in one row.
        let port = |port: u16| {
            Tuple::with_ports(Protocol::UDP, at(&format!("10.1.0.1:{port}")), at("10.1.0.2:53"))
        };
        (1..=300).for_each(|n| batch.create(&NewEntry::new(port(n), LIFE)).unwrap());
        (1..=600).for_each(|n| batch.update(&Key::orig(port(n)), &mark(n.into())).unwrap());
        let outcomes = ct.execute(&mut batch).unwrap();
        assert!(outcomes[..600].iter().all(Outcome::is_done));
        assert!(outcomes[600..].iter().all(Outcome::is_not_found));
        let right = |flow: &&Flow| flow.mark() == flow.orig().src_port().map(u32::from);
        assert_eq!(flows(&ct, None).iter().filter(right).count(), 300);
    });
}

/// A zone of one direction: the other direction is in the default zone.
#[test]
fn a_zone_of_one_direction_belongs_to_that_direction() {
    in_netns(|| {
        let ct = Conntrack::open().unwrap();
        let [tuple, _] = peers();
        let reply = tuple.inverse().unwrap();
        ct.create(&NewEntry::new(tuple.in_zone(7), LIFE)).unwrap();
        for key in [Key::orig(tuple.in_zone(7)), Key::orig(tuple).zone(7), Key::reply(reply)] {
            assert!(ct.get(&key).is_ok(), "{key:?}");
        }
        for key in [Key::orig(tuple), Key::reply(reply).zone(7), Key::orig(reply)] {
            assert!(ct.get(&key).unwrap_err().is_not_found(), "{key:?}");
        }
        ct.update(&Key::orig(tuple).zone(7), &Change::new().mark(3)).unwrap();
        assert_eq!(ct.get(&Key::reply(reply)).unwrap().mark(), Some(3));
        ct.delete_key(&Key::orig(tuple).zone(7)).unwrap();
        assert_eq!(ct.count().unwrap(), 0);
    });
}

#[test]
fn a_master_is_named_by_its_original_tuple() {
    in_netns(|| {
        let ct = Conntrack::open().unwrap();
        for tuple in peers() {
            let theirs = opened_by_peer(&ct, tuple);
            let child = |port: u16| {
                let mut client = tuple.source();
                client.set_port(port);
                NewEntry::new(Tuple::with_ports(Protocol::UDP, client, tuple.destination()), LIFE)
            };
            let error = ct.create(&child(9).master(tuple)).unwrap_err();
            assert!(is_another(&error), "{error}");
            let mut batch = Batch::new();
            batch.create(&child(9).master(tuple)).unwrap();
            batch.create(&child(9).master(*theirs.orig())).unwrap();
            let outcomes = ct.execute(&mut batch).unwrap();
            assert!(outcomes[0].is_not_found() && outcomes[1].is_done(), "{outcomes:?}");
            let error = ct.create_or_update(&child(9).master(tuple)).unwrap_err();
            assert!(is_another(&error), "{error}");
        }
    });
}

#[test]
fn create_or_update_does_not_drop_what_only_a_creation_can_set() {
    in_netns(|| {
        let ct = Conntrack::open().unwrap();
        let [tuple, _] = peers();
        let new = NewEntry::new(tuple, LIFE).dst_nat(NatRange::to(at("10.0.0.9:5060")));
        ct.create_or_update(&new).unwrap();
        let error = ct.create_or_update(&new).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EOPNOTSUPP), "{error}");
    });
}

/// The kernel compares an expectation under its own mask: 8.8.8.8:7777 finds the one that expects
/// any source with that port.
#[test]
fn an_expectation_is_named_by_its_own_tuple() {
    in_netns(|| {
        let ct = Conntrack::open().unwrap();
        let tcp = |src: &str, dst: &str| Tuple::with_ports(Protocol::TCP, at(src), at(dst));
        let master = tcp("10.0.0.1:1000", "10.0.0.2:21");
        let expected = tcp("10.0.0.2:0", "10.0.0.1:5000");
        let mask = tcp("0.0.0.0:0", "255.255.255.255:65535");
        ct.create(&NewEntry::new(master, LIFE).helper("ftp")).unwrap();
        ct.create_expectation(&NewExpectation::new(master, expected, mask)).unwrap();
        // The mask clears the source of the tuple that the kernel stores and shows.
        let stored = ct.expectations().unwrap().remove(0).tuple;
        let other = tcp("8.8.8.8:7777", "10.0.0.1:5000");
        let key = ExpectKey::tuple(other);
        for error in [ct.expectation(&key).unwrap_err(), ct.delete_expectation(&key).unwrap_err()] {
            assert!(is_another(&error), "{error}");
            assert!(error.to_string().contains("dport=5000"), "{error}");
        }
        let other = NewExpectation::new(master, other, mask).timeout(Duration::from_secs(9));
        let error = ct.create_or_update_expectation(&other).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EEXIST), "{error}");
        let left = ct.expectations().unwrap().remove(0).timeout.unwrap();
        assert!(left > Duration::from_secs(100), "its timeout is as it was: {left:?}");

        // By its master: not by a tuple of its own, as the kernel reads it.
        let by_master = ct.expectation(&ExpectKey::master(master)).unwrap();
        assert_eq!(by_master.tuple, stored);
        assert!(ct.expectation(&ExpectKey::master(stored)).unwrap_err().is_not_found());
        let inverse = ct.expectation(&ExpectKey::master(master.inverse().unwrap())).unwrap_err();
        assert!(is_another(&inverse), "{inverse}");
        let foreign = NewExpectation::new(master.inverse().unwrap(), expected, mask);
        assert!(is_another(&ct.create_expectation(&foreign).unwrap_err()));

        ct.delete_expectation(&ExpectKey::tuple(stored)).unwrap();
        assert!(ct.expectations().unwrap().is_empty());
    });
}

/// A part of a second is not "at once".
#[test]
fn a_timeout_below_a_second_does_not_expire_the_entry() {
    in_netns(|| {
        let ct = Conntrack::open().unwrap();
        let [tuple, _] = peers();
        ct.create(&NewEntry::new(tuple, Duration::from_millis(999))).unwrap();
        assert!(ct.get(&Key::orig(tuple)).is_ok());
        ct.update(&Key::orig(tuple), &Change::new().timeout(Duration::from_millis(1500))).unwrap();
        assert!(ct.get(&Key::orig(tuple)).is_ok());
        assert_eq!(ct.dump(&Filter::timeout(..=2)).unwrap().count().unwrap(), 1);
    });
}

/// The kernel would translate to an address that is in no range.
#[test]
fn a_range_with_its_ends_reversed_is_refused() {
    in_netns(|| {
        let ct = Conntrack::open().unwrap();
        let [tuple, _] = peers();
        let ip = |text: &str| text.parse().unwrap();
        for range in [
            NatRange::addresses(ip("10.0.0.20"), ip("10.0.0.10")),
            NatRange::address(ip("10.0.0.20")).ports(200, 100),
        ] {
            let new = NewEntry::new(tuple, LIFE).dst_nat(range);
            for error in [ct.create(&new).unwrap_err(), ct.create_or_update(&new).unwrap_err()] {
                assert!(error.to_string().contains("give the lower end first"), "{error}");
            }
            assert!(Batch::new().create(&new).is_err());
        }
        assert_eq!(ct.count().unwrap(), 0);
    });
}

/// An entry whose zone is that of its reply direction, and one of the default zone whose original
/// tuple is the same as that reply tuple: the kernel's lookup begins with the latter.
#[test]
fn a_zone_of_the_reply_direction_is_not_the_default_one() {
    in_netns(|| {
        sysctl("net/netfilter/nf_conntrack_acct", "1");
        let ct = Conntrack::open().unwrap();
        let [tuple, _] = peers();
        let reply = tuple.inverse().unwrap();
        let ours = NewEntry::new(tuple, LIFE).reply(reply.in_zone(5)).mark(1);
        ct.create(&ours).unwrap();
        let theirs = NewEntry::new(reply, LIFE).zone(0).mark(2);
        let other = Key::orig(reply);
        // In the default zone their reply tuple is our original one, so it is made unlike.
        let elsewhere = Tuple::with_ports(Protocol::UDP, at("10.0.0.9:9"), at("10.0.0.2:5060"));
        ct.create(&theirs.reply(elsewhere)).unwrap();
        for key in [Key::orig(tuple), Key::reply(reply.in_zone(5)), Key::reply(reply).zone(5)] {
            assert_eq!(ct.get(&key).unwrap().mark(), Some(1), "{key:?}");
        }
        ct.update(&Key::orig(tuple), &Change::new().mark(3)).unwrap();
        ct.get_and_zero(&Key::orig(tuple)).unwrap();
        let zeroed = ct.zero(&Filter::mark(3), |flow| assert_eq!(flow.mark(), Some(3)));
        assert_eq!(zeroed.unwrap(), 1);
        assert_eq!(ct.get(&other).unwrap().mark(), Some(2), "it is as it was");
        let flow = ct.get(&Key::orig(tuple)).unwrap();
        assert_eq!(flow.mark(), Some(3));
        assert!(ct.expectations_of(&Key::orig(tuple)).unwrap().is_empty());
        ct.delete(&flow).unwrap();
        assert!(ct.get(&Key::orig(tuple)).unwrap_err().is_not_found());
        assert_eq!(ct.get(&other).unwrap().mark(), Some(2));
    });
}

/// The kernel looks for a master in the zone of the original direction, too.
#[test]
fn a_master_in_a_zone_of_one_direction() {
    in_netns(|| {
        let ct = Conntrack::open().unwrap();
        let tcp = |src: &str, dst: &str| Tuple::with_ports(Protocol::TCP, at(src), at(dst));
        let master = tcp("10.0.0.1:1000", "10.0.0.2:21");
        ct.create(&NewEntry::new(master.in_zone(5), LIFE)).unwrap();
        let child = tcp("10.0.0.2:20", "10.0.0.1:5000").in_zone(5);
        ct.create(&NewEntry::new(child, LIFE).master(master)).unwrap();
        let made = ct.get(&Key::orig(child)).unwrap();
        assert!(made.master().is_some_and(|found| found.source() == master.source()), "{made}");
    });
}
