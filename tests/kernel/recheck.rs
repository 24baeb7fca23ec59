//! Looking twice: re-checks, suspects, what comes back, and states that are only half of one.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use ctnetlink::{
    Authority, Conntrack, DesiredState, Profile, Protocol, Reconciler, Report, ServicePort,
};
use ctnetlink_testbed::fill::{Entry, fill};
use ctnetlink_testbed::netns::in_netns;
use ctnetlink_tests::{at, udp};

use crate::reconcile::{left, service, state, strict};

const OWN: &str = "192.0.2.5";

/// A DNS service whose load-balancer IP the node itself holds, with a node port.
fn at_the_node(backends: &[&str]) -> DesiredState {
    let mut dns = service("dns", "10.96.0.10", 53, backends);
    dns.node_port = Some(30053);
    dns.load_balancer_ips.push(OWN.parse().unwrap());
    let builder = DesiredState::builder().service(dns).node_addresses([OWN.parse().unwrap()]);
    builder.build().unwrap()
}

fn dns(backends: &[&str]) -> DesiredState {
    state([service("dns", "10.96.0.10", 53, backends)])
}

/// An entry that leads to the frontend itself.
fn untranslated(port: u16, frontend: &str, answered: bool) -> Entry {
    let status = if answered { 0xa } else { 0x8 };
    Entry { status, ..udp(&format!("10.0.0.1:{port}"), frontend, frontend) }
}

#[track_caller]
fn run(reconciler: &mut Reconciler, ct: &Conntrack, desired: &DesiredState) -> Report {
    let report = reconciler.run(ct, desired).unwrap();
    assert!(report.succeeded(), "{report}");
    report
}

/// An entry whose first packet was in flight during a pass that found nothing.
#[test]
fn a_pass_that_found_nothing_is_followed_by_a_recheck() {
    in_netns(|| {
        let ct = Conntrack::open().unwrap();
        let two = dns(&["10.244.1.5:53", "10.244.1.6:53"]);
        let one = dns(&["10.244.1.5:53"]);
        let late = || Reconciler::new(Profile::Strict).recheck(Some(Duration::from_millis(600)));
        let mut daemon = late();
        run(&mut daemon, &ct, &two);
        // The first run of a process looks at everything. Where its state differs from that of the
        // process before is re-checked, too.
        for mut reconciler in [daemon, late().previous(two)] {
            let report = std::thread::scope(|scope| {
                scope.spawn(|| {
                    std::thread::sleep(Duration::from_millis(200));
                    fill(&[udp("10.0.0.1:1", "10.96.0.10:53", "10.244.1.6:53")]);
                });
                run(&mut reconciler, &ct, &one)
            });
            assert_eq!((report.families[0].passes, report.families[0].deleted), (2, 1), "{report}");
            // Found late, so there may be more: another look is due, twice as late.
            let due = reconciler.due().unwrap().saturating_duration_since(Instant::now());
            assert!(due > Duration::from_millis(900), "{due:?}");
        }
    });
}

#[test]
fn a_cancel_ends_the_wait_before_a_recheck_at_once() {
    in_netns(|| {
        let ct = Conntrack::open().unwrap();
        let mut reconciler = Reconciler::new(Profile::Strict).recheck(Some(Duration::from_secs(8)));
        run(&mut reconciler, &ct, &dns(&["10.244.1.5:53", "10.244.1.6:53"]));
        let canceller = reconciler.canceller();
        let one = dns(&["10.244.1.5:53"]);
        let (report, took) = std::thread::scope(|scope| {
            scope.spawn(|| {
                std::thread::sleep(Duration::from_millis(300));
                canceller.cancel();
            });
            let started = Instant::now();
            (reconciler.run(&ct, &one).unwrap(), started.elapsed())
        });
        assert!(took < Duration::from_secs(4), "{took:?}");
        let error = report.families[0].error.as_ref();
        assert!(error.is_some_and(ctnetlink::Error::is_cancelled), "{report}");
        assert!(reconciler.due().is_some(), "it is made good");
    });
}

/// What a host service has not answered yet is not deleted at first sight, and a dry run makes the
/// same looks and reports the same figures.
#[test]
fn a_suspect_is_deleted_if_it_is_still_unanswered() {
    in_netns(|| {
        let ct = Conntrack::open().unwrap();
        fill(&[
            untranslated(1, "192.0.2.5:53", false),
            untranslated(2, "192.0.2.5:53", true),
            untranslated(3, "192.0.2.5:30053", false),
            untranslated(4, "192.0.2.5:30053", true),
            untranslated(5, "192.0.2.5:54", false),
        ]);
        let desired = at_the_node(&["10.244.1.5:53"]);
        let alone = run(&mut strict().dry_run(true), &ct, &desired);
        assert_eq!((alone.families[0].stale, alone.families[0].suspect), (2, 1), "{alone}");
        let once = || Reconciler::new(Profile::Strict).recheck(Some(Duration::from_millis(120)));
        let dry = run(&mut once().dry_run(true), &ct, &desired);
        assert_eq!(left().len(), 5);
        let real = run(&mut once(), &ct, &desired);
        assert_eq!(left(), ["10.0.0.1:2", "10.0.0.1:5"]);
        for report in [&dry, &real] {
            let family = &report.families[0];
            assert_eq!((family.stale, family.reasons.not_translated), (3, 3), "{report}");
            assert_eq!((family.suspect, family.passes), (0, 2), "{report}");
        }
        // A suspect of a deferred re-check is remembered from one run to the next.
        fill(&[untranslated(6, "192.0.2.5:53", false)]);
        let mut deferred = once().defer_recheck(true);
        let report = run(&mut deferred, &ct, &desired);
        assert_eq!((report.families[0].stale, report.families[0].suspect), (0, 1), "{report}");
        assert!(report.to_string().contains("suspect: "), "{report}");
        std::thread::sleep(deferred.due().unwrap().saturating_duration_since(Instant::now()));
        assert_eq!(run(&mut deferred, &ct, &desired).families[0].deleted, 1);
    });
}

/// Wherever the node itself can be dialled, the same is true; kube-proxy's rules have no such end, and
/// the report does not claim it.
#[test]
fn nothing_is_deleted_without_end_at_any_address_of_the_node() {
    let own: IpAddr = OWN.parse().unwrap();
    let vip: IpAddr = "10.244.1.5".parse().unwrap();
    let at_loopback = || {
        let mut dns = service("dns", "10.96.0.10", 53, &["10.244.1.5:53"]);
        dns.node_port = Some(30053);
        let loopback: IpAddr = "127.0.0.1".parse().unwrap();
        let builder = DesiredState::builder().service(dns).node_addresses([own]);
        builder.node_port_addresses([own, loopback]).build().unwrap()
    };
    let published = |container_port| {
        let builder = DesiredState::builder();
        let (from, to) = (8000..=8009, container_port..=container_port + 9);
        builder.published(Protocol::UDP, from, own, vip, to).build().unwrap()
    };
    let changed = || at_the_node(&["10.244.1.6:53"]);
    let kube_proxy = Profile::KubeProxy;
    for (profile, desired, other, frontend, deletes) in [
        (Profile::Strict, at_loopback(), changed(), "127.0.0.1:30053", 10),
        (Profile::Strict, published(80), published(90), "192.0.2.5:8003", 10),
        (kube_proxy, at_the_node(&["10.244.1.5:53"]), changed(), "192.0.2.5:53", 14),
    ] {
        in_netns(|| {
            let ct = Conntrack::open().unwrap();
            let mut reconciler = Reconciler::new(profile).recheck(None);
            let mut deleted = 0;
            for _ in 0..14 {
                if left().is_empty() {
                    fill(&[untranslated(1, frontend, true)]);
                }
                reconciler.look_at_everything();
                let report = run(&mut reconciler, &ct, &desired);
                deleted += report.families[0].deleted;
                let back = report.comes_back.iter().filter(|back| back.given_up).count();
                assert_eq!(report.to_string().contains("left alone"), back > 0, "{report}");
                assert!(back <= 1 && (deletes == 10 || back == 0), "{report}");
            }
            assert_eq!(deleted, deletes, "{frontend}");
            // Until the frontend changes.
            if profile == Profile::Strict && frontend.ends_with("8003") {
                reconciler.look_at_everything();
                assert_eq!(run(&mut reconciler, &ct, &other).families[0].deleted, 1);
            }
        });
    }
}

/// Deleting an untranslated entry harms nobody, but it must not go on forever.
#[test]
fn what_comes_back_is_reported_and_in_the_end_left_alone() {
    in_netns(|| {
        let ct = Conntrack::open().unwrap();
        let mut reconciler = Reconciler::new(Profile::Strict)
            .recheck(Some(Duration::from_millis(1)))
            .defer_recheck(true);
        let desired = at_the_node(&["10.244.1.5:53"]);
        let again = || fill(&[untranslated(1, "192.0.2.5:30053", true)]);
        again();
        let mut runs = 0;
        let report = loop {
            let report = run(&mut reconciler, &ct, &desired);
            runs += 1;
            if report.families[0].given_up > 0 {
                break report;
            }
            assert!(runs < 15, "{report}");
            again();
            std::thread::sleep(reconciler.due().unwrap().saturating_duration_since(Instant::now()));
        };
        assert_eq!((runs, report.families[0].deleted), (11, 0), "{report}");
        let [back] = &report.comes_back[..] else { panic!("{report}") };
        assert!(back.given_up && back.frontend.to_string() == "udp 192.0.2.5:30053", "{report}");
        assert_eq!(left(), ["10.0.0.1:1"]);
        assert_eq!(reconciler.due(), None, "it is left alone");
        assert!(report.to_string().contains("left alone"), "{report}");
        // Until the frontend changes.
        let report = run(&mut reconciler, &ct, &at_the_node(&["10.244.1.6:53"]));
        assert_eq!(report.families[0].deleted, 1, "{report}");
    });
}

/// One `Reconciler` that is given a good state, and then one whose Services are gone.
#[test]
fn a_state_that_has_lost_all_services_is_refused() {
    in_netns(|| {
        let ct = Conntrack::open().unwrap();
        fill(&[udp("10.0.0.1:1", "10.96.0.10:53", "10.244.1.5:53")]);
        let made_from = |services: Vec<ServicePort>| {
            let seen = services.len();
            let builder = services
                .into_iter()
                .fold(DesiredState::builder(), ctnetlink::DesiredStateBuilder::service);
            builder.made_from_services(seen).build().unwrap()
        };
        let good = made_from(vec![service("dns", "10.96.0.10", 53, &["10.244.1.5:53"])]);
        for mut reconciler in [strict(), strict().previous(good.clone())] {
            run(&mut reconciler, &ct, &good);
            let error = reconciler.run(&ct, &made_from(vec![])).unwrap_err();
            assert!(error.is_half_state(), "{error}");
            assert!(error.to_string().contains("nothing was deleted"), "{error}");
            assert_eq!(left().len(), 1);
            assert!(run(&mut reconciler, &ct, &good).nothing_changed, "it was not remembered");
        }
        // A state made by hand may be empty: the last container has stopped.
        let mut reconciler = strict();
        run(&mut reconciler, &ct, &dns(&["10.244.1.5:53"]));
        let report = run(&mut reconciler, &ct, &DesiredState::default());
        assert_eq!(report.families[0].reasons.frontend_removed, 1, "{report}");
    });
}

/// The rules know a backend before an observer does: its flows are kept until a newer state decides.
#[test]
fn an_observer_waits_for_a_newer_state() {
    in_netns(|| {
        let ct = Conntrack::open().unwrap();
        let fetched = |backends: &[&str]| {
            let builder = DesiredState::builder().udp(at("10.96.0.10:53").ip(), 53);
            let builder = builder.backends(backends.iter().map(|backend| at(backend)));
            builder.fetched_at(Instant::now()).build().unwrap()
        };
        let mut observer = strict().authority(Authority::Observer);
        let old = fetched(&["10.244.1.5:53"]);
        fill(&[
            udp("10.0.0.1:1", "10.96.0.10:53", "10.244.1.5:53"),
            udp("10.0.0.1:2", "10.96.0.10:53", "10.244.2.7:53"),
            udp("10.0.0.1:3", "10.96.0.10:53", "10.244.9.9:53"),
        ]);
        let report = run(&mut observer, &ct, &old);
        assert_eq!((report.families[0].stale, report.families[0].quarantined), (0, 2), "{report}");
        assert_eq!(report.in_quarantine, 2);
        let asks = observer.due().unwrap().saturating_duration_since(Instant::now());
        assert!(
            asks > Duration::from_millis(500),
            "it asks for a fresh state in a second: {asks:?}"
        );
        let mut dry = strict().authority(Authority::Observer).dry_run(true);
        for (backends, expected) in [(&["10.244.1.5:53"], (0, 2)), (&["10.244.1.5:53"], (2, 0))] {
            let report = run(&mut dry, &ct, &fetched(backends));
            let family = &report.families[0];
            assert_eq!((family.stale, report.in_quarantine), expected, "{report}");
        }
        assert_eq!(run(&mut observer, &ct, &old).families[0].deleted, 0, "which this is not");
        let new = fetched(&["10.244.1.5:53", "10.244.2.7:53"]);
        let report = run(&mut observer, &ct, &new);
        assert_eq!((report.families[0].deleted, report.in_quarantine), (1, 0), "{report}");
        assert_eq!(left(), ["10.0.0.1:1", "10.0.0.1:2"]);
        // What was in an earlier state needs no quarantine.
        let report = run(&mut observer, &ct, &fetched(&["10.244.2.7:53"]));
        assert_eq!(report.families[0].deleted, 1, "{report}");
        assert_eq!(observer.due(), None);
    });
}
