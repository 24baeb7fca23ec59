//! Processes, descriptors and system calls that fail: what must not reach the wrong table, and must
//! not be reported as something else.

use std::fs::File;
use std::time::Duration;

use ctnetlink::{Batch, Change, Conntrack, Error, Key, NewEntry, Outcome, Protocol, Status, Tuple};
use ctnetlink_testbed::fill::fill;
use ctnetlink_testbed::netns::{
    Namespace, in_fork, in_fork_as_first, in_netns, process_descriptor, without_proc,
};
use ctnetlink_tests::{at, clients, udp, with_failing_call};

const LIFE: Duration = Duration::from_secs(600);

fn tuple(port: u16) -> Tuple {
    Tuple::with_ports(Protocol::UDP, at(&format!("10.0.0.1:{port}")), at("10.96.0.10:53"))
}

/// A descriptor of a process can be entered, but it means whatever namespace the process is in.
#[test]
fn only_a_network_namespace_is_opened_as_one() {
    in_netns(|| {
        for (file, what) in [
            (process_descriptor(std::process::id()), "no namespace"),
            (File::open("/dev/null").unwrap(), "no namespace"),
            (File::open("/proc/thread-self/ns/uts").unwrap(), "another kind"),
        ] {
            let error = Conntrack::open_in(file).unwrap_err();
            assert!(error.to_string().contains(what), "{error}");
        }
        for path in ["/dev/null", "/proc/self/ns/mnt"] {
            assert!(Conntrack::open_path(path).is_err());
        }
        assert_eq!(Conntrack::open_in(Namespace::new().file()).unwrap().count().unwrap(), 0);
    });
}

#[test]
fn a_name_is_a_name_and_not_a_path() {
    for name in ["", "/run/netns/blue", "../netns/blue", "..", "."] {
        let error = Conntrack::open_named(name).unwrap_err();
        assert!(error.to_string().contains("`ip netns` lists the names"), "{error}");
    }
    assert!(Conntrack::open_named("ctnetlink-test-nonexistent").unwrap_err().is_not_found());
}

/// Parent and child use one handle at the same time. Each gets its own answers, and only those.
#[test]
fn after_fork_each_process_gets_its_own_answers() {
    const ROUNDS: u16 = 400;
    in_netns(|| {
        let ct = Conntrack::open().unwrap();
        let parents_socket = ct.port_id().unwrap();
        // Each process works on entries of its own.
        let work = |base: u16| -> Result<bool, Error> {
            for port in base..base + ROUNDS {
                let key = Key::orig(tuple(port));
                let absent = ct.delete_key(&key).is_err_and(|error| error.is_not_found());
                ct.create(&NewEntry::new(tuple(port), LIFE).mark(port.into()))?;
                let there = ct.get(&key)?.mark() == Some(port.into());
                ct.delete_key(&key)?;
                if !absent || !there || ct.count()? > 2 {
                    return Ok(false);
                }
            }
            Ok(true)
        };
        let child = || {
            let own = ct.port_id().is_ok_and(|own| own != parents_socket);
            own && work(10_000).is_ok_and(|right| right)
        };
        let parent = in_fork(child, || work(20_000));
        assert!(parent.unwrap());
        assert_eq!(ct.port_id().unwrap(), parents_socket);
    });
}

/// Parent and child can both be process 1, each in a pid namespace of its own.
#[test]
fn a_fork_into_another_pid_namespace_is_noticed() {
    in_netns(|| {
        let first = || {
            let ct = Conntrack::open().unwrap();
            let own = ct.port_id().unwrap();
            let second = || std::process::id() == 1 && ct.port_id().is_ok_and(|port| port != own);
            in_fork_as_first(second, || ());
            std::process::id() == 1
        };
        // In a process of its own, because this one could make no more threads.
        let outer = || {
            in_fork_as_first(first, || ());
            true
        };
        in_fork(outer, || ());
    });
}

/// Another thread of the parent may hold the handle's lock at the moment of the fork.
#[test]
fn a_fork_in_the_middle_of_an_operation_does_not_hang() {
    in_netns(|| {
        let ct = Conntrack::open().unwrap();
        let (ct, done) = (&ct, &std::sync::atomic::AtomicBool::new(false));
        std::thread::scope(|scope| {
            scope.spawn(move || {
                while !done.load(std::sync::atomic::Ordering::Relaxed) {
                    ct.stats_per_cpu().unwrap();
                }
            });
            for _ in 0..20 {
                in_fork(|| ct.count().is_ok_and(|count| count == 0), || ());
            }
            done.store(true, std::sync::atomic::Ordering::Relaxed);
        });
    });
}

/// A dump has one socket: in another process it is refused, and goes on where it was started.
#[test]
fn a_dump_belongs_to_the_process_that_started_it() {
    in_netns(|| {
        let entries: Vec<_> = (1..=500)
            .map(|n| udp(&format!("10.0.0.1:{n}"), "10.0.0.2:53", "10.0.0.2:53"))
            .collect();
        fill(&entries);
        let ct = Conntrack::open().unwrap();
        let dump = std::sync::Mutex::new(ct.dump(None).unwrap());
        in_fork(
            || {
                // What was received before the fork is there; more is not.
                let mut dump = dump.lock().unwrap();
                let mut read = 0;
                loop {
                    match dump.next() {
                        Ok(Some(_)) => read += 1,
                        Ok(None) => return false,
                        Err(error) => {
                            let text = error.to_string();
                            let own = ct.dump(None).and_then(ctnetlink::Dump::count);
                            return read < 500
                                && text.contains("another process")
                                && own.is_ok_and(|n| n == 500);
                        }
                    }
                }
            },
            || (),
        );
        assert_eq!(dump.into_inner().unwrap().count().unwrap(), 500);
    });
}

#[test]
fn without_proc_a_handle_works_and_stays_in_its_namespace() {
    in_netns(|| {
        fill(&[udp("10.0.0.1:1", "10.0.0.2:53", "10.0.0.2:53")]);
        let elsewhere = Namespace::new();
        without_proc(|| {
            assert!(File::open("/proc/thread-self/ns/net").is_err());
            let ct = Conntrack::open().unwrap();
            assert_eq!((ct.count().unwrap(), clients(&ct, None).len()), (1, 1));
            let there = Conntrack::open_in(elsewhere.file()).unwrap();
            assert_eq!((there.count().unwrap(), clients(&there, None).len()), (0, 0));
            let moved = elsewhere.run(|| (ct.count().unwrap(), clients(&ct, None).len()));
            assert_eq!(moved, (1, 1));
        });
    });
}

/// One datagram that the kernel has no memory for: nothing of it was executed.
#[test]
fn a_request_that_was_not_sent_is_not_one_whose_answer_was_lost() {
    in_netns(|| {
        let ct = Conntrack::open().unwrap();
        ct.create(&NewEntry::new(tuple(1), LIFE)).unwrap();
        let flow = ct.get(&Key::orig(tuple(1))).unwrap();
        // The C library's send(2) is sendto(2).
        let errors = with_failing_call(libc::SYS_sendto, libc::ENOBUFS, || {
            [ct.delete(&flow).err(), ct.delete_many([&flow]).err(), ct.dump(None).err()]
        });
        for error in errors.map(Option::unwrap) {
            assert!(!matches!(error, Error::Overrun { .. }), "{error:?}");
            let text = error.to_string();
            assert!(text.contains("send: No buffer space"), "{text}");
            assert!(text.contains("executed nothing"), "{text}");
        }
        assert_eq!(ct.count().unwrap(), 1);
    });
}

/// What a policy denies is not a missing capability.
#[test]
fn a_call_denied_by_a_filter_is_named_as_that() {
    in_netns(|| {
        let elsewhere = Namespace::new();
        for (call, errno, words) in [
            (libc::SYS_socket, libc::EPERM, "a security policy denies it"),
            (libc::SYS_socket, libc::EACCES, "a security policy denies it"),
            (libc::SYS_setns, libc::EPERM, "and a seccomp filter, which denies the call"),
        ] {
            let error = with_failing_call(call, errno, || {
                Conntrack::open_in(elsewhere.file()).unwrap_err()
            });
            let text = error.to_string();
            assert!(text.contains(words), "{text}");
            assert!(!text.contains("needs CAP_"), "{text}");
            assert!(error.is_permission_denied());
        }
        let ct = Conntrack::open().unwrap();
        let untested = with_failing_call(libc::SYS_unshare, libc::EPERM, || {
            ct.capabilities().unwrap().untested
        });
        let why = untested.unwrap();
        assert!(why.contains("seccomp") && !why.contains("needs CAP_SYS_ADMIN"), "{why}");
    });
}

/// EPERM of one entry and EPERM of everybody, in batches of one and of more.
#[test]
fn a_refused_entry_is_an_outcome_however_many_there_are() {
    in_netns(|| {
        let ct = Conntrack::open().unwrap();
        let fixed = Status::CONFIRMED | Status::FIXED_TIMEOUT;
        for port in 1..=3 {
            ct.create(&NewEntry::new(tuple(port), LIFE).status(fixed)).unwrap();
        }
        for size in 1..=3 {
            let mut batch = Batch::new();
            for port in 1..=size {
                batch.update(&Key::orig(tuple(port)), &Change::new().timeout(LIFE * 2)).unwrap();
            }
            let outcomes = ct.execute(&mut batch).unwrap();
            assert_eq!(outcomes.len(), usize::from(size));
            for outcome in &outcomes {
                let Outcome::Failed(error) = outcome else { panic!("{outcome:?}") };
                assert_eq!(error.raw_os_error(), Some(libc::EPERM));
            }
        }
    });
}
