//! Timeout policies, fact by fact of docs/kernel-interface.md, 2.3.

use std::time::Duration;

use ctnetlink::{Conntrack, Error, Family, Protocol, TimeoutPolicy, Timeouts};
use ctnetlink_testbed::netns::in_netns;

fn errno<T>(result: Result<T, Error>) -> i32 {
    match result {
        Ok(_) => 0,
        Err(error) => error.raw_os_error().unwrap_or(-1),
    }
}

fn udp(replied: u64) -> Timeouts {
    Timeouts::of(Protocol::UDP).set("REPLIED", Duration::from_secs(replied)).unwrap()
}

#[test]
fn life_of_a_policy() {
    in_netns(|| {
        let ct = Conntrack::open().unwrap();
        assert_eq!(ct.timeout_policies().unwrap(), []);
        for family in Family::ALL {
            let name = format!("dns-{family}");
            let policy = TimeoutPolicy::new(&name, family, udp(77));
            ct.create_timeout_policy(&policy).unwrap();
            assert_eq!(errno(ct.create_timeout_policy(&policy)), libc::EEXIST);
            let read = ct.timeout_policy(&name).unwrap();
            assert_eq!(
                (read.family, read.timeouts.protocol(), read.users),
                (Some(family), Protocol::UDP, Some(1))
            );
            let state = |policy: &TimeoutPolicy, state| policy.timeouts.get(state);
            assert_eq!(state(&read, "REPLIED"), Some(Duration::from_secs(77)));
            assert!(state(&read, "UNREPLIED").is_some(), "what is not said has its default");

            ct.replace_timeout_policy(&TimeoutPolicy { timeouts: udp(88), ..policy.clone() })
                .unwrap();
            let read = ct.timeout_policy(&name).unwrap();
            assert_eq!(state(&read, "REPLIED"), Some(Duration::from_secs(88)));
            let other = TimeoutPolicy { timeouts: Timeouts::of(Protocol::TCP), ..policy };
            assert_eq!(errno(ct.replace_timeout_policy(&other)), libc::EINVAL);
        }
        assert_eq!(ct.timeout_policies().unwrap().len(), 2);
        ct.delete_timeout_policy("dns-ipv4").unwrap();
        assert_eq!(errno(ct.delete_timeout_policy("dns-ipv4")), libc::ENOENT);
        assert_eq!(errno(ct.timeout_policy("dns-ipv4")), libc::ENOENT);
        assert!(matches!(ct.delete_timeout_policy(""), Err(Error::Invalid(_))));
        ct.flush_timeout_policies().unwrap();
        assert_eq!(ct.timeout_policies().unwrap(), []);

        let nobodys =
            TimeoutPolicy { family: None, ..TimeoutPolicy::new("x", Family::Ipv4, udp(1)) };
        assert!(matches!(ct.create_timeout_policy(&nobodys), Err(Error::Invalid(_))));

        let long = "n".repeat(32);
        let policy = TimeoutPolicy::new(long, Family::Ipv4, udp(1));
        assert_eq!(errno(ct.create_timeout_policy(&policy)), libc::EINVAL);
    });
}

#[test]
fn every_protocol_has_its_states() {
    in_netns(|| {
        let ct = Conntrack::open().unwrap();
        for (protocol, states) in [
            (Protocol::TCP, 11),
            (Protocol::UDP, 2),
            (Protocol::UDPLITE, 2),
            (Protocol::GRE, 2),
            (Protocol::SCTP, 8),
            (Protocol::ICMP, 1),
            (Protocol::ICMPV6, 1),
            (Protocol(255), 1),
        ] {
            let defaults = ct.default_timeouts(Family::Ipv4, protocol).unwrap();
            assert_eq!(defaults.iter().count(), states, "{protocol}");
        }
    });
}

#[test]
fn defaults_are_the_sysctls() {
    in_netns(|| {
        let ct = Conntrack::open().unwrap();
        let sysctl = "/proc/sys/net/netfilter/nf_conntrack_udp_timeout_stream";
        ct.set_default_timeouts(Family::Ipv4, &udp(123)).unwrap();
        assert_eq!(std::fs::read_to_string(sysctl).unwrap().trim(), "123");
        let read = ct.default_timeouts(Family::Ipv4, Protocol::UDP).unwrap();
        assert_eq!(read.get("REPLIED"), Some(Duration::from_secs(123)));
        let unknown = ct.default_timeouts(Family::Ipv4, Protocol(77));
        assert_eq!(errno(unknown), libc::EOPNOTSUPP);
        let unknown = ct.set_default_timeouts(Family::Ipv4, &Timeouts::of(Protocol(77)));
        assert_eq!(errno(unknown), libc::EOPNOTSUPP);
        let policy = TimeoutPolicy::new("x", Family::Ipv4, Timeouts::of(Protocol(77)));
        assert_eq!(errno(ct.create_timeout_policy(&policy)), libc::EOPNOTSUPP);
    });
}
