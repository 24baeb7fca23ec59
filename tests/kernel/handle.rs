//! Opening, counting, and using one handle for several things at once.

use std::sync::atomic::{AtomicU64, Ordering};

use ctnetlink::Conntrack;
use ctnetlink_testbed::fill::fill;
use ctnetlink_testbed::netns::{Namespace, in_netns};
use ctnetlink_tests::{clients, flows, udp};

#[test]
fn count_and_limit() {
    in_netns(|| {
        let ct = Conntrack::open().unwrap();
        assert_eq!(ct.count().unwrap(), 0);
        fill(&[udp("10.0.0.1:1", "10.0.0.2:53", "10.0.0.2:53")]);
        assert_eq!(ct.count().unwrap(), 1);
        let limit = std::fs::read_to_string("/proc/sys/net/netfilter/nf_conntrack_max").unwrap();
        assert_eq!(ct.limit().unwrap(), limit.trim().parse::<u32>().unwrap());
    });
}

#[test]
fn another_namespace_is_opened_without_moving_the_caller() {
    in_netns(|| {
        let other = Namespace::new();
        other.run(|| fill(&[udp("10.0.0.9:9", "10.0.0.2:53", "10.0.0.2:53")]));
        fill(&[
            udp("10.0.0.1:1", "10.0.0.2:53", "10.0.0.2:53"),
            udp("10.0.0.1:2", "10.0.0.2:53", "10.0.0.2:53"),
        ]);
        let here = Conntrack::open().unwrap();
        let there = Conntrack::open_in(other.file()).unwrap();
        assert_eq!((here.count().unwrap(), there.count().unwrap()), (2, 1));
        // A dump opens a socket of its own, which has to be in the same place.
        assert_eq!(clients(&there, None), ["10.0.0.9:9"]);
        assert_eq!(there.delete_many(&flows(&there, None)).unwrap().deleted, 1);
        assert_eq!((here.count().unwrap(), there.count().unwrap()), (2, 0));
    });
}

#[test]
fn namespaces_by_path_and_by_process() {
    in_netns(|| {
        fill(&[udp("10.0.0.1:1", "10.0.0.2:53", "10.0.0.2:53")]);
        // A process is where its first thread is, which for this one is elsewhere.
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let elsewhere = Namespace::new().run(|| {
            let by_pid = Conntrack::open_pid(child.id()).unwrap().count().unwrap();
            let path = format!("/proc/{}/ns/net", child.id());
            (by_pid, Conntrack::open_path(path).unwrap().count().unwrap())
        });
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(elsewhere, (1, 1));
        let error = Conntrack::open_path("/nonexistent/ns").unwrap_err();
        assert!(error.is_not_found(), "{error}");
        assert!(Conntrack::open_pid(child.id()).unwrap_err().is_not_found());
    });
}

#[test]
fn the_receive_buffer_is_read_back() {
    in_netns(|| {
        let ct = Conntrack::open().unwrap();
        assert_eq!(ct.set_receive_buffer(50_000).unwrap(), 100_000, "the kernel doubles it");
        let most = ct.set_receive_buffer(i32::MAX / 4).unwrap();
        let limit = std::fs::read_to_string("/proc/sys/net/core/rmem_max");
        if let Ok(limit) = limit {
            assert_eq!(most, 2 * limit.trim().parse::<usize>().unwrap(), "and caps it");
        }
    });
}

#[test]
fn a_handle_stays_in_its_namespace_when_the_thread_moves() {
    in_netns(|| {
        fill(&[udp("10.0.0.1:1", "10.0.0.2:53", "10.0.0.2:53")]);
        let ct = Conntrack::open().unwrap();
        let dumped = Namespace::new().run(|| (ct.count().unwrap(), clients(&ct, None)));
        assert_eq!(dumped, (1, vec!["10.0.0.1:1".to_owned()]));
    });
}

#[test]
fn one_handle_serves_threads_dumps_and_deletes_at_once() {
    in_netns(|| {
        let entries: Vec<_> = (1..=2000)
            .map(|port| udp(&format!("10.0.0.1:{port}"), "10.0.0.2:53", "10.0.0.3:53"))
            .collect();
        fill(&entries);
        let ct = Conntrack::open().unwrap();
        let mut first = ct.dump(None).unwrap();
        let mut second = ct.dump(None).unwrap();
        assert!(first.next().unwrap().is_some());
        assert!(second.next().unwrap().is_some());

        let deleted = AtomicU64::new(0);
        std::thread::scope(|scope| {
            for part in 0..4_u16 {
                let (ct, deleted) = (&ct, &deleted);
                scope.spawn(move || {
                    let mut dump = ct.dump(None).unwrap();
                    while let Some(flow) = dump.next().unwrap() {
                        if flow.orig().src_port().unwrap() % 4 == part {
                            ct.delete(&flow).unwrap();
                            deleted.fetch_add(1, Ordering::Relaxed);
                        }
                        assert!(ct.count().unwrap() <= 2000);
                    }
                });
            }
        });
        assert_eq!(deleted.into_inner(), 2000);
        assert_eq!(ct.count().unwrap(), 0);
    });
}

#[test]
fn an_abandoned_dump_leaves_the_handle_usable() {
    in_netns(|| {
        let entries: Vec<_> = (1..=3000)
            .map(|port| udp(&format!("10.0.0.1:{port}"), "10.0.0.2:53", "10.0.0.3:53"))
            .collect();
        fill(&entries);
        let ct = Conntrack::open().unwrap();
        for _ in 0..20 {
            let mut dump = ct.dump(None).unwrap();
            assert!(dump.next().unwrap().is_some());
        }
        assert_eq!(ct.dump(None).unwrap().count().unwrap(), 3000);
        assert_eq!(ct.count().unwrap(), 3000);
    });
}
