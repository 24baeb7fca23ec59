//! Reconciling again and again: the cost of a run follows the change, and nothing is done too early.

use std::time::{Duration, Instant};

use ctnetlink::{Conntrack, DesiredState, Endpoint, Family, Profile, Reconciler};
use ctnetlink_testbed::fill::fill;
use ctnetlink_testbed::netns::{drop_capabilities, in_netns};
use ctnetlink_tests::{at, udp};

use crate::reconcile::{left, service, state, strict};

fn wait_until(moment: Instant) {
    std::thread::sleep(moment.saturating_duration_since(Instant::now()));
}

/// Without privilege every netlink message is refused: a run that succeeds has sent none.
#[test]
fn a_run_without_a_change_sends_nothing() {
    in_netns(|| {
        fill(&[
            udp("10.0.0.1:1", "10.96.0.10:53", "10.244.1.5:53"),
            udp("10.0.0.1:2", "10.96.0.10:53", "10.244.9.9:53"),
        ]);
        let ct = Conntrack::open().unwrap();
        let with = |endpoints: &[&str]| state([service("dns", "10.96.0.10", 53, endpoints)]);
        let mut reconciler = strict();
        let first = reconciler.run(&ct, &with(&["10.244.1.5:53"])).unwrap();
        assert!(!first.nothing_changed && first.families[0].deleted == 1, "{first}");
        std::thread::scope(|scope| {
            scope.spawn(|| {
                drop_capabilities();
                for endpoints in [&["10.244.1.5:53"][..], &["10.244.1.5:53", "10.244.1.6:53"]] {
                    let report = reconciler.run(&ct, &with(endpoints)).unwrap();
                    assert!(report.nothing_changed && report.succeeded(), "{report}");
                    assert!(report.to_string().contains("nothing sent"), "{report}");
                }
                let lost = reconciler.run(&ct, &with(&["10.244.1.6:53"]));
                assert!(lost.unwrap_err().is_permission_denied(), "a backend was lost");
            });
        });
        // After the failure everything is looked at, also what has not changed.
        let report = reconciler.run(&ct, &with(&["10.244.1.6:53"])).unwrap();
        assert_eq!((report.nothing_changed, report.families[0].deleted), (false, 1), "{report}");
        fill(&[udp("10.0.0.1:3", "10.96.0.10:53", "10.244.9.9:53")]);
        assert!(reconciler.run(&ct, &with(&["10.244.1.6:53"])).unwrap().nothing_changed);
        reconciler.look_at_everything();
        let report = reconciler.run(&ct, &with(&["10.244.1.6:53"])).unwrap();
        assert_eq!(report.families[0].deleted, 1, "{report}");
    });
}

/// One pass over the frontend that has changed, and the re-check by a later run.
#[test]
fn a_change_costs_one_narrow_pass_and_a_deferred_recheck() {
    in_netns(|| {
        let ct = Conntrack::open().unwrap();
        let with = |dns: &[&str]| {
            state([
                service("dns", "10.96.0.10", 53, dns),
                service("log", "10.96.0.11", 514, &["10.244.1.7:514"]),
            ])
        };
        // Long enough for the run that has to come too early.
        let delay = Duration::from_secs(1);
        let mut reconciler =
            Reconciler::new(Profile::Strict).recheck(Some(delay)).defer_recheck(true);
        let both = with(&["10.244.1.5:53", "10.244.1.6:53"]);
        reconciler.run(&ct, &both).unwrap();
        assert_eq!(reconciler.due(), None, "nothing was deleted");

        let fill_stale = |port: u16| {
            fill(&[udp(&format!("10.0.0.1:{port}"), "10.96.0.10:53", "10.244.1.6:53")]);
        };
        fill_stale(1);
        fill(&[udp("10.0.0.1:9", "10.96.0.11:514", "10.244.1.7:514")]);
        let lost = with(&["10.244.1.5:53"]);
        let report = reconciler.run(&ct, &lost).unwrap();
        assert_eq!((report.families[0].deleted, report.families[0].passes), (1, 1), "{report}");
        assert_eq!(
            report.families[0].pushdown,
            "ip and udp and orig dst 10.96.0.10 and orig dst port 53"
        );
        assert_eq!(report.families[1].passes, 0);

        // What was in flight appears; the next run comes too early for it, the one after does not.
        fill_stale(2);
        let due = reconciler.due().unwrap();
        assert!(reconciler.run(&ct, &lost).unwrap().nothing_changed);
        wait_until(due);
        let report = reconciler.run(&ct, &lost).unwrap();
        assert_eq!(report.families[0].deleted, 1, "{report}");
        assert_eq!(left(), ["10.0.0.1:9"]);
        // It found something, so there is one more, which does not.
        wait_until(reconciler.due().unwrap());
        let report = reconciler.run(&ct, &lost).unwrap();
        assert_eq!((report.families[0].deleted, report.families[0].passes), (0, 1), "{report}");
        assert_eq!(reconciler.due(), None);
    });
}

/// A run that is cancelled deals with what it has judged, says so, and is made good by the next.
#[test]
fn a_cancelled_run_says_so_and_the_next_looks_at_everything() {
    in_netns(|| {
        let stale: Vec<_> = (1..=5_000_u16)
            .map(|port| udp(&format!("10.0.0.1:{port}"), "10.96.0.10:53", "10.244.9.9:53"))
            .collect();
        fill(&stale);
        let ct = Conntrack::open().unwrap();
        let desired = state([service("dns", "10.96.0.10", 53, &["10.244.1.5:53"])]);
        let mut reconciler = strict();
        let canceller = reconciler.canceller();
        reconciler = reconciler.on_progress(move |progress| {
            if progress.received > 4_000 && progress.received < 5_000 {
                canceller.cancel();
            }
        });
        let report = reconciler.run(&ct, &desired).unwrap();
        assert!(!report.succeeded() && !report.nothing_changed, "{report}");
        let family = &report.families[0];
        assert!(family.error.as_ref().is_some_and(ctnetlink::Error::is_cancelled), "{report}");
        assert!((4_000..5_000).contains(&family.deleted), "{report}");
        assert_eq!(family.stale, family.deleted, "what was judged was dealt with: {report}");
        let report = reconciler.run(&ct, &desired).unwrap();
        assert_eq!(report.families[0].deleted, 5_000 - family.deleted, "{report}");
        assert!(left().is_empty());
    });
}

/// Changes that come faster than the interval are one change, and the frontends of a state that was
/// passed over are not forgotten.
#[test]
fn a_run_within_the_minimum_interval_is_postponed() {
    for profile in [Profile::Strict, Profile::KubeProxy] {
        in_netns(move || {
            let ct = Conntrack::open().unwrap();
            let with = |name: &str, vip: &str| state([service(name, vip, 53, &["10.244.1.5:53"])]);
            let (old, passed_over, new) =
                (with("a", "10.96.0.10"), with("b", "10.96.0.11"), with("c", "10.96.0.12"));
            let interval = Duration::from_secs(1);
            let mut reconciler = Reconciler::new(profile).recheck(None).min_interval(interval);
            assert!(!reconciler.run(&ct, &old).unwrap().postponed, "the first waits for nobody");
            let end = Instant::now();
            fill(&[
                udp("10.0.0.1:1", "10.96.0.10:53", "10.244.1.5:53"),
                udp("10.0.0.1:2", "10.96.0.11:53", "10.244.1.5:53"),
                udp("10.0.0.1:3", "10.96.0.12:53", "10.244.9.9:53"),
            ]);
            assert!(reconciler.run(&ct, &old).unwrap().nothing_changed);
            assert_eq!(reconciler.due(), None);
            for desired in [&passed_over, &new, &new] {
                let report = reconciler.run(&ct, desired).unwrap();
                assert!(report.postponed && !report.nothing_changed, "{report}");
                assert!(report.to_string().contains("postponed"), "{report}");
                assert_eq!(report.families[0].passes, 0, "{report}");
            }
            assert_eq!(left().len(), 3);
            let due = reconciler.due().unwrap();
            assert!(due <= end + interval && due > end + interval / 2);
            wait_until(due);
            let report = reconciler.run(&ct, &new).unwrap();
            assert!(!report.postponed && report.succeeded(), "{report}");
            // kube-proxy compares with the state of its last run only.
            let expected: &[&str] = match profile {
                Profile::Strict => &[],
                _ => &["10.0.0.1:2"],
            };
            assert_eq!(left(), expected, "{report}");
            assert_eq!(reconciler.due(), None);
        });
    }
}

/// What was in flight toward a removed frontend is judged by a later run as it was by the first.
#[test]
fn the_deferred_recheck_of_a_removed_frontend_removes() {
    for profile in [Profile::Strict, Profile::KubeProxy] {
        in_netns(move || {
            let ct = Conntrack::open().unwrap();
            let other = || service("log", "10.96.0.11", 514, &["10.244.1.7:514"]);
            let dns = service("dns", "10.96.0.10", 53, &["10.244.1.5:53"]);
            let mut reconciler = Reconciler::new(profile)
                .recheck(Some(Duration::from_millis(100)))
                .defer_recheck(true);
            reconciler.run(&ct, &state([dns, other()])).unwrap();
            fill(&[udp("10.0.0.1:1", "10.96.0.10:53", "10.244.1.5:53")]);
            let report = reconciler.run(&ct, &state([other()])).unwrap();
            assert_eq!(report.families[0].reasons.frontend_removed, 1, "{report}");
            fill(&[udp("10.0.0.1:2", "10.96.0.10:53", "10.244.1.5:53")]);
            wait_until(reconciler.due().unwrap());
            let report = reconciler.run(&ct, &state([other()])).unwrap();
            assert_eq!(report.families[0].reasons.frontend_removed, 1, "{report}");
            assert!(left().is_empty());
            wait_until(reconciler.due().unwrap());
            assert_eq!(reconciler.run(&ct, &state([other()])).unwrap().families[0].deleted, 0);
            assert_eq!(reconciler.due(), None);
            assert!(reconciler.run(&ct, &state([other()])).unwrap().nothing_changed);
        });
    }
}

fn with_endpoints(endpoints: &[(&str, bool)]) -> DesiredState {
    let mut dns = service("dns", "10.96.0.10", 53, &[]);
    let endpoint = |(address, serving): &(&str, bool)| Endpoint::new(at(address)).serving(*serving);
    dns.endpoints = endpoints.iter().map(endpoint).collect();
    state([dns])
}

/// An endpoint that stops serving keeps its flows for the grace time, one that goes does not.
#[test]
fn a_grace_time_keeps_the_flows_of_an_endpoint_that_stopped_serving() {
    in_netns(|| {
        let ct = Conntrack::open().unwrap();
        let (first, second) = ("10.244.1.5:53", "10.244.1.6:53");
        let both = with_endpoints(&[(first, true), (second, true)]);
        let stopped = with_endpoints(&[(first, true), (second, false)]);
        let mut reconciler = strict().grace(Duration::from_secs(1));
        reconciler.run(&ct, &both).unwrap();
        fill(&[udp("10.0.0.1:1", "10.96.0.10:53", second)]);
        let report = reconciler.run(&ct, &stopped).unwrap();
        assert_eq!((report.in_grace, report.nothing_changed), (1, true), "{report}");
        assert!(report.to_string().contains("flows to 1 endpoint not serving are kept"));
        let due = reconciler.due().unwrap();
        // It serves again in time, and everything begins anew.
        assert_eq!(reconciler.run(&ct, &both).unwrap().in_grace, 0);
        assert_eq!(reconciler.due(), None);
        assert_eq!(reconciler.run(&ct, &stopped).unwrap().in_grace, 1);
        assert!(reconciler.due().unwrap() > due);
        assert_eq!(left().len(), 1);
        wait_until(reconciler.due().unwrap());
        let report = reconciler.run(&ct, &stopped).unwrap();
        assert_eq!((report.in_grace, report.families[0].deleted), (0, 1), "{report}");
        assert_eq!(reconciler.due(), None);

        reconciler.run(&ct, &both).unwrap();
        fill(&[udp("10.0.0.1:1", "10.96.0.10:53", second)]);
        let report = reconciler.run(&ct, &with_endpoints(&[(first, true)])).unwrap();
        assert_eq!((report.in_grace, report.families[0].deleted), (0, 1), "gone: {report}");
    });
}

/// While the only endpoint is in its grace time nothing is translated; those entries go when it
/// serves again.
#[test]
fn what_was_made_untranslated_in_a_grace_time_goes_behind_it() {
    in_netns(|| {
        let ct = Conntrack::open().unwrap();
        let only = "10.244.1.5:53";
        let mut reconciler = strict().grace(Duration::from_secs(60));
        reconciler.run(&ct, &with_endpoints(&[(only, true)])).unwrap();
        fill(&[udp("10.0.0.1:1", "10.96.0.10:53", only)]);
        reconciler.run(&ct, &with_endpoints(&[(only, false)])).unwrap();
        fill(&[udp("10.0.0.1:2", "10.96.0.10:53", "10.96.0.10:53")]);
        let report = reconciler.run(&ct, &with_endpoints(&[(only, true)])).unwrap();
        assert_eq!(report.families[0].reasons.not_translated, 1, "{report}");
        assert_eq!(left(), ["10.0.0.1:1"]);
    });
}

/// A grace time that ends while runs are postponed is seen to when the interval is over.
#[test]
fn a_grace_time_can_end_within_the_minimum_interval() {
    in_netns(|| {
        let ct = Conntrack::open().unwrap();
        let (first, second) = ("10.244.1.5:53", "10.244.1.6:53");
        let both = with_endpoints(&[(first, true), (second, true)]);
        let stopped = with_endpoints(&[(first, true), (second, false)]);
        let mut reconciler =
            strict().grace(Duration::from_millis(200)).min_interval(Duration::from_secs(1));
        reconciler.run(&ct, &both).unwrap();
        let over = Instant::now() + Duration::from_secs(1);
        fill(&[udp("10.0.0.1:1", "10.96.0.10:53", second)]);
        assert!(reconciler.run(&ct, &stopped).unwrap().nothing_changed);
        let due = reconciler.due().unwrap();
        assert!(due <= over && due > over - Duration::from_millis(500), "not before the interval");
        std::thread::sleep(Duration::from_millis(300));
        assert!(reconciler.run(&ct, &stopped).unwrap().postponed);
        assert_eq!(reconciler.due(), Some(due));
        wait_until(due);
        let report = reconciler.run(&ct, &stopped).unwrap();
        assert_eq!((report.in_grace, report.families[0].deleted), (0, 1), "{report}");
    });
}

#[test]
fn a_dry_run_begins_no_grace_time_and_is_never_due() {
    in_netns(|| {
        let ct = Conntrack::open().unwrap();
        let only = "10.244.1.6:53";
        fill(&[udp("10.0.0.1:1", "10.96.0.10:53", only)]);
        let mut reconciler = strict()
            .grace(Duration::from_millis(200))
            .previous(with_endpoints(&[(only, true)]))
            .dry_run(true);
        let report = reconciler.run(&ct, &with_endpoints(&[(only, false)])).unwrap();
        assert_eq!((report.in_grace, report.families[0].stale), (1, 0), "{report}");
        assert_eq!(reconciler.due(), None);
        std::thread::sleep(Duration::from_millis(250));
        let mut reconciler = reconciler.dry_run(false);
        let report = reconciler.run(&ct, &with_endpoints(&[(only, false)])).unwrap();
        assert_eq!((report.in_grace, report.families[0].stale), (1, 0), "begins now: {report}");
        assert!(reconciler.due().is_some());
        assert_eq!(reconciler.dry_run(true).due(), None);
    });
}

/// After a failure somebody has to come back even if nothing changes.
#[test]
fn a_failed_run_is_due_again() {
    in_netns(|| {
        let ct = Conntrack::open().unwrap();
        let desired = state([service("dns", "10.96.0.10", 53, &["10.244.1.5:53"])]);
        let mut reconciler = strict();
        let before = Instant::now();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                drop_capabilities();
                reconciler.run(&ct, &desired).unwrap_err();
            });
        });
        let due = reconciler.due().unwrap();
        assert!(due > before && due < before + Duration::from_secs(5));
        assert!(!reconciler.run(&ct, &desired).unwrap().nothing_changed);
        assert_eq!(reconciler.due(), None);
    });
}

fn both_families() -> DesiredState {
    let mut dns = service("dns", "10.96.0.10", 53, &["10.244.1.5:53", "[fd00::1:5]:53"]);
    dns.cluster_ips.push("fd00::10".parse().unwrap());
    state([dns])
}

fn fill_both_families(each: u16) {
    for port in 1..=each {
        fill(&[
            udp(&format!("10.0.0.1:{port}"), "10.96.0.10:53", "10.244.9.9:53"),
            udp(&format!("[fd00::9]:{port}"), "[fd00::10]:53", "[fd00::9:9]:53"),
        ]);
    }
}

#[test]
fn both_families_are_walked_at_once() {
    in_netns(|| {
        fill_both_families(5_000);
        let (sender, calls) = std::sync::mpsc::channel();
        let ct = Conntrack::open().unwrap();
        let mut reconciler = strict().on_progress(move |progress| {
            sender.send((progress.family, std::thread::current().id())).unwrap();
        });
        let report = reconciler.run(&ct, &both_families()).unwrap();
        assert_eq!(report.families.each_ref().map(|f| f.deleted), [5_000, 5_000], "{report}");
        let calls: std::collections::HashSet<_> = calls.try_iter().collect();
        let threads: std::collections::HashSet<_> =
            calls.iter().map(|(_, thread)| thread).collect();
        assert_eq!((calls.len(), threads.len()), (2, 2), "one thread for each");
    });
}

#[test]
fn a_cancelled_run_ends_in_both_families_and_a_panic_ends_it_too() {
    in_netns(|| {
        fill_both_families(5_000);
        let ct = Conntrack::open().unwrap();
        let mut reconciler = strict();
        let (before, during) = (reconciler.canceller(), reconciler.canceller());
        reconciler = reconciler.on_progress(move |progress| {
            if progress.received > 0 {
                during.cancel();
            }
        });
        before.cancel();
        let report = reconciler.run(&ct, &both_families()).unwrap();
        assert_eq!(report.families.each_ref().map(|f| f.received), [0, 0], "before it began");
        assert!(!report.succeeded() && reconciler.due().is_some(), "{report}");
        let report = reconciler.run(&ct, &both_families()).unwrap();
        // Whoever is first at 4096 entries ends both, unless the other has just come to its end.
        let ended = report.families.iter().filter(|family| family.error.is_some()).count();
        assert!(ended >= 1 && !report.succeeded(), "{report}");

        let mut reconciler = strict().on_progress(|progress| {
            assert_eq!(progress.family, Family::Ipv4, "as a callback may panic");
        });
        let run = std::panic::AssertUnwindSafe(|| reconciler.run(&ct, &both_families()));
        assert!(std::panic::catch_unwind(run).is_err());
        let report = reconciler.run(&ct, &both_families()).unwrap();
        assert!(report.succeeded() && !report.nothing_changed, "{report}");
        assert!(left().is_empty());
    });
}

/// Nothing that comes matches: progress is told and a cancel is noticed all the same.
#[test]
fn a_pass_that_finds_nothing_can_be_followed_and_cancelled() {
    in_netns(|| {
        let with = |endpoints: &[&str]| {
            let mut dns = service("dns", "10.96.0.10", 53, endpoints);
            dns.cluster_ips = vec!["fd00::10".parse().unwrap()];
            let mut other = service("other", "10.96.0.11", 53, &["[fd00::1:7]:53"]);
            other.cluster_ips = vec!["fd00::11".parse().unwrap()];
            state([dns, other])
        };
        for port in 1..=10_000 {
            fill(&[udp(&format!("[fd00::9]:{port}"), "[fd00::11]:53", "[fd00::1:7]:53")]);
        }
        let ct = Conntrack::open().unwrap();
        let (sender, calls) = std::sync::mpsc::channel();
        let mut reconciler = strict();
        let canceller = reconciler.canceller();
        reconciler =
            reconciler.on_progress(move |progress| sender.send(progress.received).unwrap());
        reconciler.run(&ct, &with(&["[fd00::1:5]:53", "[fd00::1:6]:53"])).unwrap();
        assert!(calls.try_iter().count() >= 3, "everything");
        let report = reconciler.run(&ct, &with(&["[fd00::1:5]:53"])).unwrap();
        // Unless this kernel was proved to compare IPv6 addresses right, all of the port comes.
        assert_eq!(report.families[1].received, 10_000, "{report}");
        let told: Vec<_> = calls.try_iter().collect();
        assert!(told.len() >= 3 && told[0] < 5_000, "{told:?}");

        let stop = canceller.clone();
        let mut reconciler = reconciler.on_progress(move |_| stop.cancel());
        let report = reconciler.run(&ct, &with(&["[fd00::1:6]:53"])).unwrap();
        let family = &report.families[1];
        assert!(family.error.as_ref().is_some_and(ctnetlink::Error::is_cancelled), "{report}");
        assert!(family.received < 10_000, "{report}");
    });
}
