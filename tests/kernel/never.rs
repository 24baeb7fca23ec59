//! What must never happen, one test for each. Two more of these live where they can be provoked:
//! `only_the_kernel_is_believed` and `no_hang` beside the socket in the library, and
//! `the_host_is_left_alone` with the example programs.

use ctnetlink::{Conntrack, DesiredState, Family, Filter, Profile, Protocol, Reconciler, Status};
use ctnetlink_testbed::fill::fill;
use ctnetlink_testbed::netns::in_netns;
use ctnetlink_testbed::oracle;
use ctnetlink_tests::{at, clients, flows, udp};

/// The criteria of which the kernel, or a client that trusts it, makes "everything": an inverted
/// IPv6 address, a port it ignores, a mark or status with an empty mask, a negation.
#[test]
fn a_delete_never_widens() {
    in_netns(|| {
        let ct = Conntrack::open().unwrap();
        let ip = |text: &str| text.parse().unwrap();
        let table = [
            udp("[fd00::1]:1", "[2001:db8::10]:53", "[fd00:244::5]:53"),
            udp("[fd00::1]:2", "[2001:db8::11]:53", "[fd00:244::5]:53"),
            udp("[fd00::1]:3", "[2001:db8::12]:54", "[fd00:244::5]:53"),
            udp("10.0.0.1:1", "10.96.0.10:53", "10.244.1.5:53"),
        ];
        let sctp = table.map(|e| ctnetlink_testbed::fill::Entry { protocol: 132, ..e });
        for (filter, expected) in [
            (Filter::orig_dst(ip("2001:db8::10")), 2),
            (Filter::orig_dst(ip("2001:db8::99")), 0),
            (Filter::protocol(Protocol::SCTP) & Filter::orig_dst_port(54), 1),
            (Filter::protocol(Protocol::SCTP) & Filter::orig_dst_port(99), 0),
            (Filter::family(Family::Ipv6) & !Filter::protocol(Protocol::UDP), 3),
            (Filter::mark_masked(1, 0xff), 0),
            (Filter::zone(99), 0),
        ] {
            fill(&table);
            fill(&sctp);
            let before = oracle::table().len();
            let chosen = flows(&ct, Some(&filter));
            assert_eq!(chosen.len(), expected, "{filter}");
            assert_eq!(ct.delete_many(&chosen).unwrap().deleted, expected as u64);
            assert_eq!(oracle::table().len(), before - expected, "{filter}");
            ct.delete_many(&flows(&ct, None)).unwrap();
        }
        for invalid in [Filter::status_set(Status::empty()), Filter::mark_masked(0, 0)] {
            assert!(ct.dump(&invalid).is_err());
            assert!(ct.dump(&!invalid).is_err());
        }
    });
}

/// The dump asks the kernel for less than everything, and still decides by itself.
#[test]
fn a_kernel_filter_is_never_a_decision() {
    in_netns(|| {
        fill(&[
            udp("[fd00::1]:1", "[2001:db8::10]:53", "[fd00:244::5]:53"),
            udp("[fd00::1]:2", "[2001:db8::20]:53", "[fd00:244::5]:53"),
        ]);
        let ct = Conntrack::open().unwrap();
        // No kernel filters by prefix.
        let filter: Filter = "udp and orig dst 2001:db8::10/124".parse().unwrap();
        let mut dump = ct.dump(&filter).unwrap();
        assert_eq!(dump.pushdown(), "ip6 and udp");
        let only = dump.next().unwrap().unwrap().orig().source();
        assert_eq!(only, at("[fd00::1]:1"));
        assert!(dump.next().unwrap().is_none());
        assert_eq!(dump.received(), 2, "the kernel sent both, one was kept");
    });
}

/// Dump, then the backend changes and the same client is back, then the delete: it must miss.
#[test]
fn no_healthy_entry_dies_in_a_race() {
    in_netns(|| {
        let ct = Conntrack::open().unwrap();
        let mut same_id = 0;
        for round in 1..=10 {
            let client = format!("10.0.0.1:{round}");
            fill(&[udp(&client, "10.96.0.10:53", "10.244.1.5:53")]);
            let filter = Filter::orig_src_port(round);
            let stale = flows(&ct, Some(&filter)).remove(0);

            ct.delete(&stale).unwrap();
            fill(&[udp(&client, "10.96.0.10:53", "10.244.2.7:53")]);
            let healthy = flows(&ct, Some(&filter)).remove(0);
            same_id += u32::from(healthy.id() == stale.id());

            assert!(ct.delete(&stale).unwrap_err().is_not_found());
            assert_eq!(ct.delete_many([&stale]).unwrap().already_gone, 1);
            let after = flows(&ct, Some(&filter)).remove(0);
            assert_eq!(after.reply().source(), at("10.244.2.7:53"));
        }
        assert_eq!(ct.count().unwrap(), 10);
        // The reason for the reply tuple: an id does not tell the two apart. Memory is reused at
        // once nearly always; that it happened at all is what this is about.
        assert!(same_id > 0, "no id was reused in ten rounds; is CTA_ID an incarnation now?");
    });
}

#[test]
fn nothing_is_silently_lost() {
    in_netns(|| {
        // Answers that do not fit the receive buffer are asked for again, see `delete.rs`; and a
        // table of many datagrams arrives whole in both families.
        let entries: Vec<_> = (1..=20_000_u16)
            .flat_map(|port| {
                [
                    udp(&format!("10.0.0.1:{port}"), "10.96.0.10:53", "10.244.1.5:53"),
                    udp(&format!("[fd00::1]:{port}"), "[fd00:96::a]:53", "[fd00:244::5]:53"),
                ]
            })
            .collect();
        fill(&entries);
        let ct = Conntrack::open().unwrap();
        assert_eq!(ct.dump(None).unwrap().count().unwrap(), 40_000);
        let filter = Filter::protocol(Protocol::UDP);
        assert_eq!(ct.dump(&filter).unwrap().count().unwrap(), 40_000, "two requests");

        // A reconciliation whose deletes lose their answers still accounts for every entry.
        ct.set_receive_buffer(1).unwrap();
        let vips: [std::net::IpAddr; 2] =
            ["10.96.0.10".parse().unwrap(), "fd00:96::a".parse().unwrap()];
        let [v4, v6] = vips;
        let desired = DesiredState::builder()
            .udp(v4, 53)
            .no_backends()
            .udp(v6, 53)
            .no_backends()
            .build()
            .unwrap();
        let report = Reconciler::new(Profile::Strict).run(&ct, &desired).unwrap();
        for family in &report.families {
            assert_eq!(family.received, 20_000);
            assert_eq!(family.deleted + family.already_gone, 20_000, "{report}");
            assert_eq!((family.failed, family.stale), (0, 20_000), "{report}");
        }
        assert!(clients(&ct, None).is_empty());
    });
}

/// A name that does not fit its attribute would be skipped by the kernel, and what was to delete by
/// name would delete everything.
#[test]
fn a_delete_by_name_never_widens() {
    in_netns(|| {
        let ct = Conntrack::open().unwrap();
        let policy = ctnetlink::TimeoutPolicy::new(
            "keep",
            Family::Ipv4,
            ctnetlink::Timeouts::of(Protocol::UDP),
        );
        let created = ct.create_timeout_policy(&policy);
        for length in [32, 65_527, 65_530, 65_531, 65_532, 65_535, 70_000] {
            let name = "x".repeat(length);
            assert!(ct.delete_timeout_policy(&name).is_err(), "{length}");
            assert!(ct.timeout_policy(&name).is_err(), "{length}");
            assert!(ct.delete_expectations_of_helper(&name).is_err(), "{length}");
        }
        assert!(ct.delete_timeout_policy("keep\0x").is_err());
        assert!(ct.delete_expectations_of_helper("ftp\0x").is_err());
        if created.is_ok() {
            assert_eq!(ct.timeout_policies().unwrap().len(), 1);
        }
    });
}
