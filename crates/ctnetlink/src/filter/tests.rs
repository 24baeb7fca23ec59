use super::*;
use crate::model::flow::tests::{dumped, unhex};
use crate::model::flow::{FlowRef, tests::DUMPED};

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// Every criterion, once so that it matches the sample entry and once so that it does not.
fn pairs() -> Vec<(Filter, Filter)> {
    let a = address;
    vec![
        (Filter::family(Family::Ipv4), Filter::family(Family::Ipv6)),
        (Filter::protocol(Protocol::UDP), Filter::protocol(Protocol::UDPLITE)),
        (Filter::orig_src(a("10.0.0.1")), Filter::orig_src(a("10.96.0.10"))),
        (Filter::orig_dst(a("10.96.0.10")), Filter::orig_dst(a("10.0.0.1"))),
        (Filter::reply_src(a("10.244.1.5")), Filter::reply_src(a("10.96.0.10"))),
        (Filter::reply_dst(a("10.0.0.1")), Filter::reply_dst(a("::ffff:10.0.0.1"))),
        (Filter::orig_src_port(1001), Filter::orig_src_port(53)),
        (Filter::orig_dst_port(53), Filter::orig_dst_port(1001)),
        (Filter::reply_src_port(5353), Filter::reply_src_port(53)),
        (Filter::reply_dst_port(1001), Filter::reply_dst_port(5353)),
        (Filter::status_set(Status::DST_NAT), Filter::status_set(Status::all())),
        (Filter::status_unset(Status::ASSURED), Filter::status_unset(Status::CONFIRMED)),
        (Filter::mark(0), Filter::mark(1)),
        (Filter::mark_masked(0, 0xf0), Filter::mark_masked(0x10, 0xf0)),
        (Filter::zone(0), Filter::zone(7)),
    ]
}

#[test]
fn each_criterion_reads_its_own_field() {
    let flow = dumped();
    for (yes, no) in pairs() {
        assert!(yes.matches(&flow), "{yes}");
        assert!(!no.matches(&flow), "{no}");
        assert!(!(!yes.clone()).matches(&flow), "not {yes}");
        assert!((!no.clone()).matches(&flow), "not {no}");
        assert!((yes.clone() | no.clone()).matches(&flow));
        assert!((no.clone() | yes.clone()).matches(&flow));
        assert!(!(yes.clone() & no.clone()).matches(&flow));
        assert!(!(no.clone() & yes.clone()).matches(&flow));
        assert!((yes.clone() & yes).matches(&flow.as_ref()));
    }
}

#[test]
fn absent_is_not_zero() {
    // The sample entry without its CTA_MARK: the attribute becomes one of unknown number.
    let bytes = unhex(&DUMPED.replace("0800080000000000", "0800c80000000000"));
    let flow = FlowRef::parse(&bytes[16..]).unwrap();
    assert_eq!(flow.mark(), None);
    assert!(!Filter::mark(0).matches(&flow));
}

#[test]
fn invalid_filters_match_nothing_and_say_why() {
    let flow = dumped();
    for (bad, why) in [
        (Filter::status_set(Status::empty()), "a status filter with an empty mask"),
        (Filter::status_unset(Status::empty()), "a status filter with an empty mask"),
        (Filter::mark_masked(0, 0), "a mark filter with an empty mask"),
        (Filter::mark_masked(1, 0), "a mark filter with an empty mask"),
        (Filter::mark_masked(0x11, 0x10), "mark 0x11 has bits outside its mask 0x10"),
    ] {
        let good = Filter::protocol(Protocol::UDP);
        for filter in [
            bad.clone(),
            !bad.clone(),
            good.clone() & !bad.clone(),
            bad.clone() | good.clone(),
            bad.clone() & good.clone(),
            !(!good.clone() & bad.clone()),
        ] {
            assert!(!filter.matches(&flow), "{filter}");
            let error = filter.plan(&Trusts::UNTESTED).unwrap_err().to_string();
            assert!(error.contains(why), "{error}");
        }
        assert!((good.clone() | bad).plan(&Trusts::UNTESTED).is_err());
        assert!(good.plan(&Trusts::UNTESTED).is_ok());
    }
}

#[test]
fn text_shows_the_binding() {
    let [a, b, c] = [53, 54, 55].map(Filter::orig_dst_port);
    let text = ((a.clone() | b.clone()) & !c.clone()).to_string();
    assert_eq!(text, "(orig dst port 53 or orig dst port 54) and not orig dst port 55");
    assert_eq!(
        (!(a & b) | c).to_string(),
        "not (orig dst port 53 and orig dst port 54) or orig dst port 55"
    );
    assert_eq!(Filter::mark_masked(0x10, 0xf0).to_string(), "mark 0x10/0xf0");
    assert_eq!(Filter::protocol(Protocol(89)).to_string(), "proto 89");
    assert_eq!(
        Filter::status_set(Status::SEEN_REPLY | Status::ASSURED).to_string(),
        "status set SEEN_REPLY | ASSURED"
    );
}

#[test]
fn states_by_their_numbers_are_the_states() {
    assert_eq!(Filter::tcp_state(TcpState::Other(3)), Filter::tcp_state(TcpState::Established));
    assert_eq!(Filter::sctp_state(SctpState::Other(1)), Filter::sctp_state(SctpState::Closed));
}

#[test]
fn depth_has_an_end() {
    let not = |n: usize| (0..n).fold(Filter::zone(1), |filter, _| !filter);
    let deepest = not(MAX_LEVELS);
    assert!(deepest.check().is_ok());
    assert_eq!(deepest.to_string().parse::<Filter>().unwrap(), deepest);
    let error = not(100_000).check().unwrap_err().to_string();
    assert!(error.contains("more than 64 levels"), "{error}");
    let mixed = (0..40).fold(Filter::zone(1), |f, n| (f | Filter::zone(n)) & Filter::zone(n));
    assert!(mixed.check().is_err());
}

#[test]
fn conjunctions_stay_flat() {
    let [a, b, c, d] = [1, 2, 3, 4].map(Filter::zone);
    let flat = (a.clone() & b.clone()) & (c.clone() & d.clone());
    assert_eq!(flat, a.clone() & (b.clone() & (c.clone() & d.clone())));
    assert_eq!((a.clone() | b.clone()) | (c.clone() | d.clone()), a | (b | (c | d)));
}

/// An offloaded entry has no timeout: it is neither about to expire nor far from it.
#[test]
fn an_amount_that_is_absent_is_neither_small_nor_large() {
    use crate::model::flow::FlowRef;
    use crate::model::flow::tests::{DUMPED, unhex};
    let without = DUMPED.replace("080007000000012b", "0800c8000000012b");
    assert_ne!(without, DUMPED);
    let (without, with) = (unhex(&without), unhex(DUMPED));
    let offloaded = FlowRef::parse(&without[16..]).unwrap();
    let other = FlowRef::parse(&with[16..]).unwrap();
    assert_eq!((offloaded.timeout(), other.timeout().map(|t| t.as_secs())), (None, Some(299)));
    for (text, matches, offloaded_matches) in [
        ("timeout < 30", false, false),
        ("not timeout < 30", true, false),
        ("not not timeout < 30", false, false),
        ("not (udp and timeout < 30)", true, false),
        ("not (tcp and timeout < 30)", true, true),
        ("not (tcp or timeout < 30)", true, false),
        ("not (udp or timeout < 30)", false, false),
        ("timeout < 30 or udp", true, true),
        // Anything else that is absent is not so.
        ("helper ftp", false, false),
        ("not helper ftp", true, true),
        ("label 5", false, false),
        ("not label 5", true, true),
    ] {
        let filter: Filter = text.parse().unwrap();
        let both = (filter.matches(&other), filter.matches(&offloaded));
        assert_eq!(both, (matches, offloaded_matches), "{text}");
        assert_eq!(filter.cheapest_first().matches(&offloaded), offloaded_matches, "{text}");
    }
}

/// Chains and sets of any length: neither the stack nor the time depends on more than the length.
#[test]
fn long_chains_are_flat() {
    const LENGTH: u16 = 60_000;
    let zones: Vec<String> = (0..LENGTH).map(|zone| zone.to_string()).collect();
    let set: Filter = format!("zone in {{{}}}", zones.join(",")).parse().unwrap();
    let chain = Filter::any((0..LENGTH).map(Filter::zone));
    assert_eq!(set, chain);
    let text: Filter = format!("zone {}", zones.join(" or zone ")).parse().unwrap();
    assert_eq!(text, chain);
    let all = (0..LENGTH).map(Filter::zone).reduce(|all, one| all & !one).unwrap();
    assert!(all.check().is_ok());
    assert!(Filter::any([]).check().is_err() && Filter::all([]).check().is_err());
}

#[test]
fn a_filter_that_can_match_nothing_says_so() {
    for (text, why) in [
        ("udp and tcp", "tcp: another criterion requires another value of the same field"),
        ("ip and ip6", "ip6: another criterion"),
        ("ip6 and orig dst 10.0.0.1", "orig dst 10.0.0.1: another criterion"),
        ("orig dst 10.0.0.1 and orig dst 10.0.0.2", "orig dst 10.0.0.2: another criterion"),
        ("orig src 10.0.0.1 and reply src fd00::1", "reply src fd00::1: another criterion"),
        ("host fd00::1 and ip", "host fd00::1: another criterion"),
        ("udp and orig dst port 53 and orig dst port 54", "orig dst port 54: another criterion"),
        ("unreplied and not unreplied", "status set SEEN_REPLY: another criterion"),
        ("mark 1 and mark 2", "mark 0x2: another criterion"),
        ("zone 1 and zone 2", "zone 2: another criterion"),
        ("orig dst 0.0.0.0", "orig dst 0.0.0.0: nobody sends packets there"),
        ("udp and orig dst ::", "orig dst ::: nobody sends packets there"),
        ("udp and (tcp or sctp)", "tcp: another criterion"),
        ("not (ip or ip6)", "ip: another criterion"),
    ] {
        let found = text.parse::<Filter>().unwrap().never_matches();
        assert!(found.as_deref().is_some_and(|found| found.starts_with(why)), "{text}: {found:?}");
    }
    for text in [
        "udp",
        "udp or tcp",
        "not (udp and tcp)",
        "udp and (tcp or udp)",
        "orig src 0.0.0.0",
        "orig dst 0.0.0.0/0",
        "orig dst {0.0.0.0, 10.0.0.1}",
        "orig dst 10.0.0.1 and reply src 10.0.0.2",
        "orig dst port 53 and orig dst port 54",
        "icmp and icmp-type 3",
    ] {
        assert_eq!(text.parse::<Filter>().unwrap().never_matches(), None, "{text}");
    }
    assert_eq!(Filter::orig_dst_in(Addresses::default()).never_matches(), None, "it is invalid");
}
