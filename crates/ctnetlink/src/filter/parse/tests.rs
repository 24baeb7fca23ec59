use proptest::prelude::*;

use super::*;

fn parse(text: &str) -> Result<Filter, Error> {
    text.parse()
}

#[test]
fn precedence_and_spacing() {
    let [a, b, c] = [1, 2, 3].map(Filter::zone);
    for (text, expected) in [
        ("zone 1 or zone 2 and zone 3", a.clone() | (b.clone() & c.clone())),
        ("(zone 1 or zone 2)and zone 3", (a.clone() | b.clone()) & c.clone()),
        ("not zone 1 and zone 2", !a.clone() & b.clone()),
        ("not ( zone 1 and zone 2 )", !(a.clone() & b.clone())),
        ("\tnot not zone 1 ", !!a.clone()),
        ("mark 0x10/0xf0", Filter::mark_masked(0x10, 0xf0)),
        ("mark 16 / 240", Filter::mark_masked(0x10, 0xf0)),
        ("status set SEEN_REPLY|ASSURED", Filter::status_set(Status::SEEN_REPLY | Status::ASSURED)),
        ("proto 17", Filter::protocol(Protocol::UDP)),
    ] {
        assert_eq!(parse(text).unwrap(), expected, "{text}");
    }
}

#[test]
fn every_criterion_and_its_other_spellings() {
    for (text, printed) in [
        ("reply src {10.244.2.0/24,10.244.1.5}", "reply src in {10.244.1.5, 10.244.2.0/24}"),
        ("orig src in {10.0.0.1}", "orig src 10.0.0.1"),
        ("orig dst 10.0.0.0 / 8", "orig dst 10.0.0.0/8"),
        ("host in {fd00::/8, 10.0.0.1}", "host in {10.0.0.1, fd00::/8}"),
        ("orig dst port in {8000-8080, 53}", "orig dst port in {53, 8000-8080}"),
        ("reply dst port 1-65535", "reply dst port 1-65535"),
        ("icmp and icmp-type 8 and icmp-code 0 and icmp-id 7", ""),
        ("snat or dnat", ""),
        ("nat", "snat or dnat"),
        ("not nat", "not (snat or dnat)"),
        ("status unset SEEN_REPLY", "unreplied"),
        ("zone in {1, 2}", "zone 1 or zone 2"),
        ("proto in {udp, 89}", "udp or proto 89"),
        ("icmp-type in {8, 13}", "icmp-type 8 or icmp-type 13"),
        ("mark in {1, 0x10/0xf0}", "mark 0x1 or mark 0x10/0xf0"),
        (
            "helper in {ftp, sip} and label {5, 6}",
            "(helper ftp or helper sip) and (label 5 or label 6)",
        ),
        ("status set assured|0x2|8", "status set SEEN_REPLY | ASSURED | CONFIRMED"),
        ("status set 4", "status set ASSURED"),
        ("ipv4 or ipv6", "ip or ip6"),
        ("udp\n  and\torig dst port 53", "udp and orig dst port 53"),
        ("orig zone 7 and reply zone 0", ""),
        ("label 127 and helper netbios-ns", ""),
        ("tcp-state in {SYN_SENT, syn_recv}", "tcp-state SYN_SENT or tcp-state SYN_RECV"),
        ("sctp-state COOKIE_WAIT and tcp-state 77", ""),
        ("timeout < 30", "timeout <= 29"),
        ("age > 3600", "age >= 3601"),
        ("packets=0 and bytes>=1", "packets = 0 and bytes >= 1"),
        ("orig packets 5-9 and reply bytes <= 3", ""),
        ("timeout >= 0", ""),
        ("timeout <= 18446744073709551615", "timeout >= 0"),
        ("timeout 7-7", "timeout = 7"),
    ] {
        let filter = parse(text).unwrap_or_else(|e| panic!("{e}"));
        let expected = if printed.is_empty() { text } else { printed };
        assert_eq!(filter.to_string(), expected, "{text}");
        assert_eq!(parse(expected).unwrap(), filter, "{text}");
    }
}

#[test]
fn sets_by_themselves() {
    let error = "10.0.0.1 10.0.0.2".parse::<Addresses>().unwrap_err().to_string();
    assert!(error.contains("column 10: expected the end of input, found"), "{error}");
    assert_eq!("{10.0.0.1}".parse::<Addresses>().unwrap().to_string(), "10.0.0.1");
    assert!("53 and udp".parse::<Ports>().is_err());
}

#[test]
fn mistakes_are_pointed_at() {
    for (text, expected) in [
        ("", "column 1: expected a criterion (such as \"udp\", "),
        ("   ", "column 1: expected a criterion"),
        ("udp and", "column 8: expected a criterion"),
        ("udp and", "or \"unreplied\"), \"not\" or \"(\", found the end of input"),
        (
            "udp orig dst port 53",
            r#"column 5: expected "and", "or" or the end of input, found "orig""#,
        ),
        (
            "udp and orig dest 10.0.0.1",
            r#"column 14: expected "src", "dst", "zone", "packets" or "bytes", found "dest""#,
        ),
        ("orig dst 10.0.0", r#"column 10: expected "port" or an IP address, found "10.0.0""#),
        (
            "orig dst port 65536",
            "column 15: expected a port from 0 to 65535, or a range, found \"65536\"",
        ),
        ("zone", "column 5: expected a zone from 0 to 65535, found the end of input"),
        ("(udp or tcp", r#"column 12: expected "and", "or" or ")", found the end of input"#),
        ("udp)", r#"column 4: expected "and", "or" or the end of input, found ")""#),
        ("status SEEN_REPLY", r#"column 8: expected "set" or "unset""#),
        ("status set NOTHING", "column 12: expected a status bit"),
        ("status set 0", "column 12: expected a status bit"),
        ("mark 0xfffffffff", "column 6: expected a 32-bit number"),
        ("mark 0/0", "a mark filter with an empty mask compares no bits"),
        ("17", "column 1: expected a criterion"),
        ("é and udp", "column 1: expected a criterion"),
        ("udp and é", "column 9: expected a criterion"),
        ("orig dst in 10.0.0.1", r#"column 13: expected "{", found "10.0.0.1""#),
        ("orig dst in {}", r#"column 14: expected "port" or an IP address, found "}""#),
        ("orig dst {10.0.0.1 10.0.0.2}", r#"column 20: expected "," or "}", found"#),
        (
            "orig dst {10.0.0.1,",
            r#"column 20: expected "port" or an IP address, found the end of input"#,
        ),
        ("host 10.0.0.0/33", "column 15: expected a prefix length from 0 to 32, found \"33\""),
        ("host fd00::/129", "expected a prefix length from 0 to 128"),
        (
            "host 10.0.0.5/8",
            "column 6: expected no bits beyond the prefix length (perhaps 10.0.0.0/8)",
        ),
        ("orig dst port 9-5", "column 15: expected a range from the lower port to the higher"),
        (
            "dst port 53",
            r#"column 1: expected "orig" or "reply" before it (as in "orig dst port 53")"#,
        ),
        ("udp and port 53", r#"column 9: expected "orig" or "reply" before it"#),
        ("udp and helper or", "column 16: expected a helper's name, found \"or\""),
        ("udp and mark 0x10/0xf", "column 9: mark 0x10 has bits outside its mask 0xf"),
        (
            "udp and\n  orig dest 10.0.0.1",
            "line 2, column 8: expected \"src\", \"dst\", \"zone\", \"packets\" or \"bytes\", \
             found \"dest\"\n    orig dest 10.0.0.1\n         ^",
        ),
        ("label 128", "column 7: expected a label bit from 0 to 127"),
        ("helper", "column 7: expected a helper's name"),
        ("helper x234567890123456", "is not a helper's name: expected 1 to 15 bytes"),
        ("tcp-state ESTAB", "column 11: expected a state such as ESTABLISHED"),
        (
            "timeout 5",
            r#"column 9: expected "<", "<=", "=", ">=", ">" or a range such as "5-9", found "5""#,
        ),
        ("timeout < 0", "column 11: expected a number for which the comparison can be true"),
        ("bytes > 18446744073709551615", "column 9: expected a number for which"),
        (
            "packets == 5",
            r#"column 9: expected "<", "<=", "=", ">=", ">" or a range such as "5-9", found "==""#,
        ),
        ("age 9-5", "column 5: expected \"<\""),
        ("orig udp", r#"column 6: expected "src", "dst", "zone", "packets" or "bytes""#),
    ] {
        let error = parse(text).unwrap_err().to_string();
        assert!(error.contains(expected), "{text:?}: {error}");
    }
    let error = parse("udp and orig dest 10.0.0.1").unwrap_err().to_string();
    assert!(error.ends_with("\n  udp and orig dest 10.0.0.1\n               ^"), "{error}");
    assert!(
        parse(&"(".repeat(100_000))
            .unwrap_err()
            .to_string()
            .contains("fewer levels of parentheses")
    );
    assert!(parse(&"not ".repeat(100_000)).is_err());
}

pub(in crate::filter) fn any_filter() -> impl Strategy<Value = Filter> {
    let address = prop_oneof![
        (any::<[u8; 4]>(), 0_u8..=32).prop_map(|(a, l)| IpNet::new(a.into(), l).unwrap()),
        (any::<[u8; 16]>(), 0_u8..=128).prop_map(|(a, l)| IpNet::new(a.into(), l).unwrap()),
        any::<[u8; 4]>().prop_map(|a| IpAddr::from(a).into()),
    ];
    let addresses = prop::collection::vec(address, 1..4).prop_map(Addresses::from);
    let ports = prop::collection::vec((any::<u16>(), any::<u16>()), 1..4)
        .prop_map(|all| Ports::from_iter(all.into_iter().map(|(a, b)| a.min(b)..=a.max(b))));
    let direction = prop_oneof![Just(Direction::Orig), Just(Direction::Reply)];
    let maybe = prop::option::of(direction.clone());
    let side = prop_oneof![Just(Side::Src), Just(Side::Dst)];
    let port = (direction.clone(), side.clone(), ports);
    let bits = (1_u32..).prop_map(Status::from_bits_retain);
    let quantity = maybe.clone().prop_flat_map(|d| {
        prop_oneof![
            Just(Quantity::Timeout),
            Just(Quantity::Age),
            Just(Quantity::Packets(d)),
            Just(Quantity::Bytes(d))
        ]
    });
    let bound = prop_oneof![Just(0), Just(u64::MAX), 0_u64..100, any::<u64>()];
    let range = (bound.clone(), bound).prop_map(|(a, b)| Range { least: a.min(b), most: a.max(b) });
    let one = prop_oneof![
        prop_oneof![Just(Family::Ipv4), Just(Family::Ipv6)].prop_map(Filter::family),
        any::<u8>().prop_map(|number| Filter::protocol(Protocol(number))),
        (direction, side, addresses.clone())
            .prop_map(|(d, s, a)| Filter::is(Criterion::Address(d, s, a))),
        port.prop_map(|(d, s, p)| Filter::is(Criterion::Port(d, s, p))),
        addresses.prop_map(Filter::host_in),
        any::<(u8, u16)>().prop_map(|(n, id)| match id % 3 {
            0 => Filter::icmp_type(n),
            1 => Filter::icmp_code(n),
            _ => Filter::icmp_id(id),
        }),
        bits.clone().prop_map(Filter::status_set),
        bits.prop_map(Filter::status_unset),
        (any::<u32>(), 1_u32..).prop_map(|(v, mask)| Filter::mark_masked(v & mask, mask)),
        (maybe, any::<u16>()).prop_map(|(d, z)| Filter::is(Criterion::Zone(d, z))),
        (0_u8..128).prop_map(Filter::label),
        "[a-zA-Z][a-zA-Z0-9._-]{0,14}".prop_map(Filter::helper),
        any::<u8>().prop_map(|n| Filter::tcp_state(n.into())),
        any::<u8>().prop_map(|n| Filter::sctp_state(n.into())),
        (quantity, range).prop_map(|(q, r)| Filter::is(Criterion::Amount(q, r))),
    ];
    one.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            (inner.clone(), inner.clone()).prop_map(|(a, b)| a & b),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| a | b),
            inner.prop_map(|a| !a),
        ]
    })
}

proptest! {
    #[test]
    fn what_is_printed_parses_back(filter in any_filter()) {
        let text = filter.to_string();
        prop_assert_eq!(parse(&text).map_err(|e| e.to_string()), Ok(filter), "{}", text);
    }

    #[test]
    fn no_text_panics(text in "[a-z0-9(){},<=>|/. é-]{0,40}") {
        let _ = parse(&text);
    }
}
