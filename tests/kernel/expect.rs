//! Expectations, fact by fact of docs/kernel-interface.md, 2.2.

use std::time::Duration;

use ctnetlink::{
    Conntrack, Error, ExpectFlags, ExpectKey, Key, NewEntry, NewExpectation, Protocol, Tuple,
};
use ctnetlink_testbed::netns::in_netns;
use ctnetlink_tests::at;

const LIFE: Duration = Duration::from_secs(600);

fn tcp(client: &str, server: &str) -> Tuple {
    Tuple::with_ports(Protocol::TCP, at(client), at(server))
}

struct Net {
    master: Tuple,
    expected: Tuple,
    mask: Tuple,
}

fn nets() -> [Net; 2] {
    [
        Net {
            master: tcp("10.0.0.1:1000", "10.0.0.2:21"),
            expected: tcp("10.0.0.2:0", "10.0.0.1:5000"),
            mask: tcp("255.255.255.255:0", "255.255.255.255:65535"),
        },
        Net {
            master: tcp("[fd00::1]:1000", "[fd00::2]:21"),
            expected: tcp("[fd00::2]:0", "[fd00::1]:5000"),
            mask: tcp(
                "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:0",
                "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535",
            ),
        },
    ]
}

fn errno<T>(result: Result<T, Error>) -> i32 {
    match result {
        Ok(_) => 0,
        Err(error) => error.raw_os_error().unwrap_or(-1),
    }
}

#[test]
fn life_of_an_expectation() {
    in_netns(|| {
        let ct = Conntrack::open().unwrap();
        for Net { master, expected, mask } in nets() {
            let new = NewExpectation::new(master, expected, mask).timeout(Duration::from_secs(9));
            assert_eq!(errno(ct.create_expectation(&new)), libc::ENOENT, "no master");
            ct.create(&NewEntry::new(master, LIFE)).unwrap();
            assert_eq!(errno(ct.create_expectation(&new)), libc::EOPNOTSUPP, "no helper");
            assert_eq!(
                ct.expectations_of(&Key::orig(master)).unwrap(),
                [],
                "no helper: no answer, no hang"
            );
            ct.delete_key(&Key::orig(master)).unwrap();
            assert_eq!(errno(ct.expectations_of(&Key::orig(master))), libc::ENOENT);

            ct.create(&NewEntry::new(master, LIFE).helper("ftp")).unwrap();
            ct.create_expectation(&new).unwrap();
            assert_eq!(errno(ct.create_expectation(&new)), libc::EEXIST);
            let listed = ct.expectations_of(&Key::orig(master)).unwrap();
            assert_eq!(listed.len(), 1);
            let one = &listed[0];
            assert_eq!((one.master, one.tuple), (master, expected));
            assert_eq!((one.mask.dst(), one.mask.dst_port()), (mask.dst(), Some(65535)));
            assert_eq!((one.class, one.flags), (0, ExpectFlags::empty()));
            let policy = one.timeout.unwrap();
            assert!(policy > Duration::from_secs(200), "the helper's policy counts: {policy:?}");

            let key = ExpectKey::tuple(expected);
            assert_eq!(ct.expectation(&key).unwrap().id, one.id);
            assert_eq!(ct.expectation(&ExpectKey::master(master)).unwrap().id, one.id);
            assert_eq!(ct.expectation(&key.id(one.id.unwrap())).unwrap().tuple, expected);
            assert_eq!(errno(ct.expectation(&key.id(1))), libc::ENOENT);
            assert_eq!(errno(ct.delete_expectation(&key.id(1))), libc::ENOENT);
            assert!(matches!(
                ct.delete_expectation(&ExpectKey::master(master)),
                Err(Error::Invalid(_))
            ));

            ct.create_or_update_expectation(&new).unwrap();
            let updated = ct.expectation(&key).unwrap().timeout.unwrap();
            assert!(updated <= Duration::from_secs(9), "an update sets it: {updated:?}");
            ct.delete_expectation(&key).unwrap();
            assert_eq!(errno(ct.delete_expectation(&key)), libc::ENOENT);
        }
    });
}

#[test]
fn what_creation_refuses() {
    in_netns(|| {
        let ct = Conntrack::open().unwrap();
        for Net { master, expected, mask } in nets() {
            ct.create(&NewEntry::new(master, LIFE).helper("ftp")).unwrap();
            let new = || NewExpectation::new(master, expected, mask);
            let unknown = ExpectFlags::from_bits_retain(0x100);
            assert_eq!(errno(ct.create_expectation(&new().class(99))), libc::EINVAL);
            assert_eq!(errno(ct.create_expectation(&new().function("nobody"))), libc::EINVAL);
            assert_eq!(errno(ct.create_expectation(&new().flags(unknown))), libc::EINVAL);
            let full = new()
                .flags(ExpectFlags::PERMANENT)
                .nat(true, expected)
                .function("nat-follow-master");
            ct.create_expectation(&full).unwrap();
            let one = ct.expectations().unwrap().remove(0);
            assert_eq!(
                (one.flags, one.function.as_deref()),
                (ExpectFlags::PERMANENT, Some("nat-follow-master"))
            );
            let nat = one.nat.unwrap();
            assert_eq!(
                (nat.reply_direction, nat.to.source()),
                (true, expected.source()),
                "the source is what counts"
            );
            ct.flush_expectations().unwrap();
            assert_eq!(ct.expectations().unwrap(), []);
        }
    });
}

/// The same master in three zones, an expectation in one of them: the zone goes along.
#[test]
fn a_master_is_found_in_its_zone() {
    in_netns(|| {
        let ct = Conntrack::open().unwrap();
        for Net { master, expected, mask } in nets() {
            for zone in [0, 7, 9] {
                ct.create(&NewEntry::new(master, LIFE).zone(zone).helper("ftp")).unwrap();
            }
            ct.create_expectation(&NewExpectation::new(master, expected, mask).zone(7)).unwrap();
            let of = |zone| ct.expectations_of(&Key::orig(master).zone(zone)).unwrap().len();
            assert_eq!([of(0), of(7), of(9)], [0, 1, 0]);
            assert_eq!(ct.expectations_of(&Key::orig(master)).unwrap(), []);
            assert_eq!(errno(ct.expectations_of(&Key::orig(master).zone(8))), libc::ENOENT);
        }
    });
}

#[test]
fn many_at_once_by_helper_and_figures() {
    in_netns(|| {
        let ct = Conntrack::open().unwrap();
        for Net { master, expected, mask } in nets() {
            ct.create(&NewEntry::new(master, LIFE).helper("ftp")).unwrap();
            ct.create_expectation(&NewExpectation::new(master, expected, mask)).unwrap();
        }
        assert_eq!(ct.expectations().unwrap().len(), 2);
        ct.delete_expectations_of_helper("irc").unwrap();
        assert_eq!(ct.expectations().unwrap().len(), 2);
        assert!(matches!(ct.delete_expectations_of_helper(""), Err(Error::Invalid(_))));
        ct.delete_expectations_of_helper("ftp").unwrap();
        assert_eq!(ct.expectations().unwrap(), []);
        let stats = ct.expect_stats_per_cpu().unwrap();
        let sum = |f: fn(&ctnetlink::ExpectStats) -> Option<u32>| -> u32 {
            stats.iter().map(|cpu| f(cpu).unwrap()).sum()
        };
        assert_eq!((sum(|s| s.create), sum(|s| s.delete)), (2, 2));
    });
}
