use proptest::prelude::*;

use super::*;
use crate::filter::Filter;
use crate::model::sample::Sample;

fn parse(text: &str) -> Filter {
    text.parse().unwrap()
}

fn proved() -> Trusts {
    let mut trusts = Trusts::UNTESTED;
    for criterion in K::ALL {
        trusts.set(criterion, Trust::Proved, Trust::Proved);
    }
    trusts
}

/// A typical kernel since 6.12: all is right except IPv6 addresses and ports of other protocols.
fn today() -> Trusts {
    let mut trusts = proved();
    for criterion in [K::OrigIpv6, K::ReplyIpv6, K::OtherPorts] {
        trusts.set(criterion, Trust::Wrong, Trust::Wrong);
    }
    trusts
}

fn plan_of(text: &str, trusts: &Trusts) -> Vec<String> {
    let plan = parse(text).plan(trusts).unwrap();
    plan.passes.iter().map(ToString::to_string).collect()
}

fn plan(text: &str) -> Vec<String> {
    plan_of(text, &Trusts::UNTESTED)
}

#[test]
fn untested_only_the_harmless_is_pushed_down() {
    let all = "ip and udp and orig src 10.0.0.1 and orig dst 10.96.0.10 and orig src port 1001 and \
               orig dst port 53";
    assert_eq!(plan(all), [all]);
    for stays in
        ["ip and reply src 10.0.0.1", "ip and mark 1", "ip and status set ASSURED", "ip and zone 1"]
    {
        assert_eq!(plan(stays), ["ip"], "{stays}");
    }
    for stays in ["tcp and reply src port 53", "tcp and icmp-type 8"] {
        assert_eq!(plan(&format!("ip and {stays}")), ["ip and tcp"], "{stays}");
    }
    assert_eq!(plan("ip and icmp and icmp-type 8"), ["ip and icmp"]);
}

#[test]
fn proved_all_goes_down_that_the_kernel_can_say() {
    for text in [
        "ip and udp and orig dst 10.96.0.10 and orig dst port 53 and reply src 10.244.1.5",
        "ip6 and tcp and reply src port 443 and reply dst port 1",
        "ip and icmp and icmp-type 8 and icmp-code 0 and icmp-id 7",
        "ip and mark 0x10/0xf0 and status set ASSURED and unreplied and zone 7",
        "mark 0x1 and zone 0",
    ] {
        assert_eq!(plan_of(text, &proved()), [text]);
    }
    // A type of the other ICMP, or one without an answer, is EINVAL to the kernel.
    for kind in [128, 3, 1] {
        let text = format!("ip and icmp and icmp-type {kind} and icmp-code 0");
        assert_eq!(plan_of(&text, &proved()), ["ip and icmp and icmp-code 0"]);
    }
    assert_eq!(plan_of("ip6 and orig dst fd00::1", &proved()), ["ip6 and orig dst fd00::1"]);
}

#[test]
fn a_protocol_without_a_family_takes_two_passes_where_that_is_cheaper() {
    assert_eq!(
        plan("udp and orig dst port 53"),
        ["ip and udp and orig dst port 53", "ip6 and udp and orig dst port 53"]
    );
    assert_eq!(plan("udp"), ["ip and udp", "ip6 and udp"]);
    // Nearly everything is TCP: two passes that bring it all cost more than one.
    assert_eq!(plan("tcp"), [""]);
    assert_eq!(plan_of("tcp and mark 1", &proved()), ["mark 0x1"]);
    assert_eq!(plan("tcp and orig dst port 443").len(), 2);
}

#[test]
fn ipv6_addresses_are_inverted_in_the_kernel_and_stay_here() {
    let text = "udp and orig dst 2001:db8::10";
    assert_eq!(plan(text), ["ip6 and udp"]);
    assert_eq!(plan_of(text, &today()), ["ip6 and udp"]);
    assert_eq!(plan_of("reply src fd00::1", &today()), ["ip6"]);
    assert_eq!(plan("ip6 and orig dst 10.0.0.1"), ["ip6"]);
    assert_eq!(plan("orig dst fd00::/8"), ["ip6"]);
}

#[test]
fn ports_of_other_protocols_are_ignored_by_the_kernel_and_stay_here() {
    for protocol in ["sctp", "udplite", "gre", "dccp"] {
        let text = format!("ip and {protocol} and orig dst port 53");
        assert_eq!(plan_of(&text, &proved()), [format!("ip and {protocol}")]);
    }
    assert_eq!(plan("orig dst port 53"), [""]);
}

#[test]
fn prefixes_ranges_and_what_the_kernel_has_no_word_for_stay_here() {
    assert_eq!(plan("orig dst 10.0.0.0/8"), ["ip"]);
    assert_eq!(plan("ip and udp and orig dst port 1-9"), ["ip and udp"]);
    // An entry with such an address is of its family, wherever the address is.
    assert_eq!(plan("host 10.0.0.1"), ["ip"]);
    assert_eq!(plan("host {fd00::1, fd00::2} and udp"), ["ip6 and udp"]);
    for text in [
        "label 5",
        "helper ftp",
        "tcp-state CLOSE",
        "age > 5",
        "bytes > 5",
        "orig zone 1",
        "sctp-state CLOSED",
        "timeout < 5",
        "host {10.0.0.1, fd00::1}",
    ] {
        assert_eq!(plan_of(text, &proved()), [""], "{text}");
    }
}

#[test]
fn negations_move_inward_and_alternatives_are_not_required() {
    assert_eq!(plan("not ip"), ["ip6"]);
    assert_eq!(plan("not (ip or udp)"), ["ip6"]);
    assert_eq!(plan("not (not ip6 or not udp)"), ["ip6 and udp"]);
    assert_eq!(plan("not udp"), [""]);
    assert_eq!(plan("ip and not udp"), ["ip"]);
    assert_eq!(plan("udp or ip"), [""]);
    assert_eq!(plan("ip and (udp or zone 1)"), ["ip"]);
    assert_eq!(plan("not (ip and udp)"), [""]);
    assert_eq!(plan_of("not unreplied", &proved()), ["status set SEEN_REPLY"]);
    assert_eq!(plan_of("not status set ASSURED", &proved()), ["status unset ASSURED"]);
    // Two bits: not both set is not the same as none set.
    assert_eq!(plan_of("not status set ASSURED | DYING", &proved()), [""]);
    let nested = Expression::All(vec![
        Expression::All(vec![Expression::Is(Criterion::Protocol(Protocol::UDP))]),
        Expression::Is(Criterion::Family(Family::Ipv6)),
    ]);
    let passes = DumpPlan::of(&nested, &Trusts::UNTESTED).passes;
    assert_eq!(passes.iter().map(ToString::to_string).collect::<Vec<_>>(), ["ip6 and udp"]);
}

#[test]
fn of_contradictions_the_first_counts() {
    let text = "ip and ip6 and udp and sctp and orig dst port 53 and orig dst port 54";
    assert_eq!(plan(text), ["ip and udp and orig dst port 53"]);
    let text = "ip and mark 1 and mark 2/2 and status set ASSURED and status unset ASSURED";
    assert_eq!(plan_of(text, &proved()), ["ip and mark 0x1 and status set ASSURED"]);
    assert_eq!(plan_of("mark 1/1 and mark 2/2", &proved()), ["mark 0x3/0x3"]);
}

#[test]
fn alternatives_become_passes_where_they_are_narrow() {
    assert_eq!(
        plan("ip and tcp and orig dst in {10.0.0.3, 10.0.0.2}"),
        ["ip and tcp and orig dst 10.0.0.2", "ip and tcp and orig dst 10.0.0.3"]
    );
    assert_eq!(
        plan("ip and tcp and orig dst port in {80, 443}"),
        ["ip and tcp and orig dst port 80", "ip and tcp and orig dst port 443"]
    );
    assert_eq!(
        plan("ip and (udp and orig dst port 53 or tcp and orig dst port 53)"),
        ["ip and udp and orig dst port 53", "ip and tcp and orig dst port 53"]
    );
    // One pass for UDP costs less than two.
    assert_eq!(plan("ip and udp and orig dst port in {53, 54}"), ["ip and udp"]);
    assert_eq!(plan("ip and udp and orig dst in {10.0.0.1, 10.0.0.2}"), ["ip and udp"]);
    // One of them is no narrower than the whole.
    assert_eq!(plan("ip and (orig dst 10.0.0.1 or mark 1)"), ["ip"]);
    // Too many.
    assert_eq!(
        plan("ip and orig dst in {10.0.0.1, 10.0.0.3, 10.0.0.5, 10.0.0.7, 10.0.0.9}"),
        ["ip"]
    );
    // Passes must not differ in what can change: an entry could be missed by all of them.
    assert_eq!(plan_of("ip and (mark 1 or mark 2)", &proved()), ["ip"]);
    let both = "ip and orig dst 10.0.0.1 and mark 1 or ip and orig dst 10.0.0.2 and mark 2";
    assert_eq!(plan_of(both, &proved()), ["ip and orig dst 10.0.0.1", "ip and orig dst 10.0.0.2"]);
    // An alternative that no entry can meet needs no pass.
    assert_eq!(
        plan("ip and (orig dst 10.0.0.1 or orig dst fd00::1)"),
        ["ip and orig dst 10.0.0.1"]
    );
}

#[test]
fn distrust_is_respected() {
    let mut trusts = proved();
    trusts.set(K::Zone, Trust::Distrusted, Trust::Distrusted);
    assert_eq!(plan_of("ip and zone 7", &trusts), ["ip"]);
    trusts.set(K::Family, Trust::Distrusted, Trust::Distrusted);
    assert_eq!(plan_of("ip and udp and orig dst 10.0.0.1 and mark 1", &trusts), ["mark 0x1"]);
    assert_eq!(plan_of("udp", &trusts), [""]);
}

fn refusal(text: &str, trusts: &Trusts) -> String {
    parse(text).flush_plan(trusts).unwrap_err().to_string()
}

#[test]
fn a_flush_is_all_or_nothing() {
    for text in ["ip and udp", "ip6 and zone 7", "ip and mark 0x1 and unreplied", "ip"] {
        let parts = parse(text).flush_plan(&today()).unwrap();
        assert_eq!(parts.iter().map(ToString::to_string).collect::<Vec<_>>(), [text]);
    }
    let parts = parse("udp and orig dst port 53").flush_plan(&today()).unwrap();
    assert_eq!(parts.len(), 2);
    for (text, why) in [
        ("ip6 and orig dst fd00::1", "selects the wrong entries by original IPv6 address"),
        ("ip and sctp and orig dst port 53", "compares it only together with tcp or udp"),
        ("ip and orig dst port 53", "compares it only together with tcp or udp"),
        ("ip and orig dst 10.0.0.0/8", "no filter for prefixes"),
        ("ip and udp and orig dst port in {1, 2}", "no filter for sets of ports"),
        ("ip and not udp", "not udp: the kernel has no filter for negations"),
        ("ip and (udp or tcp)", "udp or tcp: one flush cannot express alternatives"),
        ("ip and ip6", "ip6: another criterion requires another value"),
        ("ip and mark 1 and mark 2", "another criterion requires another value"),
        ("label 5", "no filter for labels"),
        ("ip and udp and timeout < 5", "no filter for timeouts"),
        (
            "udp and orig src 10.0.0.1 and orig dst 10.0.0.2 and orig src port 1 and orig dst port 2",
            "delete the entry by its key instead",
        ),
        ("sctp and orig src 10.0.0.1 and orig dst 10.0.0.2", "delete the entry by its key instead"),
    ] {
        let error = refusal(text, &today());
        assert!(error.starts_with("filter: not in the kernel: ") && error.contains(why), "{error}");
    }
    assert!(refusal("ip and udp", &Trusts::UNTESTED).contains("was not tried out"));
    let mut dumps_only = proved();
    dumps_only.set(K::Family, Trust::Proved, Trust::Wrong);
    assert!(refusal("mark 1", &dumps_only).contains("selects the wrong entries by family"));
}

proptest! {
    /// Whatever the kernel is asked for, the passes hide no entry that matches. If several bring an
    /// entry, the first that covers it brings it, too. The part itself plays the kernel here.
    #[test]
    fn no_plan_hides_a_match(
        filter in crate::filter::parse::tests::any_filter(), wrong in any::<u16>(),
        client in 0_u8..3, frontend in 0_u8..3, v6 in any::<bool>(), protocol in 0_usize..3,
    ) {
        let mut trusts = proved();
        for criterion in K::ALL {
            if wrong >> (criterion as u16) & 1 == 1 {
                trusts.set(criterion, Trust::Wrong, Trust::Wrong);
            }
        }
        let at = |n: u8, port: u8| match v6 {
            false => format!("10.0.0.{n}:{port}"),
            true => format!("[fd00::{n}]:{port}"),
        };
        let mut sample = Sample::udp(&at(frontend, 53), &at(9, 53));
        sample.client = at(client, 1).parse().unwrap();
        let sample = sample.protocol([Protocol::UDP, Protocol::TCP, Protocol::SCTP][protocol]);
        let flow = sample.flow();
        if filter.matches(&flow) {
            let plan = filter.plan(&trusts).unwrap();
            let status = flow.status().bits();
            let sent = |part: &KernelPart| {
                part.covers(&flow)
                    && part.status.is_none_or(|(value, mask)| status & mask == value)
                    && part.mark.is_none_or(|(value, mask)| flow.mark().is_some_and(|m| m & mask == value))
            };
            prop_assert!(plan.passes.iter().any(sent), "{}: {:?}", filter, plan);
            let first = plan.passes.iter().find(|part| part.covers(&flow));
            prop_assert!(first.is_some_and(sent), "{}: {:?}", filter, plan);
        }
    }
}
