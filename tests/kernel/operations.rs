//! Get, create, update, delete: every rule of the kernel, one after the other.

use std::time::Duration;

use ctnetlink::{
    Change, Conntrack, Error, Family, Flow, Icmp, Key, Labels, NatRange, NewEntry, Protocol,
    ProtocolState, SctpState, SeqAdj, Status, SynProxy, TcpState, Tuple,
};
use ctnetlink_testbed::netns::{in_netns, run};
use ctnetlink_tests::{at, flows};

const LIFE: Duration = Duration::from_secs(300);

fn udp(client: &str, vip: &str) -> Tuple {
    Tuple::with_ports(Protocol::UDP, at(client), at(vip))
}

fn tuple(protocol: Protocol, client: &str, vip: &str) -> Tuple {
    Tuple::with_ports(protocol, at(client), at(vip))
}

/// The tuple of each family the rows are run with.
fn both() -> [Tuple; 2] {
    [udp("10.0.0.1:1001", "10.96.0.10:53"), udp("[fd00::1]:1001", "[fd00:96::a]:53")]
}

fn errno<T>(result: Result<T, Error>) -> i32 {
    match result {
        Ok(_) => 0,
        Err(error) => error.raw_os_error().unwrap_or(-1),
    }
}

fn with(ct: &Conntrack, tuple: Tuple) -> Flow {
    ct.create(&NewEntry::new(tuple, LIFE)).unwrap();
    ct.get(&Key::orig(tuple)).unwrap()
}

/// docs/kernel-interface.md, 2.1: GET of one entry.
#[test]
fn get_one() {
    in_netns(|| {
        let ct = Conntrack::open().unwrap();
        for orig in both() {
            assert!(ct.get(&Key::orig(orig)).unwrap_err().is_not_found());
            let flow = with(&ct, orig);
            assert_eq!(*flow.orig(), orig);
            assert_eq!(flow.use_count(), Some(2), "1 in a dump, 2 alone");
            let reply = orig.inverse().unwrap();
            assert_eq!(*ct.get(&Key::reply(reply)).unwrap().orig(), orig);
            assert!(ct.get(&Key::orig(orig).id(1)).unwrap_err().is_not_found());
            assert!(ct.get(&Key::orig(orig).zone(3)).unwrap_err().is_not_found());
            // A tuple that is not complete.
            let portless = Tuple::new(Protocol::UDP, orig.src(), orig.dst());
            assert_eq!(errno(ct.get(&Key::orig(portless))), libc::EINVAL);
        }
        let mixed = Tuple::new(Protocol(89), at("10.0.0.1:1").ip(), at("[::1]:1").ip());
        assert!(matches!(ct.get(&Key::orig(mixed)), Err(Error::Invalid(_))));
    });
}

/// docs/kernel-interface.md, 8.1: which flags create, and which update.
#[test]
fn the_decision_table() {
    in_netns(|| {
        let ct = Conntrack::open().unwrap();
        for orig in both() {
            let new = NewEntry::new(orig, LIFE).mark(1);
            let key = Key::orig(orig);
            assert_eq!(errno(ct.update(&key, &Change::new().mark(1))), libc::ENOENT);
            ct.create(&new).unwrap();
            assert_eq!(errno(ct.create(&new)), libc::EEXIST);
            ct.create_or_update(&new.clone().mark(2)).unwrap();
            assert_eq!(ct.get(&key).unwrap().mark(), Some(2));
            // An update by the reply tuple; another reply tuple is ignored.
            let reply = orig.inverse().unwrap();
            ct.update(&Key::reply(reply), &Change::new().mark(3)).unwrap();
            assert_eq!(ct.get(&key).unwrap().mark(), Some(3));
            let elsewhere = reply.inverse().unwrap();
            ct.create_or_update(&new.clone().reply(elsewhere).mark(4)).unwrap();
            assert_eq!(ct.get(&key).unwrap().mark(), Some(4));
            assert_eq!(*ct.get(&key).unwrap().reply(), reply);
            // Created where absent.
            ct.delete_key(&key).unwrap();
            ct.create_or_update(&new).unwrap();
            // Expired, but not reaped: the old one makes room.
            ct.update(&key, &Change::new().timeout(Duration::ZERO)).unwrap();
            ct.create(&new).unwrap();
        }
    });
}

/// docs/kernel-interface.md, 8.2: what creation refuses, and how it names it.
#[test]
fn creation_errors() {
    in_netns(|| {
        let ct = Conntrack::open().unwrap();
        for orig in both() {
            let new = || NewEntry::new(orig, LIFE);
            let tcp = Tuple::with_ports(Protocol::TCP, orig.destination(), orig.source());
            assert_eq!(errno(ct.create(&new().reply(tcp))), libc::EINVAL, "protocols differ");
            ct.create(&new()).unwrap();
            // Each tuple of the new one against each of the old one, crosswise too.
            let reply = orig.inverse().unwrap();
            let far = Tuple::with_ports(Protocol::UDP, orig.destination(), orig.source());
            let other = {
                let mut client = orig.source();
                client.set_port(7);
                Tuple::with_ports(Protocol::UDP, client, orig.destination())
            };
            assert_eq!(errno(ct.create(&NewEntry::new(other, LIFE).reply(reply))), libc::EEXIST);
            assert_eq!(errno(ct.create(&NewEntry::new(far, LIFE))), libc::EEXIST);
            assert_eq!(errno(ct.create(&NewEntry::new(other, LIFE).reply(orig))), libc::EEXIST);
            ct.create(&new().zone(5)).unwrap();
            for bits in [Status::EXPECTED, Status::DYING] {
                let refused = ct.create(&NewEntry::new(other, LIFE).status(bits));
                assert_eq!(errno(refused), libc::EBUSY);
            }
            for (helper, expected) in [
                ("nobody", libc::EOPNOTSUPP),
                ("ftp", libc::EOPNOTSUPP),
                ("a-name-of-17-chars", libc::EINVAL),
            ] {
                let error = ct.create(&NewEntry::new(other, LIFE).helper(helper)).unwrap_err();
                assert_eq!(error.raw_os_error(), Some(expected), "{helper}: {error}");
            }
            assert_eq!(errno(ct.create(&NewEntry::new(other, LIFE).master(other))), libc::ENOENT);
            ct.create(&NewEntry::new(other, Duration::ZERO)).unwrap();
            assert_eq!(errno(ct.get(&Key::orig(other))), libc::ENOENT, "expires at once");
            let for_ever = Duration::from_secs(u64::from(u32::MAX));
            ct.create(&NewEntry::new(other, for_ever)).unwrap();
            let left = ct.get(&Key::orig(other)).unwrap().timeout().unwrap();
            assert!(left > Duration::from_secs(1_000_000), "clamped to INT_MAX jiffies: {left:?}");
            let labelled = NewEntry::new(other, LIFE).zone(9).labels(Labels::from_iter([1]));
            ct.create(&labelled).unwrap();
            let flow = ct.get(&Key::orig(other).zone(9)).unwrap();
            assert_eq!(flow.labels(), None, "no rule uses labels, so they are ignored");
        }
    });
}

/// docs/kernel-interface.md, 8.3: entries that really translate.
#[test]
fn nat_on_creation() {
    in_netns(|| {
        let ct = Conntrack::open().unwrap();
        for (orig, backend) in both().into_iter().zip(["10.244.1.5:5353", "[fd00:244::5]:5353"]) {
            let backend = at(backend);
            let to = NatRange::to(backend);
            ct.create(&NewEntry::new(orig, LIFE).dst_nat(to)).unwrap();
            let flow = ct.get(&Key::orig(orig)).unwrap();
            assert_eq!(flow.reply().source(), backend);
            assert_eq!(flow.status().bits(), 0x1a8, "as a real one");

            let plain = Tuple::with_ports(Protocol::UDP, backend, orig.source());
            ct.create(&NewEntry::new(orig, LIFE).zone(1).reply(plain)).unwrap();
            assert_eq!(ct.get(&Key::orig(orig).zone(1)).unwrap().status().bits(), 0x8);
            ct.create(&NewEntry::new(orig, LIFE).zone(2).reply(plain).dst_nat(to)).unwrap();
            assert_eq!(ct.get(&Key::orig(orig).zone(2)).unwrap().status().bits(), 0x188);
            ct.create(&NewEntry::new(orig, LIFE).zone(3).status(Status::DST_NAT)).unwrap();
            assert_eq!(ct.get(&Key::orig(orig).zone(3)).unwrap().status().bits(), 0x8);
            ct.create(&NewEntry::new(orig, LIFE).zone(4).dst_nat(NatRange::none())).unwrap();
            assert_eq!(ct.get(&Key::orig(orig).zone(4)).unwrap().status().bits(), 0x188);

            let mut masquerade = backend;
            masquerade.set_port(0);
            let range = NatRange::address(masquerade.ip()).ports(2000, 2009);
            ct.create(&NewEntry::new(orig, LIFE).zone(5).src_nat(range)).unwrap();
            let flow = ct.get(&Key::orig(orig).zone(5)).unwrap();
            assert_eq!(flow.status().bits(), 0x198);
            assert_eq!(flow.reply().dst(), backend.ip());
            assert!((2000..2010).contains(&flow.reply().dst_port().unwrap()));
            let status = Status::SEEN_REPLY | Status::ASSURED;
            ct.create(&NewEntry::new(orig, LIFE).zone(6).dst_nat(to).status(status)).unwrap();
            assert_eq!(ct.get(&Key::orig(orig).zone(6)).unwrap().status().bits(), 0x1ae);
        }
    });
}

/// docs/kernel-interface.md, 8.4: what an update may change.
#[test]
fn updates() {
    in_netns(|| {
        let ct = Conntrack::open().unwrap();
        for orig in both() {
            let key = Key::orig(orig);
            with(&ct, orig);
            let update = |change: Change| ct.update(&key, &change);
            let now = || ct.get(&key).unwrap();

            update(Change::new().mark(0xab)).unwrap();
            update(Change::new().mark_masked(0x10, 0xf0)).unwrap();
            assert_eq!(now().mark(), Some(0x1b));
            update(Change::new().mark(0)).unwrap();
            assert_eq!(now().mark(), Some(0), "a mark can be set back to zero");
            assert!(matches!(update(Change::new().mark_masked(3, 1)), Err(Error::Invalid(_))));

            update(Change::new().timeout(Duration::from_secs(77))).unwrap();
            assert!(now().timeout().unwrap() <= Duration::from_secs(77));

            update(Change::new().status(Status::SEEN_REPLY)).unwrap();
            update(Change::new().status(Status::SEEN_REPLY | Status::ASSURED)).unwrap();
            assert_eq!(now().status().bits(), 0xe);
            for clears in [Status::empty(), Status::SEEN_REPLY, Status::ASSURED] {
                assert_eq!(errno(update(Change::new().status(clears))), libc::EBUSY);
            }
            let all = Status::SEEN_REPLY | Status::ASSURED | Status::FIXED_TIMEOUT;
            update(Change::new().status(all)).unwrap();
            assert_eq!(errno(update(Change::new().timeout(LIFE))), libc::EPERM);

            let labels = Labels::from_iter([1]);
            let error = update(Change::new().labels(labels)).unwrap_err();
            assert_eq!(error.raw_os_error(), Some(libc::ENOSPC));
            assert!(error.to_string().contains("no rule of this namespace uses labels"), "{error}");
            assert_eq!(errno(update(Change::new().helper("ftp"))), libc::EOPNOTSUPP);

            let adjustment = SeqAdj { correction_pos: 5, offset_before: -1, offset_after: 2 };
            let proxy = SynProxy { isn: 1, its: 2, tsoff: 3 };
            update(Change::new().synproxy(proxy)).unwrap();
            assert_eq!(now().synproxy(), Some(proxy));
            update(Change::new().seq_adj_orig(adjustment).seq_adj_reply(adjustment)).unwrap();
            assert_eq!(
                (now().seq_adj_orig(), now().seq_adj_reply()),
                (Some(adjustment), Some(adjustment))
            );

            // What is decided at creation. Only an update can be told so: create says EEXIST.
            let nat = NatRange::to(orig.source());
            let refused = ct.create_or_update(&NewEntry::new(orig, LIFE).dst_nat(nat));
            assert_eq!(errno(refused), libc::EOPNOTSUPP);
            let refused = ct.create_or_update(&NewEntry::new(orig, LIFE).master(orig));
            assert_eq!(errno(refused), libc::EOPNOTSUPP);
        }
    });
}

/// docs/kernel-interface.md, 8.4: labels, where a rule uses them; new = (old & !mask) ^ value.
#[test]
fn labels_where_a_rule_uses_them() {
    in_netns(|| {
        run("nft", &["add table inet t; add chain inet t c; add rule inet t c ct label 1 accept"]);
        let ct = Conntrack::open().unwrap();
        let labels = |bits: &[u8]| Labels::from_iter(bits.iter().copied());
        for orig in both() {
            let key = Key::orig(orig);
            ct.create(&NewEntry::new(orig, LIFE).labels(labels(&[1, 127]))).unwrap();
            let now = || ct.get(&key).unwrap().labels();
            assert_eq!(now(), Some(labels(&[1, 127])));
            ct.update(&key, &Change::new().labels_masked(labels(&[2]), labels(&[1, 2]))).unwrap();
            assert_eq!(now(), Some(labels(&[2, 127])));
            ct.update(&key, &Change::new().labels(labels(&[64]))).unwrap();
            assert_eq!(now(), Some(labels(&[64])));
            let outside = Change::new().labels_masked(labels(&[3]), labels(&[2]));
            assert!(matches!(ct.update(&key, &outside), Err(Error::Invalid(_))));
            ct.update(&key, &Change::new().labels(labels(&[]))).unwrap();
            assert_eq!(now(), None, "no bit set, nothing sent");
        }
    });
}

/// docs/kernel-interface.md, 8.4 and 3.4: helpers of live entries, and protocol state.
#[test]
fn helpers_and_protocol_state() {
    in_netns(|| {
        let ct = Conntrack::open().unwrap();
        for (client, vip) in [("10.0.0.1:1001", "10.0.0.2:21"), ("[fd00::1]:1001", "[fd00::2]:21")]
        {
            let orig = tuple(Protocol::TCP, client, vip);
            let key = Key::orig(orig);
            ct.create(&NewEntry::new(orig, LIFE).helper("ftp")).unwrap();
            let flow = ct.get(&key).unwrap();
            assert_eq!(flow.helper().as_deref(), Some("ftp"));
            assert!(flow.status().contains(Status::HELPER));
            let to = |name: &str| ct.update(&key, &Change::new().helper(name));
            to("ftp").unwrap();
            assert_eq!(errno(to("sane")), libc::EBUSY);
            assert_eq!(errno(to("nobody")), libc::EOPNOTSUPP);
            to("").unwrap();
            assert_eq!(ct.get(&key).unwrap().helper(), None);

            let state = |state, wscale, flags| ProtocolState::Tcp {
                state: Some(state),
                wscale_orig: wscale,
                wscale_reply: wscale,
                flags_orig: flags,
                flags_reply: flags,
            };
            let full = state(TcpState::Established, Some(7), Some(1));
            ct.update(&key, &Change::new().state(full)).unwrap();
            assert_eq!(ct.get(&key).unwrap().protocol_state(), Some(full));
            // Only the state: the rest stays.
            ct.update(&key, &Change::new().state(state(TcpState::CloseWait, None, None))).unwrap();
            let now = ct.get(&key).unwrap().protocol_state();
            assert_eq!(now, Some(state(TcpState::CloseWait, Some(7), Some(1))));
            let beyond = Change::new().state(state(TcpState::Other(10), None, None));
            assert!(matches!(errno(ct.update(&key, &beyond)), libc::ERANGE | libc::EINVAL));
        }
        for (client, vip) in [("10.0.0.1:1", "10.0.0.2:2"), ("[fd00::1]:1", "[fd00::2]:2")] {
            let orig = tuple(Protocol::SCTP, client, vip);
            let full = ProtocolState::Sctp {
                state: Some(SctpState::Established),
                vtag_orig: Some(0x0102_0304),
                vtag_reply: Some(5),
            };
            ct.create(&NewEntry::new(orig, LIFE).state(full)).unwrap();
            assert_eq!(ct.get(&Key::orig(orig)).unwrap().protocol_state(), Some(full));
            let partial = ProtocolState::Sctp {
                state: Some(SctpState::Closed),
                vtag_orig: None,
                vtag_reply: None,
            };
            let update = ct.update(&Key::orig(orig), &Change::new().state(partial));
            assert_eq!(errno(update), libc::EINVAL, "all three are required");
            // The state of another protocol is ignored.
            let udp = udp(client, vip);
            ct.create(&NewEntry::new(udp, LIFE).state(full)).unwrap();
            assert_eq!(ct.get(&Key::orig(udp)).unwrap().protocol_state(), None);
        }
    });
}

/// docs/kernel-interface.md, 5.1: deletes of one entry by key.
#[test]
fn deletes_by_key() {
    in_netns(|| {
        let ct = Conntrack::open().unwrap();
        for orig in both() {
            let reply = orig.inverse().unwrap();
            for key in [Key::orig(orig), Key::reply(reply)] {
                let flow = with(&ct, orig);
                let id = flow.id().unwrap();
                assert_eq!(errno(ct.delete_key(&key.id(id.wrapping_add(1)))), libc::ENOENT);
                ct.delete_key(&key.id(id)).unwrap();
                assert_eq!(errno(ct.delete_key(&key)), libc::ENOENT);
            }
            // Incomplete keys.
            with(&ct, orig);
            let portless = Tuple::new(Protocol::UDP, orig.src(), orig.dst());
            assert_eq!(errno(ct.delete_key(&Key::orig(portless))), libc::EINVAL);
            // Zones: absent and wrong ones miss.
            ct.delete_key(&Key::orig(orig)).unwrap();
            ct.create(&NewEntry::new(orig, LIFE).zone(7)).unwrap();
            assert_eq!(errno(ct.delete_key(&Key::orig(orig))), libc::ENOENT);
            assert_eq!(errno(ct.delete_key(&Key::orig(orig).zone(8))), libc::ENOENT);
            ct.delete_key(&Key::orig(orig).zone(7)).unwrap();
            // A zone of the original direction: by the original tuple it is needed, in either
            // place; by the reply tuple it is not.
            for key in [Key::orig(orig).zone(7), Key::orig(orig.in_zone(7)), Key::reply(reply)] {
                ct.create(&NewEntry::new(orig.in_zone(7), LIFE)).unwrap();
                assert_eq!(errno(ct.delete_key(&Key::orig(orig))), libc::ENOENT);
                ct.delete_key(&key).unwrap();
            }
            // A zone of the reply direction: the other way round.
            for key in [Key::orig(orig), Key::reply(reply.in_zone(7))] {
                ct.create(&NewEntry::new(orig, LIFE).reply(reply.in_zone(7))).unwrap();
                assert_eq!(errno(ct.delete_key(&Key::reply(reply))), libc::ENOENT);
                ct.delete_key(&key).unwrap();
            }
            // Expired: the lookup reaps it.
            ct.create(&NewEntry::new(orig, Duration::ZERO)).unwrap();
            assert_eq!(errno(ct.delete_key(&Key::orig(orig))), libc::ENOENT);
        }
        assert_eq!(ct.count().unwrap(), 0);
    });
}

/// docs/kernel-interface.md, 3.2: every kind of tuple, made by us, read back, and found by its key.
#[test]
fn tuples_of_all_protocols() {
    in_netns(|| {
        let ct = Conntrack::open().unwrap();
        let mut tuples = Vec::new();
        for (client, vip) in [("10.0.0.1:1001", "10.0.0.2:53"), ("[fd00::1]:1001", "[fd00::2]:53")]
        {
            for protocol in
                [Protocol::TCP, Protocol::UDP, Protocol::UDPLITE, Protocol::SCTP, Protocol::GRE]
            {
                tuples.push(tuple(protocol, client, vip));
            }
            let (src, dst) = (at(client).ip(), at(vip).ip());
            tuples.push(Tuple::new(Protocol(89), src, dst));
            let kinds: &[u8] = if src.is_ipv4() { &[8, 13, 15, 17] } else { &[128, 139] };
            for kind in kinds {
                tuples.push(Tuple::with_icmp(src, dst, Icmp { kind: *kind, code: 0, id: 7 }));
            }
        }
        for orig in &tuples {
            let flow = with(&ct, *orig);
            assert_eq!((flow.orig(), *flow.reply()), (orig, orig.inverse().unwrap()));
            assert_eq!(*ct.get(&Key::reply(*flow.reply())).unwrap().orig(), *orig);
        }
        assert_eq!(flows(&ct, None).len(), tuples.len());
        // A type without an answer cannot be in a tuple.
        let src = at("10.0.0.1:1").ip();
        let unreachable = Tuple::with_icmp(src, src, Icmp { kind: 3, code: 0, id: 7 });
        assert_eq!(errno(ct.get(&Key::orig(unreachable))), libc::EINVAL);
        for tuple in tuples {
            ct.delete_key(&Key::orig(tuple)).unwrap();
        }
        assert_eq!(ct.count().unwrap(), 0);
    });
}

/// docs/kernel-interface.md, 2.1 and 4.5: a flush honours the family it was given.
#[test]
fn flush_one_family() {
    in_netns(|| {
        let ct = Conntrack::open().unwrap();
        let fill = || both().map(|orig| ct.create_or_update(&NewEntry::new(orig, LIFE)).unwrap());
        for family in Family::ALL {
            fill();
            ct.flush(family).unwrap();
            let left: Vec<_> = flows(&ct, None).iter().map(Flow::family).collect();
            assert_eq!((left.len(), left.contains(&family)), (1, false));
        }
        fill();
        ct.flush_all().unwrap();
        assert_eq!(ct.count().unwrap(), 0);
        ct.flush_all().unwrap();
    });
}
