//! Batches: any mix of operations, an outcome for each.

use std::time::Duration;

use ctnetlink::{Batch, Change, Conntrack, Key, NewEntry, Outcome, Protocol, Tuple};
use ctnetlink_testbed::netns::{drop_capabilities, in_netns};
use ctnetlink_tests::{at, flows};

fn entry(port: u16) -> NewEntry {
    NewEntry::new(key_tuple(port), Duration::from_secs(300))
}

/// Enough of an outcome to compare it by.
fn short(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Failed(error) => format!("errno {:?}", error.raw_os_error()),
        other => format!("{other:?}"),
    }
}

fn key_tuple(port: u16) -> Tuple {
    Tuple::with_ports(Protocol::UDP, at(&format!("10.0.0.1:{port}")), at("10.96.0.10:53"))
}

#[test]
fn a_mix_of_operations_over_several_datagrams() {
    in_netns(|| {
        let ct = Conntrack::open().unwrap();
        let mut batch = Batch::new();
        let mut expected = Vec::new();
        for port in 1..=300 {
            batch.create(&entry(port)).unwrap();
            expected.push("Done".to_owned());
            if port % 3 == 0 {
                batch.create(&entry(port)).unwrap();
                expected.push(format!("errno {:?}", Some(libc::EEXIST)));
            }
            if port % 5 == 0 {
                batch
                    .update(&Key::orig(key_tuple(port)), &Change::new().mark(port.into()))
                    .unwrap();
                batch.update(&Key::orig(key_tuple(port + 1000)), &Change::new().mark(1)).unwrap();
                batch.create_or_update(&entry(port).mark(7)).unwrap();
                expected.extend(["Done", "NotFound", "Done"].map(String::from));
            }
            if port % 7 == 0 {
                batch.delete_key(&Key::orig(key_tuple(port))).unwrap();
                batch.delete_key(&Key::orig(key_tuple(port))).unwrap();
                expected.extend(["Done", "NotFound"].map(String::from));
            }
        }
        assert_eq!(batch.len(), expected.len());
        let outcomes = ct.execute(&mut batch).unwrap();
        assert_eq!(outcomes.iter().map(short).collect::<Vec<_>>(), expected);
        let refused = outcomes.iter().find_map(Outcome::error).unwrap().to_string();
        assert_eq!(refused, "batch: File exists (EEXIST, errno 17)");
        assert!(batch.is_empty());
        assert!(ct.execute(&mut batch).unwrap().is_empty());

        let left = flows(&ct, None);
        assert_eq!(left.len(), 300 - 300 / 7);
        assert_eq!(left.iter().filter(|f| f.mark() == Some(7)).count(), 60 - 300 / 35);
        left.iter().for_each(|flow| batch.delete(flow).unwrap());
        assert!(ct.execute(&mut batch).unwrap().iter().all(Outcome::is_done));
        assert_eq!(ct.count().unwrap(), 0);
    });
}

#[test]
fn what_cannot_be_said_is_not_added() {
    in_netns(|| {
        let mut batch = Batch::new();
        let mixed = Tuple::new(Protocol(89), at("10.0.0.1:1").ip(), at("[::1]:1").ip());
        assert!(batch.create(&NewEntry::new(mixed, Duration::ZERO)).is_err());
        assert!(batch.update(&Key::orig(key_tuple(1)), &Change::new().mark_masked(2, 1)).is_err());
        assert!(batch.delete_key(&Key::orig(mixed)).is_err());
        assert!(batch.is_empty());
    });
}

/// With room for two or three answers, all of a datagram's failures cannot fit.
#[test]
fn lost_answers_become_unknown_or_are_asked_for_again() {
    in_netns(|| {
        let ct = Conntrack::open().unwrap();
        let mut batch = Batch::new();
        (1..=100).for_each(|port| batch.create(&entry(port)).unwrap());
        ct.execute(&mut batch).unwrap();
        ct.set_receive_buffer(1).unwrap();

        for port in 1..=100 {
            batch.create(&entry(port)).unwrap();
        }
        let outcomes = ct.execute(&mut batch).unwrap();
        let unknown = outcomes.iter().filter(|o| matches!(o, Outcome::Unknown { exists: true }));
        let known = outcomes.iter().filter(|o| o.error().is_some());
        let (unknown, known) = (unknown.count(), known.count());
        assert!(unknown > 50 && unknown + known == 100, "{unknown} unknown, {known} known");

        for port in 1..=100 {
            batch.update(&Key::orig(key_tuple(port + 1000)), &Change::new().mark(1)).unwrap();
        }
        // A lookup whose answer was lost is repeated.
        let outcomes = ct.execute(&mut batch).unwrap();
        assert!(outcomes.len() == 100 && outcomes.iter().all(Outcome::is_not_found));

        // A delete before a creation of the same entry is not repeated after it: that would undo
        // what came later. The first deletes fail, because the entries are gone.
        let gone = flows(&ct, None);
        ct.delete_many(&gone).unwrap();
        for flow in &gone {
            batch.delete(flow).unwrap();
            batch.create(&NewEntry::new(*flow.orig(), Duration::from_secs(300))).unwrap();
        }
        let outcomes = ct.execute(&mut batch).unwrap();
        let lost = outcomes.iter().filter(|o| matches!(o, Outcome::Unknown { .. })).count();
        assert!(lost > 50, "{lost} lost");
        for outcome in outcomes.iter().skip(1).step_by(2) {
            assert!(matches!(outcome, Outcome::Done | Outcome::Unknown { exists: true }));
        }
        assert_eq!(ct.count().unwrap(), 100);
    });
}

#[test]
fn without_privilege_the_batch_is_refused_as_a_whole() {
    in_netns(|| {
        let ct = Conntrack::open().unwrap();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                drop_capabilities();
                for size in [1, 2, 250] {
                    let mut batch = Batch::new();
                    (1..=size).for_each(|port| batch.create(&entry(port)).unwrap());
                    let error = ct.execute(&mut batch).unwrap_err();
                    assert!(error.is_permission_denied(), "{error}");
                    assert!(batch.is_empty());
                }
            });
        });
        assert_eq!(ct.count().unwrap(), 0);
    });
}
