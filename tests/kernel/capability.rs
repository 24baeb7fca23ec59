//! The probes, against the kernel they ask.

use ctnetlink::{Conntrack, KernelCriterion as C, Trust};
use ctnetlink_testbed::fill::fill;
use ctnetlink_testbed::netns::{drop_capabilities, in_netns, keep_only_net_admin, sysctl};
use ctnetlink_testbed::oracle;
use ctnetlink_tests::udp;

#[test]
fn what_every_kernel_does_is_proved_and_what_none_does_is_not() {
    in_netns(|| {
        let found = Conntrack::open().unwrap().capabilities().unwrap();
        assert_eq!(found.untested, None);
        assert!(found.marks && found.expectations, "{found}");
        for criterion in [C::Protocol, C::Ports, C::OrigIpv4] {
            let expected = if found.dump_filter { Trust::Proved } else { Trust::Wrong };
            assert_eq!(found.dump(criterion), expected, "{criterion:?}");
        }
        assert_ne!(found.dump(C::OtherPorts), Trust::Proved, "ignored on every kernel");
        assert_ne!(
            found.dump(C::OrigIpv6),
            Trust::Proved,
            "a kernel that compares IPv6 right? say so"
        );
        assert_ne!(found.flush(C::OrigIpv6), Trust::Proved);
        for criterion in C::ALL {
            if found.flush(criterion) == Trust::Proved {
                assert!(found.flush_filter, "{criterion:?}");
                assert_eq!(found.dump(criterion), Trust::Proved, "{criterion:?}");
            }
        }
        assert_eq!(found.dump(C::Status) == Trust::Proved, found.status_filter);
        assert_eq!(found.dump(C::Zone) == Trust::Proved, found.zone_filter);
    });
}

#[test]
fn probing_touches_nothing() {
    in_netns(|| {
        fill(&[
            udp("10.0.0.1:1", "10.96.0.10:53", "10.244.1.5:53"),
            udp("[2001:db8::1]:1000", "[2001:db8::a]:53", "[2001:db8::14]:5353"),
        ]);
        let before = oracle::table();
        let ct = Conntrack::open().unwrap();
        assert_eq!(ct.capabilities().unwrap().entries.0, 2);
        assert_eq!(oracle::table(), before);
        assert_eq!(ct.count().unwrap(), 2);
    });
}

#[test]
fn sysctls_are_those_of_the_handles_namespace() {
    in_netns(|| {
        let ct = Conntrack::open().unwrap();
        let read = || {
            let found = ct.capabilities().unwrap();
            (found.accounting, found.timestamps, found.events)
        };
        assert_eq!(read(), (Some(false), Some(false), Some(2)));
        sysctl("net/netfilter/nf_conntrack_acct", "1");
        sysctl("net/netfilter/nf_conntrack_timestamp", "1");
        sysctl("net/netfilter/nf_conntrack_events", "1");
        let elsewhere = ctnetlink_testbed::netns::Namespace::new();
        assert_eq!(elsewhere.run(read), (Some(true), Some(true), Some(1)));
    });
}

#[test]
fn without_a_scratch_namespace_only_the_harmless_is_trusted() {
    in_netns(|| {
        let ct = Conntrack::open().unwrap();
        let found = std::thread::scope(|scope| {
            let weak = scope.spawn(|| {
                keep_only_net_admin();
                ct.capabilities().unwrap()
            });
            weak.join().unwrap()
        });
        assert!(found.untested.as_ref().unwrap().contains("unshare"), "{:?}", found.untested);
        for criterion in C::ALL {
            let harmless = matches!(criterion, C::Protocol | C::Ports | C::OrigIpv4);
            assert_eq!(found.dump(criterion) == Trust::Proved, harmless, "{criterion:?}");
            assert_eq!(found.flush(criterion), Trust::Untested);
        }
    });
}

#[test]
fn without_privilege_it_is_an_error() {
    in_netns(|| {
        let ct = Conntrack::open().unwrap();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                drop_capabilities();
                assert!(ct.capabilities().unwrap_err().is_permission_denied());
            });
        });
    });
}
