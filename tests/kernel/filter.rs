//! One expression for dumping, deleting and zeroing: random ones over random tables, and the cases
//! with a name.

use std::cell::Cell;
use std::env;
use std::time::Duration;

use ctnetlink::{
    Batch, Capabilities, Change, Conntrack, Filter, Flow, KernelCriterion as C, Key, NewEntry,
    Protocol, Trust, Tuple,
};
use ctnetlink_testbed::fill::{Entry, fill};
use ctnetlink_testbed::netns::{drop_capabilities, in_netns, keep_only_net_admin, sysctl};
use ctnetlink_testbed::oracle;
use ctnetlink_tests::{at, clients, udp};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use crate::naive::{Expr, Row, any_expr, any_row};

/// What a flow is told by.
fn identity(flow: &Flow) -> (Tuple, Tuple, u16) {
    (*flow.orig(), *flow.reply(), flow.zone())
}

fn row_identity(row: &Row) -> (Tuple, Tuple, u16) {
    let (orig, reply) = row.tuples();
    (orig, reply, row.zone_number())
}

fn sorted(mut all: Vec<(Tuple, Tuple, u16)>) -> Vec<String> {
    let mut all: Vec<_> = all.drain(..).map(|identity| format!("{identity:?}")).collect();
    all.sort_unstable();
    all
}

fn dumped(ct: &Conntrack, filter: Option<&Filter>) -> Vec<String> {
    let dump = ct.dump(filter).unwrap_or_else(|e| panic!("{e}"));
    sorted(dump.into_iter().map(|flow| identity(&flow.unwrap_or_else(|e| panic!("{e}")))).collect())
}

fn distrust(found: &Capabilities, criteria: &[C]) -> Capabilities {
    criteria.iter().fold(found.clone(), |found, criterion| found.distrust(*criterion))
}

/// This kernel as it is, and as if it were older (docs/kernel-interface.md, 4.6).
fn capability_sets(found: &Capabilities) -> Vec<Capabilities> {
    let reply = [C::ReplyIpv4, C::ReplyPorts];
    let no_flush = found.clone().distrust_flushes();
    let no_zone = distrust(&no_flush, &[C::Zone]);
    let no_status = distrust(&distrust(&no_zone, &[C::Status]), &reply);
    let bare = distrust(&no_status, &[C::Protocol, C::Ports, C::Icmp, C::OrigIpv4]);
    let nothing = distrust(&bare, &C::ALL);
    vec![found.clone(), no_flush, no_zone, no_status, bare, nothing]
}

#[derive(Debug, Clone, Copy)]
enum Job {
    Delete,
    InKernel,
    Zero,
}

/// What is dumped, deleted and zeroed is what a naive reading of the expression matches, whatever
/// the kernel may be trusted with. `CTNETLINK_CASES` says how many cases are drawn.
#[test]
fn a_random_expression_means_the_same_to_everyone() {
    in_netns(|| {
        for sysctl_name in ["acct", "timestamp"] {
            sysctl(&format!("net/netfilter/nf_conntrack_{sysctl_name}"), "1");
        }
        let probed = Conntrack::open().unwrap().capabilities().unwrap();
        let sets = capability_sets(&probed);
        // One handle that proves each shape when it first needs it.
        let proving = Conntrack::open().unwrap();
        let cases = env::var("CTNETLINK_CASES").map_or(150, |n| n.parse().unwrap());
        let mut runner =
            TestRunner::new(Config { cases, failure_persistence: None, ..Config::default() });
        let job =
            prop_oneof![2 => Just(Job::Delete), 3 => Just(Job::InKernel), 1 => Just(Job::Zero)];
        let strategy =
            (prop::collection::vec(any_row(), 1..50), any_expr(), 0..sets.len() * 2, job);
        let (flushed, refused) = (Cell::new(0), Cell::new(0));
        let result = runner.run(&strategy, |(rows, expr, set, job)| {
            // More than half of the time what the kernel really can.
            let (found, full) = (sets.get(set).unwrap_or(&probed), set == 0 || set >= sets.len());
            case(found, &proving, &rows, &expr, job, full, &flushed, &refused)
        });
        result.unwrap_or_else(|e| panic!("{e}"));
        println!(
            "{cases} cases; {} flushes in the kernel, {} refused",
            flushed.get(),
            refused.get()
        );
        if probed.flush_filter {
            assert!(flushed.get() > 0 || cases < 100, "no flush was possible");
        } else {
            assert_eq!(flushed.get(), 0, "this kernel cannot flush by filter");
        }
    });
}

#[allow(clippy::too_many_arguments)]
fn case(
    found: &Capabilities,
    proving: &Conntrack,
    rows: &[Row],
    expr: &Expr,
    job: Job,
    full: bool,
    flushed: &Cell<u32>,
    refused: &Cell<u32>,
) -> Result<(), TestCaseError> {
    let ct = Conntrack::open().unwrap();
    ct.use_capabilities(found).unwrap();
    ct.flush_all().unwrap();
    let mut batch = Batch::new();
    rows.iter().for_each(|row| batch.create(&row.new_entry()).unwrap());
    // Rows that collide with earlier ones are left out.
    let outcomes = ct.execute(&mut batch).unwrap();
    let there: Vec<_> = rows.iter().zip(outcomes).filter(|(_, o)| o.is_done()).collect();
    let select = |wanted: bool| {
        let rows = there.iter().map(|(row, _)| *row).filter(|row| expr.matches(row) == wanted);
        sorted(rows.map(row_identity).collect())
    };
    let (meant, rest) = (select(true), select(false));

    let filter = expr.filter();
    let text = filter.to_string();
    prop_assert_eq!(&text.parse::<Filter>().unwrap(), &filter, "{}", text);
    prop_assert_eq!(&dumped(&ct, Some(&filter)), &meant, "{}", filter.explain(found).unwrap());
    prop_assert_eq!(&dumped(proving, Some(&filter)), &meant, "{} on demand", filter);
    prop_assert!(filter.never_matches().is_none() || meant.is_empty(), "{}", filter);
    match job {
        Job::Delete => {
            let would = ct.delete_matching(&filter).dry_run(true).run().unwrap();
            prop_assert_eq!((would.matched, would.deleted), (meant.len() as u64, 0));
            let done = ct.delete_matching(&filter).run().unwrap();
            prop_assert!(done.succeeded(), "{}", done);
            prop_assert_eq!((done.matched, done.deleted), (meant.len() as u64, meant.len() as u64));
            prop_assert_eq!(dumped(&ct, None), rest, "{}", filter);
        }
        Job::InKernel if rows.len().is_multiple_of(3) => {
            match proving.delete_matching(&filter).in_kernel() {
                Ok(()) => {
                    flushed.set(flushed.get() + 1);
                    prop_assert_eq!(dumped(&ct, None), rest, "{} on demand", filter);
                }
                Err(_) => {
                    refused.set(refused.get() + 1);
                    prop_assert_eq!(ct.count().unwrap() as usize, meant.len() + rest.len());
                }
            }
        }
        Job::InKernel => {
            let explained = filter.explain(found).unwrap().not_in_kernel;
            match ct.delete_matching(&filter).in_kernel() {
                Ok(()) => {
                    prop_assert!(full && explained.is_none());
                    flushed.set(flushed.get() + 1);
                    prop_assert_eq!(dumped(&ct, None), rest, "{}", filter);
                }
                Err(error) => {
                    refused.set(refused.get() + 1);
                    let why = explained.unwrap_or_default();
                    prop_assert!(!why.is_empty() && error.to_string().ends_with(&why), "{}", error);
                    prop_assert_eq!(ct.count().unwrap() as usize, meant.len() + rest.len());
                }
            }
        }
        Job::Zero => {
            let mut zeroed = Vec::new();
            let count = ct.zero(&filter, |flow| zeroed.push(identity(&flow))).unwrap();
            prop_assert_eq!(count, meant.len() as u64);
            prop_assert_eq!(sorted(zeroed), meant);
        }
    }
    Ok(())
}

/// Kernels compare IPv6 addresses inverted, all but the newest of some series: a filtered flush of
/// one address removes all others. Ours removes the one that was named, whichever way it is asked.
#[test]
fn the_inverted_ipv6_filter_deletes_only_what_was_named() {
    in_netns(|| {
        let ct = Conntrack::open().unwrap();
        let filter: Filter = "ip6 and orig dst 2001:db8::10".parse().unwrap();
        let table = [
            udp("[fd00::1]:1", "[2001:db8::10]:53", "[fd00:244::5]:53"),
            udp("[fd00::1]:2", "[2001:db8::11]:53", "[fd00:244::5]:53"),
            udp("[fd00::1]:3", "[2001:db8::12]:53", "[fd00:244::5]:53"),
            udp("10.0.0.1:4", "10.96.0.10:53", "10.244.1.5:53"),
        ];
        let named_is_gone = || {
            let left: Vec<_> = oracle::table().iter().map(|seen| seen.orig_src.port()).collect();
            assert_eq!(left, [4, 2, 3]);
        };
        fill(&table);
        let before = oracle::table();
        match ct.delete_matching(&filter).in_kernel() {
            Ok(()) => {
                let found = ct.capabilities().unwrap();
                assert_eq!(found.flush(C::OrigIpv6), Trust::Proved, "{found}");
                named_is_gone();
                fill(&table[..1]);
            }
            Err(error) => {
                let error = error.to_string();
                assert!(error.contains("filter: not in the kernel: "), "{error}");
                assert_eq!(oracle::table(), before, "refused, and nothing happened");
            }
        }
        let report = ct.delete_matching(&filter).run().unwrap();
        assert_eq!((report.matched, report.deleted, report.failed), (1, 1, 0), "{report}");
        named_is_gone();

        // And without any knowledge of the kernel.
        fill(&table[..1]);
        let report = Conntrack::open().unwrap().delete_matching(&filter).run().unwrap();
        assert_eq!((report.matched, report.deleted), (1, 1), "{report}");
        named_is_gone();
    });
}

/// Mark, status and the like are judged in the dump: what they become before the delete arrives does
/// not save an entry. Its tuple does.
#[test]
fn what_can_change_is_as_of_the_dump_and_the_backend_is_pinned() {
    in_netns(|| {
        let ct = Conntrack::open().unwrap();
        let marked =
            |client: &str| Entry { mark: 7, ..udp(client, "10.96.0.10:53", "10.244.1.5:53") };
        fill(&[marked("10.0.0.1:1"), marked("10.0.0.1:2"), marked("10.0.0.1:3")]);
        let filter: Filter = "udp and mark 7".parse().unwrap();
        let seen = Cell::new(0);
        let report = ct
            .delete_matching(&filter)
            .on_match(|flow| {
                seen.set(seen.get() + 1);
                let key = Key::orig(*flow.orig());
                match flow.orig().src_port() {
                    Some(1) => ct.update(&key, &Change::new().mark(8)).unwrap(),
                    // The same client is back, toward another backend.
                    Some(2) => {
                        ct.delete_key(&key).unwrap();
                        fill(&[udp("10.0.0.1:2", "10.96.0.10:53", "10.244.2.7:53")]);
                    }
                    _ => {}
                }
            })
            .run()
            .unwrap();
        assert_eq!(seen.get(), 3);
        assert_eq!((report.matched, report.deleted, report.already_gone), (3, 2, 1), "{report}");
        assert_eq!(clients(&ct, None), ["10.0.0.1:2"]);
    });
}

#[test]
fn a_delete_in_the_kernel_needs_proof() {
    in_netns(|| {
        fill(&[
            udp("10.0.0.1:1", "10.96.0.10:53", "10.244.1.5:53"),
            udp("10.0.0.1:2", "10.96.0.10:54", "10.244.1.5:53"),
            udp("[fd00::1]:1", "[fd00:96::a]:53", "[fd00:244::5]:53"),
        ]);
        let dns: Filter = "udp and orig dst port 53".parse().unwrap();
        let ct = Conntrack::open().unwrap();
        std::thread::scope(|scope| {
            let weak = scope.spawn(|| {
                keep_only_net_admin();
                ct.delete_matching(&dns).in_kernel().unwrap_err().to_string()
            });
            let error = weak.join().unwrap();
            assert!(error.contains("it could not be tried out: open: unshare"), "{error}");
        });
        assert_eq!(ct.count().unwrap(), 3);
        for dry in
            [ct.delete_matching(&dns).dry_run(true), ct.delete_matching(&dns).on_match(|_| ())]
        {
            assert!(dry.in_kernel().unwrap_err().to_string().contains("cannot count"));
        }

        // A lack of privilege is not remembered, and this handle proves what it needs.
        let can = Conntrack::open().unwrap().capabilities().unwrap().flush_filter;
        match ct.delete_matching(&dns).in_kernel() {
            Ok(()) => assert_eq!(clients(&ct, None), ["10.0.0.1:2"], "both families, one port"),
            Err(error) => {
                assert!(!can && error.to_string().contains("this kernel refuses it"), "{error}");
            }
        }
    });
}

#[test]
fn reports_say_what_was_done() {
    in_netns(|| {
        let ct = Conntrack::open().unwrap();
        let entries: Vec<_> = (1..=450)
            .map(|port| udp(&format!("10.0.0.1:{port}"), "10.96.0.10:53", "10.244.1.5:53"))
            .collect();
        fill(&entries);
        let filter: Filter = "ip and udp and orig src port 1-449".parse().unwrap();
        let would = ct.delete_matching(&filter).dry_run(true).run().unwrap();
        assert!(would.dry_run && would.to_string().contains("dry run: nothing deleted"), "{would}");
        assert!(would.to_string().ends_with("matched 449"), "{would}");
        let done = ct.delete_matching(&filter).run().unwrap();
        assert_eq!((done.received, done.pushdown.as_str()), (450, "ip and udp"));
        let text = done.to_string();
        assert!(text.ends_with("matched 449, deleted 449, already gone 0, failed 0"), "{text}");
        assert_eq!(clients(&ct, None), ["10.0.0.1:450"]);

        for invalid in
            [Filter::orig_dst_port_in(Vec::new()), !Filter::host_in(Vec::<ctnetlink::IpNet>::new())]
        {
            let error = ct.delete_matching(&invalid).run().unwrap_err().to_string();
            assert!(error.contains("an empty set selects nothing"), "{error}");
            assert!(ct.delete_matching(&invalid).in_kernel().is_err());
        }
        std::thread::scope(|scope| {
            scope.spawn(|| {
                drop_capabilities();
                let error = ct.delete_matching(&filter).run().unwrap_err();
                assert!(error.is_permission_denied(), "{error}");
            });
        });
        assert_eq!(ct.count().unwrap(), 1);
    });
}

/// A request is proved when it is first needed, and the proof is remembered.
#[test]
fn a_shape_is_proved_once() {
    in_netns(|| {
        let ct = Conntrack::open().unwrap();
        let [first, same_shape, other]: [Filter; 3] = [
            "ip and udp and reply src 10.244.1.6 and mark 7",
            "ip and udp and reply src 10.244.9.9 and mark 9",
            "ip and tcp and reply src 10.244.1.6 and mark 7",
        ]
        .map(|text| text.parse().unwrap());
        let pushdown = |filter: &Filter| ct.dump(filter).unwrap().pushdown().to_owned();
        let weakly = |filter: &Filter| {
            std::thread::scope(|scope| {
                let weak = scope.spawn(|| {
                    keep_only_net_admin();
                    pushdown(filter)
                });
                weak.join().unwrap()
            })
        };
        assert_eq!(weakly(&first), "ip and udp", "no proof, and no more than what is harmless");
        assert_eq!(pushdown(&first), "ip and udp and reply src 10.244.1.6 and mark 0x7");
        let remembered = weakly(&same_shape);
        assert_eq!(remembered, "ip and udp and reply src 10.244.9.9 and mark 0x9");
        assert_eq!(weakly(&other), "ip and tcp", "another protocol is another shape");
        // What the kernel gets wrong is left out, and the rest is asked for.
        let ip6: Filter = "ip6 and udp and orig dst fd00:96::a and mark 1".parse().unwrap();
        let right = ct.capabilities().unwrap().dump(C::OrigIpv6) == Trust::Proved;
        let ct = Conntrack::open().unwrap();
        let expected = match right {
            true => "ip6 and udp and orig dst fd00:96::a and mark 0x1",
            false => "ip6 and udp and mark 0x1",
        };
        assert_eq!(ct.dump(&ip6).unwrap().pushdown(), expected);
    });
}

/// What the handle is told decides, from then on.
#[test]
fn what_is_proved_is_asked_for() {
    in_netns(|| {
        fill(&[
            udp("10.0.0.1:1", "10.96.0.10:53", "10.244.1.5:53"),
            udp("10.0.0.1:2", "10.96.0.10:53", "10.244.1.6:53"),
        ]);
        let ct = Conntrack::open().unwrap();
        let filter: Filter = "ip and udp and reply src 10.244.1.6".parse().unwrap();
        let received = || {
            let mut dump = ct.dump(&filter).unwrap();
            let mut matched = 0;
            while dump.next().unwrap().is_some() {
                matched += 1;
            }
            (dump.pushdown().to_owned(), dump.received(), matched)
        };
        assert_eq!(received(), (filter.to_string(), 1, 1));
        let found = ct.capabilities().unwrap();
        assert_eq!(received(), (filter.to_string(), 1, 1));
        let explained = filter.explain(&found).unwrap();
        assert_eq!((explained.passes, explained.stayed), (vec![filter.to_string()], vec![]));
        ct.use_capabilities(&found.clone().distrust(C::ReplyIpv4)).unwrap();
        let mut elsewhere = found;
        elsewhere.boot_id = Some("another".into());
        let error = ct.use_capabilities(&elsewhere).unwrap_err().to_string();
        assert!(error.contains("at boot another"), "{error}");
        assert_eq!(received(), ("ip and udp".into(), 2, 1));
        // Distrust outlives the next probe.
        assert_eq!(ct.capabilities().unwrap().dump(C::ReplyIpv4), Trust::Distrusted);
        assert_eq!(received(), ("ip and udp".into(), 2, 1));
    });
}

/// The kernel reads and zeroes by reply tuple and does not look at the id. An entry that has taken
/// another's place and is not meant is said to be zeroed, and not handed over as one that was.
#[test]
fn a_zero_that_hits_a_stranger_says_so() {
    in_netns(|| {
        sysctl("net/netfilter/nf_conntrack_acct", "1");
        let ct = Conntrack::open().unwrap();
        let (client, backend) = (at("10.0.0.1:1"), at("10.244.1.5:53"));
        let toward = |vip: &str| {
            let reply = Tuple::with_ports(Protocol::UDP, backend, client);
            let orig = Tuple::with_ports(Protocol::UDP, client, at(vip));
            ct.create(&NewEntry::new(orig, Duration::from_secs(300)).reply(reply)).unwrap();
        };
        // More than a datagram of others before it, so that it can be replaced in between.
        let others: Vec<_> = (2..200)
            .map(|port| udp(&format!("10.0.0.1:{port}"), "10.96.0.10:53", "10.244.1.9:53"))
            .collect();
        fill(&others);
        toward("10.96.0.10:53");
        let filter: Filter = "udp and orig dst 10.96.0.10".parse().unwrap();
        let (mut replaced, mut seen) = (false, 0);
        let result = ct.zero(&filter, |flow| {
            seen += 1;
            assert_eq!(flow.orig().destination(), at("10.96.0.10:53"));
            if !replaced && flow.orig().source() != client {
                replaced = true;
                ct.delete_key(&Key::reply(Tuple::with_ports(Protocol::UDP, backend, client)))
                    .unwrap();
                toward("10.96.0.99:53");
            }
        });
        match result {
            // It was in the first datagram, and had been zeroed when it was replaced.
            Ok(count) => assert_eq!((count, seen), (199, 199)),
            Err(error) => {
                let error = error.to_string();
                assert!(
                    error.contains("1 entries took the place") && error.contains("dst=10.96.0.99"),
                    "{error}"
                );
                assert_eq!(seen, 198);
            }
        }
    });
}

/// Two passes bring an entry that is in both alternatives once.
#[test]
fn passes_do_not_repeat_entries() {
    in_netns(|| {
        fill(&[
            udp("10.0.0.1:1", "10.0.0.2:53", "10.0.0.9:53"),
            udp("10.0.0.1:2", "10.0.0.3:53", "10.0.0.9:53"),
            udp("10.0.0.4:3", "10.0.0.2:53", "10.0.0.9:53"),
            udp("10.0.0.4:4", "10.0.0.4:53", "10.0.0.9:53"),
        ]);
        let ct = Conntrack::open().unwrap();
        let filter: Filter = "ip and (orig src 10.0.0.1 or orig dst 10.0.0.2)".parse().unwrap();
        assert_eq!(
            ct.dump(&filter).unwrap().pushdown(),
            "ip and orig src 10.0.0.1; ip and orig dst 10.0.0.2"
        );
        assert_eq!(clients(&ct, Some(&filter)), ["10.0.0.1:1", "10.0.0.1:2", "10.0.0.4:3"]);
        let report = ct.delete_matching(&filter).run().unwrap();
        assert_eq!((report.matched, report.deleted), (3, 3), "{report}");
    });
}

#[test]
fn counters_and_times() {
    in_netns(|| {
        let ct = Conntrack::open().unwrap();
        let entry = |port| {
            let client = at(&format!("10.0.0.1:{port}"));
            let orig = Tuple::with_ports(Protocol::UDP, client, at("10.96.0.10:53"));
            NewEntry::new(orig, Duration::from_secs(300))
        };
        ct.create(&entry(1)).unwrap();
        for name in ["acct", "timestamp"] {
            sysctl(&format!("net/netfilter/nf_conntrack_{name}"), "1");
        }
        ct.create(&entry(2)).unwrap();
        // An amount that an entry does not have matches no range, and no negation of one.
        for (text, expected) in [
            ("packets >= 0", &["10.0.0.1:2"][..]),
            ("orig bytes = 0 and reply packets = 0", &["10.0.0.1:2"]),
            ("bytes > 0", &[]),
            ("age < 100", &["10.0.0.1:2"]),
            ("not age < 100", &[]),
            ("not packets > 0", &["10.0.0.1:2"]),
            ("not (udp and packets > 0)", &["10.0.0.1:2"]),
            ("not not packets = 0", &["10.0.0.1:2"]),
            ("not (tcp and packets > 0)", &["10.0.0.1:1", "10.0.0.1:2"]),
            ("age > 100", &[]),
            ("timeout 200-300", &["10.0.0.1:1", "10.0.0.1:2"]),
            ("timeout < 200", &[]),
        ] {
            assert_eq!(clients(&ct, Some(&text.parse().unwrap())), expected, "{text}");
        }
    });
}
