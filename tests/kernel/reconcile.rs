//! Reconciling a real table: what goes, what stays, and what the report says.

use std::net::IpAddr;
use std::time::Duration;

use ctnetlink::{
    Conntrack, DesiredState, Endpoint, Filter, Profile, Protocol, Reasons, Reconciler, Report,
    ServiceKey, ServicePort, Zones,
};
use ctnetlink_testbed::fill::{Entry, fill};
use ctnetlink_testbed::kube::KubeTable;
use ctnetlink_testbed::netns::{drop_capabilities, in_netns};
use ctnetlink_tests::{at, clients, flows, tcp, udp};

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

pub(crate) fn service(name: &str, vip: &str, port: u16, endpoints: &[&str]) -> ServicePort {
    let key = ServiceKey {
        namespace: "test".into(),
        name: name.into(),
        port_name: String::new(),
        protocol: Protocol::UDP,
    };
    let mut service = ServicePort::new(key, port);
    service.cluster_ips.push(ip(vip));
    service.endpoints = endpoints.iter().map(|e| Endpoint::from(at(e))).collect();
    service
}

pub(crate) fn state(services: impl IntoIterator<Item = ServicePort>) -> DesiredState {
    services
        .into_iter()
        .fold(DesiredState::builder(), ctnetlink::DesiredStateBuilder::service)
        .build()
        .unwrap()
}

pub(crate) fn strict() -> Reconciler {
    Reconciler::new(Profile::Strict).recheck(None)
}

#[track_caller]
fn run(mut reconciler: Reconciler, desired: &DesiredState) -> Report {
    let report = reconciler.run(&Conntrack::open().unwrap(), desired).unwrap();
    assert!(report.succeeded(), "{report}");
    report
}

pub(crate) fn left() -> Vec<String> {
    clients(&Conntrack::open().unwrap(), None)
}

#[test]
fn the_kube_like_table_in_both_profiles() {
    for profile in [Profile::Strict, Profile::KubeProxy] {
        in_netns(move || {
            let table = KubeTable { entries: 8_000 };
            table.fill(|_| ()).unwrap();
            let reconciler = Reconciler::new(profile).previous(table.previous().unwrap());
            let report = run(reconciler, &table.desired().unwrap());
            for family in &report.families {
                assert_eq!(
                    (family.deleted, family.already_gone, family.stale, family.passes),
                    (40, 0, 40, 2),
                    "{report}"
                );
                assert_eq!(
                    family.received, 680,
                    "360 with port 53, 320 after the deletes: {report}"
                );
                assert_eq!(family.reasons.iter().map(|(_, n)| n).collect::<Vec<_>>(), [10; 4]);
            }
            assert_eq!(report.families[0].pushdown, "ip and udp and orig dst port 53");
            let recount = table.recount().unwrap();
            assert_eq!((recount.healthy_lost, recount.stale_left), (0, 0), "{report}");
            assert_eq!(recount.present, 7_920);
        });
    }
}

#[test]
fn only_the_stale_udp_entries_of_the_frontend_go() {
    in_netns(|| {
        fill(&[
            udp("10.0.0.1:1", "10.96.0.10:53", "10.244.1.5:53"),
            udp("10.0.0.1:2", "10.96.0.10:53", "10.244.9.9:53"),
            // TCP to the same frontend, and UDP to the same address and another port.
            tcp("10.0.0.1:3", "10.96.0.10:53", "10.244.9.9:53"),
            udp("10.0.0.1:4", "10.96.0.10:9153", "10.244.9.9:53"),
            udp("10.0.0.1:5", "10.96.0.11:53", "10.244.9.9:53"),
            Entry { protocol: 136, ..udp("10.0.0.1:6", "10.96.0.10:53", "10.244.9.9:53") },
            Entry { protocol: 132, ..udp("10.0.0.1:7", "10.96.0.10:53", "10.244.9.9:53") },
        ]);
        let report = run(strict(), &state([service("dns", "10.96.0.10", 53, &["10.244.1.5:53"])]));
        assert_eq!(report.families[0].deleted, 1);
        assert_eq!(report.families[1].passes, 0, "no IPv6 frontend, no IPv6 pass");
        assert!(!left().contains(&"10.0.0.1:2".into()));
        assert_eq!(left().len(), 6);

        let both = strict().protocols([Protocol::TCP, Protocol::SCTP]);
        let mut services =
            ["tcp", "sctp"].map(|n| service(n, "10.96.0.10", 53, &["10.244.1.5:53"]));
        services[0].key.protocol = Protocol::TCP;
        services[1].key.protocol = Protocol::SCTP;
        let report = run(both, &state(services));
        assert_eq!(report.families[0].deleted, 2, "{report}");
        assert_eq!(left(), ["10.0.0.1:1", "10.0.0.1:4", "10.0.0.1:5", "10.0.0.1:6"]);
    });
}

#[test]
fn a_node_port_number_on_a_foreign_address_is_untouched_in_strict() {
    in_netns(|| {
        let entries = [
            udp("10.0.0.1:1", "192.0.2.5:30053", "10.244.9.9:53"),
            udp("10.0.0.1:2", "192.0.2.5:30053", "10.244.1.5:53"),
            udp("10.0.0.1:3", "203.0.113.9:30053", "203.0.113.9:30053"),
        ];
        fill(&entries);
        let mut dns = service("dns", "10.96.0.10", 53, &["10.244.1.5:53"]);
        dns.node_port = Some(30053);
        let at_node = DesiredState::builder()
            .service(dns.clone())
            .node_addresses([ip("192.0.2.5")])
            .build()
            .unwrap();
        assert!(!run(strict(), &state([dns])).node_ports_judged);
        assert_eq!(left().len(), 3, "without node addresses node ports are not judged");
        assert!(run(strict(), &at_node).node_ports_judged);
        assert_eq!(left(), ["10.0.0.1:2", "10.0.0.1:3"]);
        run(Reconciler::new(Profile::KubeProxy), &at_node);
        assert_eq!(left(), ["10.0.0.1:2"], "kube-proxy does not look at the address");
    });
}

#[test]
fn a_service_without_endpoints_keeps_nothing() {
    in_netns(|| {
        fill(&[
            udp("10.0.0.1:1", "10.96.0.10:53", "10.244.1.5:53"),
            udp("10.0.0.1:2", "10.96.0.11:53", "10.244.1.5:53"),
        ]);
        let report = run(strict(), &state([service("dns", "10.96.0.10", 53, &[])]));
        assert_eq!(report.families[0].reasons.backend_gone, 1);
        assert_eq!(left(), ["10.0.0.1:2"]);
    });
}

#[test]
fn two_services_sharing_a_frontend_are_a_union() {
    in_netns(|| {
        fill(&[
            udp("10.0.0.1:1", "10.96.0.10:53", "10.244.1.5:53"),
            udp("10.0.0.1:2", "10.96.0.10:53", "10.244.2.7:53"),
            udp("10.0.0.1:3", "10.96.0.10:53", "10.244.3.3:53"),
        ]);
        let desired = state([
            service("a", "10.96.0.10", 53, &["10.244.1.5:53"]),
            service("b", "10.96.0.10", 53, &["10.244.2.7:53"]),
        ]);
        run(strict(), &desired);
        assert_eq!(left(), ["10.0.0.1:1", "10.0.0.1:2"]);
    });
}

/// In the middle of a pass, with stale entries already dumped and waiting in the batch, the same
/// clients come back toward the live backend. Their deletes must miss.
#[test]
fn a_recreated_entry_survives() {
    in_netns(|| {
        let client = |n: u16| format!("10.0.0.1:{n}");
        let toward = |n, backend| udp(&client(n), "10.96.0.10:53", backend);
        let live: Vec<_> = (1000..7000).map(|n| toward(n, "10.244.1.5:53")).collect();
        let stale: Vec<_> = (1..=150).map(|n| toward(n, "10.244.9.9:53")).collect();
        let back: Vec<_> = (1..=150).map(|n| toward(n, "10.244.1.5:53")).collect();
        fill(&live);
        fill(&stale);

        let ct = Conntrack::open().unwrap();
        let mut once = true;
        let mut reconciler = strict().on_progress(move |progress| {
            if std::mem::take(&mut once) {
                assert!(progress.stale > 0 && progress.received < 6150, "{progress:?}");
                let ct = Conntrack::open().unwrap();
                let dead = Filter::reply_src(ip("10.244.9.9"));
                assert_eq!(ct.delete_many(&flows(&ct, Some(&dead))).unwrap().deleted, 150);
                fill(&back);
            }
        });
        let desired = state([service("dns", "10.96.0.10", 53, &["10.244.1.5:53"])]);
        let report = reconciler.run(&ct, &desired).unwrap();
        let family = &report.families[0];
        assert_eq!((family.deleted, family.failed), (0, 0), "{report}");
        assert!(family.already_gone > 0, "{report}");
        assert_eq!(left().len(), 6150, "every client is there, toward the live backend");
    });
}

#[test]
fn zones_are_cleaned_each_in_its_own() {
    in_netns(|| {
        let stale = udp("10.0.0.1:1", "10.96.0.10:53", "10.244.9.9:53");
        fill(&[0, 7, 9].map(|zone| Entry { zone, ..stale }));
        let desired = state([service("dns", "10.96.0.10", 53, &["10.244.1.5:53"])]);
        let report = run(strict().zones([7]), &desired);
        assert_eq!(report.families[0].deleted, 1);
        assert!(clients(&Conntrack::open().unwrap(), Some(&Filter::zone(7))).is_empty());
        // Other zones than 0 are another datapath's, and those left are counted.
        let report = run(strict(), &desired);
        assert_eq!((report.families[0].deleted, report.families[0].other_zones), (1, 1));
        assert!(report.to_string().contains("in zones that are not looked at"), "{report}");
        assert_eq!(run(strict().zones(Zones::All), &desired).families[0].deleted, 1);
        assert!(left().is_empty());
    });
}

#[test]
fn a_dry_run_deletes_nothing_and_counts_the_same() {
    in_netns(|| {
        let table = KubeTable { entries: 4_000 };
        table.fill(|_| ()).unwrap();
        let (desired, previous) = (table.desired().unwrap(), table.previous().unwrap());
        let figures = |r: &Report| r.families.each_ref().map(|f| (f.stale, f.reasons));
        let dry = run(strict().dry_run(true).previous(previous.clone()), &desired);
        assert_eq!(table.recount().unwrap().stale_left, 40);
        assert!(dry.dry_run && dry.families.iter().all(|f| f.deleted == 0 && f.passes == 1));
        assert!(dry.to_string().contains("dry run: nothing deleted"));
        let real = run(strict().previous(previous), &desired);
        assert_eq!(figures(&dry), figures(&real));
        assert_eq!(table.recount().unwrap().stale_left, 0);
    });
}

#[test]
fn a_dry_run_leaves_no_trace_in_the_reconciler() {
    in_netns(|| {
        fill(&[udp("10.0.0.1:1", "10.96.0.10:53", "10.244.9.9:53")]);
        let ct = Conntrack::open().unwrap();
        let old = state([service("dns", "10.96.0.10", 53, &[])]);
        let mut reconciler = strict().previous(old).dry_run(true);
        let now = state([service("dns", "10.96.0.99", 53, &[])]);
        assert_eq!(reconciler.run(&ct, &now).unwrap().families[0].stale, 1);
        let mut real = reconciler.dry_run(false);
        assert_eq!(real.run(&ct, &now).unwrap().families[0].reasons.frontend_removed, 1);
    });
}

#[test]
fn vanished_frontends_are_cleaned_once_in_the_next_run() {
    in_netns(|| {
        let ct = Conntrack::open().unwrap();
        let mut reconciler = strict();
        let before = state([service("dns", "10.96.0.10", 53, &["10.244.1.5:53"])]);
        let after = state([service("dns", "10.96.0.99", 53, &["10.244.1.5:53"])]);
        fill(&[udp("10.0.0.1:1", "10.96.0.10:53", "10.244.1.5:53")]);
        assert_eq!(reconciler.run(&ct, &before).unwrap().families[0].stale, 0);
        let report = reconciler.run(&ct, &after).unwrap();
        assert_eq!(report.families[0].reasons.frontend_removed, 1);
        // Somebody else may use the address from now on.
        fill(&[udp("10.0.0.1:1", "10.96.0.10:53", "10.244.1.5:53")]);
        assert_eq!(reconciler.run(&ct, &after).unwrap().families[0].stale, 0);
        assert_eq!(left(), ["10.0.0.1:1"]);
    });
}

#[test]
fn the_recheck_finds_what_was_in_flight() {
    in_netns(|| {
        fill(&[udp("10.0.0.1:1", "10.96.0.10:53", "10.244.9.9:53")]);
        let ct = Conntrack::open().unwrap();
        let desired = state([service("dns", "10.96.0.10", 53, &["10.244.1.5:53"])]);
        // A packet that took its decision before the rules changed is confirmed after the dump.
        let mut reconciler = Reconciler::new(Profile::Strict)
            .recheck(Some(Duration::from_millis(10)))
            .on_progress(|progress| {
                if progress.pass == 1 {
                    fill(&[udp("10.0.0.1:2", "10.96.0.10:53", "10.244.9.9:53")]);
                }
            });
        let report = reconciler.run(&ct, &desired).unwrap();
        let family = &report.families[0];
        assert_eq!((family.passes, family.deleted, family.received), (2, 2, 2), "{report}");
        assert!(left().is_empty());

        // Nothing deleted, nothing to re-check.
        let report = Reconciler::new(Profile::Strict).run(&ct, &desired).unwrap();
        assert_eq!(report.families[0].passes, 1);
    });
}

#[test]
fn no_usable_service_deletes_nothing_and_reads_nothing() {
    in_netns(|| {
        fill(&[udp("10.0.0.1:1", "10.96.0.10:53", "10.244.9.9:53")]);
        let report = run(strict(), &DesiredState::default());
        for family in &report.families {
            assert_eq!(
                (family.passes, family.received, family.reasons),
                (0, 0, Reasons::default())
            );
        }
        assert_eq!(left().len(), 1);
    });
}

#[test]
fn without_privilege_the_run_is_an_error_with_the_remedy() {
    in_netns(|| {
        // A socket is judged by the one who opened it and the one who sends; here the namespace
        // belongs to somebody else.
        let desired = state([service("dns", "10.96.0.10", 53, &[])]);
        let ct = Conntrack::open().unwrap();
        let error = std::thread::scope(|scope| {
            let powerless = scope.spawn(|| {
                drop_capabilities();
                strict().run(&ct, &desired).unwrap_err()
            });
            powerless.join().unwrap()
        });
        assert!(error.is_permission_denied(), "{error}");
        assert!(error.to_string().contains("CAP_NET_ADMIN"), "{error}");
    });
}

/// A run that fails half-way, and one that fails altogether: what they should have cleaned is
/// cleaned by the next.
#[test]
fn what_a_failed_run_should_have_cleaned_is_remembered() {
    in_netns(|| {
        let ct = Conntrack::open().unwrap();
        let healthy: Vec<_> = (1000..7000)
            .map(|n| udp(&format!("10.0.0.1:{n}"), "10.96.0.10:53", "10.244.1.5:53"))
            .collect();
        fill(&healthy);
        let dns = || service("dns", "10.96.0.10", 53, &["10.244.1.5:53"]);
        let [first, second] = ["10.96.0.98", "10.96.0.99"].map(|vip| service(vip, vip, 53, &[]));
        let mut once = true;
        let mut reconciler = strict().previous(state([dns(), first])).on_progress(move |_| {
            if std::mem::take(&mut once) {
                drop_capabilities();
            }
        });
        fill(&[udp("10.0.0.1:1", "10.96.0.98:53", "10.244.1.5:53")]);

        // On a thread that loses its privilege in the middle of the pass, and has none afterwards.
        let reconciler = std::thread::scope(|scope| {
            let weak = scope.spawn(|| {
                let half = reconciler.run(&ct, &state([dns(), second])).unwrap();
                assert!(!half.succeeded(), "{half}");
                let family = &half.families[0];
                assert_eq!((family.stale, family.failed), (1, 1), "{half}");
                let [failure] = &family.failures[..] else { panic!("{half}") };
                assert_eq!(failure.count, 1);
                assert!(failure.error.is_permission_denied(), "{half}");
                let error = reconciler.run(&ct, &state([dns()])).unwrap_err();
                assert!(error.is_permission_denied(), "{error}");
                reconciler
            });
            weak.join().unwrap()
        });
        let mut reconciler = reconciler;
        fill(&[udp("10.0.0.1:2", "10.96.0.99:53", "10.244.1.5:53")]);
        let report = reconciler.run(&ct, &state([dns()])).unwrap();
        assert_eq!(report.families[0].reasons.frontend_removed, 2, "{report}");
        assert!(report.succeeded());
        assert_eq!(left().len(), 6000);
    });
}
