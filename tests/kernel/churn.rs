//! Reconciling while others create and destroy: whatever the reconciler deletes is audited.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};
use std::{env, thread};

use ctnetlink::wire::Messages;
use ctnetlink::{
    Batch, Conntrack, DesiredState, FlowRef, Key, NewEntry, Profile, Protocol, Reconciler, Tuple,
};
use ctnetlink_testbed::netns::{in_netns, sysctl};
use ctnetlink_tests::at;
use netlink_sys::{Socket, SocketAddr as NetlinkAddress};

const VIP: &str = "10.96.0.10:53";
/// Serves all the time.
const ALIVE: &str = "10.244.1.5:53";
/// Comes and goes with every round of the reconciler.
const SOMETIMES: &str = "10.244.1.6:53";
const CHURNERS: u16 = 2;
/// Clients of each churner.
const CLIENTS: u16 = 200;

/// `NFNLGRP_CONNTRACK_DESTROY` as a bit.
const DESTROY: u32 = 1 << 2;
const IPCTNL_MSG_CT_DELETE: u16 = 0x102;

fn tuples(client: &str, backend: &str) -> (Tuple, Tuple) {
    (
        Tuple::with_ports(Protocol::UDP, at(client), at(VIP)),
        Tuple::with_ports(Protocol::UDP, at(backend), at(client)),
    )
}

/// Creates, destroys and re-creates entries of its clients, toward a backend that lives, one that
/// comes and goes, and one that is dead. Says how many operations it did.
fn churn(number: u16, stop: &AtomicBool) -> u64 {
    let ct = Conntrack::open().unwrap();
    let mut operations = 0;
    let mut round = 0_u16;
    while !stop.load(Ordering::Relaxed) {
        round = round.wrapping_add(1);
        let mut batch = Batch::new();
        for client in 0..CLIENTS {
            let client_address = format!("10.0.{number}.1:{}", 1000 + client);
            let backend = [ALIVE, SOMETIMES, "10.244.9.9:53"][usize::from((round + client) % 3)];
            let (orig, reply) = tuples(&client_address, backend);
            batch.delete_key(&Key::orig(orig)).unwrap();
            let new = NewEntry::new(orig, Duration::from_secs(300)).reply(reply);
            batch.create(&new).unwrap();
        }
        operations += batch.len() as u64;
        ct.execute(&mut batch).unwrap();
    }
    operations
}

/// Reads destroy events until there are no more after the stop; hands over who caused each (the port
/// id) and toward which backend the entry led.
fn audit(socket: &Socket, stop: &AtomicBool, lost: &AtomicU64) -> HashMap<(u32, String), u64> {
    let mut seen = HashMap::new();
    let mut buffer = Vec::with_capacity(65536);
    loop {
        buffer.clear();
        match socket.recv(&mut buffer, libc::MSG_DONTWAIT) {
            Ok(_) => {}
            Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => {
                if stop.load(Ordering::Relaxed) {
                    return seen;
                }
                thread::sleep(Duration::from_millis(1));
                continue;
            }
            Err(e) if e.raw_os_error() == Some(libc::ENOBUFS) => {
                lost.fetch_add(1, Ordering::Relaxed);
                continue;
            }
            Err(e) => panic!("events: {e}"),
        }
        // The port id is the last word of the header.
        let cause = u32::from_ne_bytes(buffer[12..16].try_into().unwrap());
        for message in Messages::new(&buffer).flatten() {
            assert_eq!(message.kind, IPCTNL_MSG_CT_DELETE);
            let flow = FlowRef::parse(message.payload).unwrap();
            *seen.entry((cause, flow.reply().source().to_string())).or_insert(0) += 1;
        }
    }
}

/// `CTNETLINK_CHURN_SECONDS` says how long; `make churn` has a minute of it.
#[test]
fn no_healthy_entry_dies_under_churn() {
    in_netns(|| {
        let seconds = env::var("CTNETLINK_CHURN_SECONDS").map_or(3, |n| n.parse().unwrap());
        // Entries made while somebody listens have events.
        sysctl("net/netfilter/nf_conntrack_events", "1");
        let mut events = Socket::new(12).unwrap();
        events.bind(&NetlinkAddress::new(0, DESTROY)).unwrap();
        // As large as it may be; what does not fit is noticed.
        for size in [64 << 20, 4 << 20] {
            if events.set_rx_buf_sz(size).is_ok() {
                break;
            }
        }
        let vip = at(VIP).ip();
        let desired = |backends: &[&str]| {
            let backends: Vec<_> = backends.iter().map(|backend| at(backend)).collect();
            DesiredState::builder().udp(vip, 53).backends(backends).build().unwrap()
        };
        let (both, one) = (desired(&[ALIVE, SOMETIMES]), desired(&[ALIVE]));

        let (stop, done, lost) =
            (AtomicBool::new(false), AtomicBool::new(false), AtomicU64::new(0));
        thread::scope(|scope| {
            let auditor = scope.spawn(|| audit(&events, &done, &lost));
            let churners: Vec<_> = (0..CHURNERS)
                .map(|number| {
                    let stop = &stop;
                    scope.spawn(move || churn(number, stop))
                })
                .collect();

            let ct = Conntrack::open().unwrap();
            let mut reconciler =
                Reconciler::new(Profile::Strict).recheck(Some(Duration::from_millis(20)));
            let (started, mut runs, mut deleted, mut narrow) = (Instant::now(), 0_u64, 0, 0_u64);
            while started.elapsed() < Duration::from_secs(seconds) {
                for state in [&one, &both] {
                    // Now and then all of it, or entries toward the dead would only be met by chance.
                    if runs % 4 == 0 {
                        reconciler.look_at_everything();
                    }
                    let report = reconciler.run(&ct, state).unwrap();
                    assert!(report.succeeded(), "{report}");
                    runs += 1;
                    narrow += u64::from(!report.nothing_changed);
                    deleted += report.families[0].deleted;
                }
            }
            stop.store(true, Ordering::Relaxed);
            let operations: u64 = churners.into_iter().map(|c| c.join().unwrap()).sum();
            let ours = ct.port_id().unwrap();
            done.store(true, Ordering::Relaxed);
            let seen = auditor.join().unwrap();
            let of = |backend: &str| seen.get(&(ours, backend.to_owned())).copied().unwrap_or(0);
            let audited: u64 =
                seen.iter().filter(|((cause, _), _)| *cause == ours).map(|(_, n)| n).sum();
            println!(
                "{operations} operations, {runs} reconciles ({narrow} with a pass), {deleted} deleted, \
                 {audited} of them audited ({} overruns), {} healthy entries lost",
                lost.load(Ordering::Relaxed),
                of(ALIVE)
            );
            assert_eq!(of(ALIVE), 0, "healthy entries were deleted");
            assert!(of("10.244.9.9:53") > 0 && of(SOMETIMES) > 0, "nothing was put to the test");
            if lost.load(Ordering::Relaxed) == 0 {
                assert_eq!(audited, deleted, "every delete was seen");
            }
        });
    });
}
