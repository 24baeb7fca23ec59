//! Long operations end early when their canceller cancels.

use std::time::{Duration, Instant};

use ctnetlink::{
    Batch, Canceller, Conntrack, DesiredState, Filter, Outcome, Profile, Reconciler, Step,
};
use ctnetlink_testbed::fill::fill;
use ctnetlink_testbed::netns::in_netns;
use ctnetlink_tests::{flows, udp, with_failing_call};

/// 1,000 entries toward a backend that is not in the desired state.
fn table() -> DesiredState {
    let entries: Vec<_> = (1..=1000)
        .map(|n| udp(&format!("10.0.0.1:{n}"), "10.96.0.10:53", "10.244.9.9:53"))
        .collect();
    fill(&entries);
    let vip: std::net::IpAddr = "10.96.0.10".parse().unwrap();
    let alive: std::net::SocketAddr = "10.244.1.5:53".parse().unwrap();
    DesiredState::builder().udp(vip, 53).backends([alive]).build().unwrap()
}

/// Once cancelled, no operation that walks the table or sends many requests does anything.
#[test]
fn a_cancelled_handle_does_nothing_long() {
    in_netns(|| {
        let desired = table();
        let ct = Conntrack::open().unwrap();
        let all = flows(&ct, None);
        let filter: Filter = "udp".parse().unwrap();
        let canceller = Canceller::new();
        let cancelled = ct.cancelled_by(&canceller);
        assert_eq!(cancelled.dump(None).unwrap().count().unwrap(), 1000);
        let both = cancelled.cancelled_by(&Canceller::new());
        canceller.cancel();
        assert!(both.dump(None).unwrap_err().is_cancelled());

        let errors = [
            ("dump", cancelled.dump(None).map(|_| ()).unwrap_err()),
            ("dump_and_zero", cancelled.dump_and_zero().map(|_| ()).unwrap_err()),
            ("dying", cancelled.dying().map(|_| ()).unwrap_err()),
            ("zero", cancelled.zero(&filter, |_| ()).unwrap_err()),
            ("delete_many", cancelled.delete_many(&all).map(|_| ()).unwrap_err()),
            ("delete_matching", cancelled.delete_matching(&filter).run().unwrap_err()),
            ("capabilities", cancelled.capabilities().unwrap_err()),
        ];
        for (operation, error) in errors {
            assert!(error.is_cancelled(), "{operation}: {error}");
        }
        let mut batch = Batch::new();
        batch.delete(&all[0]).unwrap();
        assert!(cancelled.execute(&mut batch).unwrap_err().is_cancelled());
        let report = Reconciler::new(Profile::Strict).run(&cancelled, &desired).unwrap();
        assert!(report.families[0].error.as_ref().unwrap().is_cancelled(), "{report}");

        // Short ones work, and so does the handle itself.
        assert_eq!(cancelled.count().unwrap(), 1000);
        assert_eq!(flows(&ct, None).len(), 1000);
    });
}

/// Above all no dump that zeroes: what the kernel has zeroed and nobody reads is lost.
#[test]
fn a_cancelled_handle_sends_no_dump() {
    in_netns(|| {
        let canceller = Canceller::new();
        let ct = Conntrack::open().unwrap().cancelled_by(&canceller);
        canceller.cancel();
        with_failing_call(libc::SYS_sendto, libc::EIO, || {
            for started in [ct.dump(None), ct.dump_and_zero(), ct.dying()] {
                let error = started.unwrap_err();
                assert!(error.is_cancelled(), "{error}");
            }
        });
    });
}

/// A dump ends at the next datagram, a batch after the next 200 operations.
#[test]
fn what_is_under_way_ends() {
    in_netns(|| {
        table();
        let ct = Conntrack::open().unwrap();
        let all = flows(&ct, None);
        let canceller = Canceller::new();
        let stopped = ct.cancelled_by(&canceller);
        let mut dump = stopped.dump(None).unwrap();
        let (mut entries, mut datagrams) = (0, 0);
        let error = loop {
            match dump.step() {
                Ok(Step::Entry(_)) => entries += 1,
                Ok(Step::Datagram) => datagrams += 1,
                Ok(Step::End) => panic!("the dump was not cancelled"),
                Err(error) => break error,
            }
            if entries == 1 {
                canceller.cancel();
            }
        };
        assert!(error.is_cancelled() && entries > 1 && entries < 1000, "{entries}: {error}");
        assert_eq!(datagrams, 0, "looked at before each datagram");

        let canceller = Canceller::new();
        let stopped = ct.cancelled_by(&canceller);
        let seen = std::sync::atomic::AtomicU32::new(0);
        let report = stopped
            .delete_matching(&"udp".parse().unwrap())
            .on_match(|_| {
                if seen.fetch_add(1, std::sync::atomic::Ordering::Relaxed) == 450 {
                    canceller.cancel();
                }
            })
            .run()
            .unwrap();
        assert!(report.error.as_ref().unwrap().is_cancelled(), "{report}");
        assert!(report.deleted > 0 && report.deleted < 1000, "{report}");
        assert_eq!((report.matched, report.failed), (report.deleted, 0));
        assert_eq!(u64::from(ct.count().unwrap()), 1000 - report.deleted);

        let mut batch = Batch::new();
        all.iter().for_each(|flow| batch.delete(flow).unwrap());
        assert!(ct.execute(&mut batch).unwrap().iter().all(|o| !matches!(o, Outcome::Failed(_))));
    });
}

/// The wait before the second pass ends, too.
#[test]
fn a_wait_ends() {
    in_netns(|| {
        let desired = table();
        let canceller = Canceller::new();
        let ct = Conntrack::open().unwrap().cancelled_by(&canceller);
        let started = Instant::now();
        std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(300));
            canceller.cancel();
        });
        let mut reconciler =
            Reconciler::new(Profile::Strict).recheck(Some(Duration::from_secs(60)));
        let report = reconciler.run(&ct, &desired).unwrap();
        assert!(started.elapsed() < Duration::from_secs(20), "{report}");
        assert!(report.families[0].error.as_ref().unwrap().is_cancelled(), "{report}");
        assert_eq!(report.families[0].deleted, 1000);
    });
}
