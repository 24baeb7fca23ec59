//! What the library cannot be made to send, as raw requests: what it
//! relies on, and what it protects from.
//!
//! What docs/kernel-interface.md marks as read from source is not run:
//! expectations that clash, exceed their limit or race with their timer (EBUSY, EALREADY, EMFILE,
//! ETIME) and policies in use need a helper at work at the same moment; ENOMEM and ENOSPC on
//! creation need the initial namespace's sysctls, which no test touches; offloaded entries need a
//! flowtable over hardware-like devices; DCCP, security contexts and what differs in older kernels
//! need another kernel.

use ctnetlink_testbed::fill::{Entry, attribute, fill, nest, tuple};
use ctnetlink_testbed::netns::in_netns;
use ctnetlink_testbed::oracle;
use ctnetlink_testbed::raw::{Answer, ask, send};
use ctnetlink_tests::{at, udp};

const ACK: u16 = 4;
const DUMP: u16 = 0x300;
const CREATE: u16 = 0x400;
const EXCL: u16 = 0x200;
const NEW: u16 = 0x100;
const GET: u16 = 0x101;
const DELETE: u16 = 0x102;
const STATS_CPU: u16 = 0x104;
const STATS: u16 = 0x105;
const DYING: u16 = 0x106;
const UNCONFIRMED: u16 = 0x107;
const EXP_NEW: u16 = 0x200;
const EXP_GET: u16 = 0x201;
const TIMEOUT_NEW: u16 = 0x800;
const TIMEOUT_GET: u16 = 0x801;

/// Appends one attribute.
type Part<'a> = &'a dyn Fn(&mut Vec<u8>);

fn errno(answers: &[Answer]) -> i32 {
    match answers {
        [Answer::Errno(errno)] => *errno,
        other => panic!("one error expected: {other:?}"),
    }
}

/// Attributes made by closures.
fn with(parts: &[Part<'_>]) -> Vec<u8> {
    let mut out = Vec::new();
    parts.iter().for_each(|part| part(&mut out));
    out
}

struct Net {
    number: u8,
    entry: Entry,
}

fn nets() -> [Net; 2] {
    [
        Net { number: 2, entry: udp("10.0.0.1:1", "10.96.0.10:53", "10.244.1.5:53") },
        Net { number: 10, entry: udp("[fd00::1]:1", "[fd00:96::a]:53", "[fd00:244::5]:53") },
    ]
}

/// docs/kernel-interface.md, 2.1: get and delete of what is no key.
#[test]
fn keys_that_are_none() {
    in_netns(|| {
        for Net { number, entry } in nets() {
            fill(&[entry]);
            let orig = |out: &mut Vec<u8>| tuple(out, 1, entry.client, entry.frontend, 17);
            let key = with(&[&orig]);
            assert_eq!(errno(&ask(GET, ACK, number, &[])), libc::EINVAL, "get without a tuple");
            for family in [0, 1, 7] {
                assert_eq!(errno(&ask(GET, ACK, family, &key)), libc::EOPNOTSUPP);
                assert_eq!(errno(&ask(DELETE, ACK, family, &key)), libc::EOPNOTSUPP);
            }
            let other = if number == 2 { 10 } else { 2 };
            assert_eq!(errno(&ask(DELETE, ACK, other, &key)), libc::EINVAL, "the other family's");
            let short = with(&[&|out| {
                nest(out, 1, |out| {
                    nest(out, 1, |out| attribute(out, if number == 2 { 1 } else { 3 }, &[1, 2, 3]));
                });
            }]);
            assert_eq!(
                errno(&ask(DELETE, ACK, number, &short)),
                libc::ERANGE,
                "3 bytes of address"
            );
            assert!(oracle::table().iter().any(|seen| seen.orig_src == entry.client));
        }
    });
}

/// docs/kernel-interface.md, 2.1: a reply to a single get is MULTI without DONE; the ack comes
/// after it.
#[test]
fn a_single_get_has_no_done() {
    in_netns(|| {
        for Net { number, entry } in nets() {
            fill(&[entry]);
            let key = with(&[&|out| tuple(out, 1, entry.client, entry.frontend, 17)]);
            assert_eq!(ask(GET, 0, number, &key), [Answer::Data(0x100, 2)]);
            assert_eq!(ask(GET, ACK, number, &key), [Answer::Data(0x100, 2), Answer::Errno(0)]);
        }
    });
}

/// docs/kernel-interface.md, 5.1: with both tuples only the original one counts; everything else
/// alongside is ignored.
#[test]
fn what_a_delete_looks_at() {
    in_netns(|| {
        for Net { number, entry } in nets() {
            fill(&[entry]);
            let elsewhere = if number == 2 { at("192.0.2.1:9") } else { at("[2001:db8::1]:9") };
            let both = with(&[
                &|out| tuple(out, 1, entry.client, entry.frontend, 17),
                &|out| tuple(out, 2, elsewhere, elsewhere, 17),
                &|out| attribute(out, 8, &99_u32.to_be_bytes()),
                &|out| attribute(out, 3, &8_u32.to_be_bytes()),
                &|out| attribute(out, 7, &1_u32.to_be_bytes()),
            ]);
            assert_eq!(errno(&ask(DELETE, ACK, number, &both)), 0);
            assert_eq!(errno(&ask(DELETE, ACK, number, &both)), libc::ENOENT);
        }
    });
}

/// docs/kernel-interface.md, 1.3 and 1.5: without REQUEST nothing runs, although the ack says
/// success; transactions are not
/// supported.
#[test]
fn framing() {
    in_netns(|| {
        let Net { number, entry } = &nets()[0];
        fill(&[*entry]);
        let key = with(&[&|out| tuple(out, 1, entry.client, entry.frontend, 17)]);
        let mut message = u32::try_from(20 + key.len()).unwrap().to_ne_bytes().to_vec();
        message.extend(DELETE.to_ne_bytes());
        message.extend(ACK.to_ne_bytes());
        message.extend([0; 8]);
        message.extend([*number, 0, 0, 0]);
        message.extend(&key);
        assert_eq!(errno(&send(&message)), 0, "success,");
        assert_eq!(oracle::table().len(), 1, "and nothing done");
        // NFNL_MSG_BATCH_BEGIN for this subsystem.
        let mut begin = 20_u32.to_ne_bytes().to_vec();
        begin.extend(0x10_u16.to_ne_bytes());
        begin.extend(1_u16.to_ne_bytes());
        begin.extend([0; 8]);
        begin.extend([0, 0, 0, 1]);
        let batch = [begin, message].concat();
        assert_eq!(send(&batch).first(), Some(&Answer::Errno(libc::EOPNOTSUPP)));
        assert_eq!(oracle::table().len(), 1);
    });
}

/// docs/kernel-interface.md, 2.1: statistics, the dying and the unconfirmed list, with and without
/// DUMP.
#[test]
fn lists_and_statistics() {
    in_netns(|| {
        assert_eq!(ask(STATS_CPU, 0, 0, &[]), [], "without DUMP no data");
        assert_eq!(ask(STATS_CPU, ACK, 0, &[]), [Answer::Errno(0)]);
        let per_cpu = ask(STATS_CPU, DUMP, 0, &[]);
        assert_eq!(
            (per_cpu.first(), per_cpu.last()),
            (Some(&Answer::Data(0x104, 2)), Some(&Answer::Done))
        );
        for flags in [0, DUMP] {
            assert_eq!(ask(STATS, flags, 0, &[]), [Answer::Data(0x105, 2)], "never a DONE");
        }
        for list in [DYING, UNCONFIRMED] {
            assert_eq!(errno(&ask(list, ACK, 0, &[])), libc::EOPNOTSUPP);
            assert_eq!(ask(list, DUMP, 0, &[]), [Answer::Done], "empty");
        }
        assert_eq!(ask(0x203, DUMP, 0, &[]).first(), Some(&Answer::Data(0x103, 2)), "subsystem 1");
        for unknown in [0x108, 0x1ff, 0x900] {
            assert_eq!(errno(&ask(unknown, ACK, 2, &[])), libc::EINVAL);
        }
    });
}

/// docs/kernel-interface.md, 8.2 and 8.4: creations and updates that lack something.
#[test]
fn incomplete_creations_and_updates() {
    in_netns(|| {
        for Net { number, entry } in nets() {
            let orig = |out: &mut Vec<u8>| tuple(out, 1, entry.client, entry.frontend, 17);
            let reply = |out: &mut Vec<u8>| tuple(out, 2, entry.backend, entry.client, 17);
            let timeout = |out: &mut Vec<u8>| attribute(out, 7, &60_u32.to_be_bytes());
            let create = |parts: &[Part<'_>], family| {
                errno(&ask(NEW, CREATE | EXCL | ACK, family, &with(parts)))
            };
            assert_eq!(create(&[&orig, &timeout], number), libc::EINVAL, "no reply tuple");
            assert_eq!(create(&[&reply, &timeout], number), libc::EINVAL, "no original tuple");
            assert_eq!(create(&[&orig, &reply], number), libc::EINVAL, "no timeout");
            assert_eq!(create(&[&orig, &reply, &timeout], 0), libc::EOPNOTSUPP);
            let status =
                |bits: u32| move |out: &mut Vec<u8>| attribute(out, 3, &bits.to_be_bytes());
            let unconfirmed = status(6);
            assert_eq!(create(&[&orig, &reply, &timeout, &unconfirmed], number), libc::EBUSY);
            let stamped = |out: &mut Vec<u8>| attribute(out, 27, &[0; 8]);
            assert_eq!(create(&[&orig, &reply, &timeout, &stamped], number), libc::EINVAL);
            assert_eq!(create(&[&orig, &reply, &timeout], number), 0);

            let update =
                |part: &dyn Fn(&mut Vec<u8>)| errno(&ask(NEW, ACK, number, &with(&[&orig, part])));
            for kind in [15, 16, 24] {
                let partial = |out: &mut Vec<u8>| {
                    nest(out, kind, |out| attribute(out, 1, &[0; 4]));
                };
                assert_eq!(update(&partial), libc::EINVAL, "{kind}: all three are required");
            }
            assert_eq!(
                update(&|out| attribute(out, 22, &[0; 20])),
                libc::ERANGE,
                "labels too long"
            );
            // Unknown attributes, and trailing bytes, are nobody's business.
            assert_eq!(update(&|out| attribute(out, 200, &[1])), 0);
            assert_eq!(update(&|out| out.extend([9, 9])), 0);
        }
    });
}

/// docs/kernel-interface.md, 2.2: expectations.
#[test]
fn expectations() {
    in_netns(|| {
        for Net { number, entry } in nets() {
            fill(&[entry]);
            let master = |out: &mut Vec<u8>| tuple(out, 1, entry.client, entry.frontend, 17);
            let expected = |out: &mut Vec<u8>| tuple(out, 2, entry.frontend, entry.client, 17);
            let mask = |out: &mut Vec<u8>| tuple(out, 3, entry.frontend, entry.client, 17);
            let new =
                |parts: &[Part<'_>], flags| errno(&ask(EXP_NEW, flags | ACK, number, &with(parts)));
            assert_eq!(new(&[&master, &expected], CREATE), libc::EINVAL, "no mask");
            assert_eq!(new(&[&master, &mask], CREATE), libc::EINVAL, "no tuple");
            assert_eq!(new(&[&expected, &mask], CREATE), libc::EINVAL, "no master");
            assert_eq!(new(&[&master, &expected, &mask], 0), libc::ENOENT, "no CREATE");
            assert_eq!(errno(&ask(EXP_GET, ACK, number, &[])), libc::EINVAL);
            // Of a master without a helper: silence, or the ack alone. Nothing to wait for.
            let of_master = with(&[&master]);
            assert_eq!(ask(EXP_GET, DUMP, number, &of_master), []);
            assert_eq!(ask(EXP_GET, DUMP | ACK, number, &of_master), [Answer::Errno(0)]);
        }
    });
}

/// docs/kernel-interface.md, 2.3: timeout policies.
#[test]
fn timeout_policies() {
    in_netns(|| {
        let name = |out: &mut Vec<u8>| attribute(out, 1, b"p\0");
        let l3 = |out: &mut Vec<u8>| attribute(out, 2, &2_u16.to_be_bytes());
        let l4 = |out: &mut Vec<u8>| attribute(out, 3, &[17]);
        let data = |out: &mut Vec<u8>| nest(out, 4, |out| attribute(out, 2, &9_u32.to_be_bytes()));
        let all: [Part<'_>; 4] = [&name, &l3, &l4, &data];
        for missing in 0..4 {
            let mut parts = all.to_vec();
            parts.remove(missing);
            assert_eq!(errno(&ask(TIMEOUT_NEW, CREATE | ACK, 0, &with(&parts))), libc::EINVAL);
        }
        assert_eq!(errno(&ask(TIMEOUT_NEW, ACK, 0, &with(&all))), 0, "CREATE is not required");
        assert_eq!(errno(&ask(TIMEOUT_NEW, ACK, 0, &with(&all))), libc::EBUSY, "nor REPLACE said");
        assert_eq!(errno(&ask(TIMEOUT_GET, ACK, 0, &[])), libc::EINVAL, "no name");
        assert_eq!(ask(TIMEOUT_GET, DUMP, 0, &[]), [Answer::Data(0x800, 2), Answer::Done]);
    });
}

/// docs/kernel-interface.md, 4.5 and 5: requests the library must never send, and why: each of them
/// empties the table.
#[test]
fn deletes_that_widen() {
    in_netns(|| {
        let [v4, v6] = nets().map(|net| net.entry);
        let id = |out: &mut Vec<u8>| attribute(out, 12, &[1, 2, 3, 4]);
        let labels = |out: &mut Vec<u8>| attribute(out, 22, &[1; 16]);
        let unknown = |out: &mut Vec<u8>| attribute(out, 200, &[1]);
        let lone_mask = |out: &mut Vec<u8>| attribute(out, 21, &1_u32.to_be_bytes());
        for part in [&id as Part<'_>, &labels, &unknown, &lone_mask] {
            fill(&[v4, v6]);
            assert_eq!(errno(&ask(DELETE, ACK, 2, &with(&[part]))), 0);
            assert!(oracle::table().is_empty(), "both families, although one was named");
        }
        // And the safeguard: an incomplete original tuple is EINVAL, and nothing is deleted.
        fill(&[v4, v6]);
        let incomplete =
            with(&[&|out| nest(out, 1, |out| nest(out, 2, |out| attribute(out, 1, &[17])))]);
        assert_eq!(errno(&ask(DELETE, ACK, 2, &incomplete)), libc::EINVAL);
        assert_eq!(oracle::table().len(), 2);
    });
}
