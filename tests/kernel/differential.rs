//! Our reader against `netlink-packet-netfilter`, on messages from this kernel and on mutations of
//! them; our table against `conntrack -L -o xml,id`.

use std::time::Duration;

use ctnetlink::{
    Conntrack, FlowRef, Icmp, NewEntry, Protocol, ProtocolState, SeqAdj, Status, SynProxy,
    TcpState, Tuple,
};
use ctnetlink_testbed::netns::{in_netns, run, sysctl};
use ctnetlink_testbed::oracle::direction;
use ctnetlink_testbed::raw::capture;
use ctnetlink_tests::{at, flows};
use netlink_packet_core::{DefaultNla, NetlinkMessage, NetlinkPayload, Nla};
use netlink_packet_netfilter::conntrack::{
    ConntrackAttribute, ConntrackMessage, ProtoInfo, ProtoInfoTCP,
};
use netlink_packet_netfilter::{NetfilterMessage, NetfilterMessageInner};

/// xorshift: the same tables in every run, whatever the platform.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    fn index(&mut self, length: usize) -> usize {
        usize::try_from(self.below(length as u64)).unwrap()
    }

    fn port(&mut self) -> u16 {
        u16::try_from(1 + self.below(65_535)).unwrap()
    }

    fn flip(&mut self) -> bool {
        self.next() & 1 == 1
    }
}

/// A random entry of any protocol, with random extensions.
fn entry(random: &mut Random) -> NewEntry {
    let v6 = random.flip();
    let host = |n: u64| match v6 {
        false => format!("10.{}.{}.{}:0", n >> 16 & 0xff, n >> 8 & 0xff, n & 0xff),
        true => format!("[fd00::{:x}:{:x}]:0", n >> 16 & 0xffff, n & 0xffff),
    };
    let [mut src, mut dst] = [(), ()].map(|()| at(&host(random.below(1 << 24))));
    src.set_port(random.port());
    dst.set_port(random.port());
    let protocol = [6, 6, 17, 17, 132, 136, 47, 1, 89].map(Protocol)[random.index(9)];
    let orig = match protocol {
        Protocol::ICMP => {
            let kind = if v6 { 128 } else { 8 };
            let icmp = Icmp { kind, code: 0, id: random.port() };
            Tuple::with_icmp(src.ip(), dst.ip(), icmp)
        }
        Protocol(89) => Tuple::new(protocol, src.ip(), dst.ip()),
        _ => Tuple::with_ports(protocol, src, dst),
    };
    let mut new = NewEntry::new(orig, Duration::from_secs(10_000 + random.below(50_000)));
    if random.flip() {
        new = new.status(Status::SEEN_REPLY | Status::ASSURED);
    }
    if random.flip() {
        new = new.mark(u32::try_from(random.below(1 << 32)).unwrap());
    }
    if random.below(4) == 0 {
        new = new.zone(u16::try_from(1 + random.below(9)).unwrap());
    }
    if random.below(8) == 0 {
        let value = u32::try_from(random.below(1 << 31)).unwrap();
        new = new.synproxy(SynProxy { isn: value, its: 2, tsoff: value });
        let adjustment =
            SeqAdj { correction_pos: value, offset_before: -7, offset_after: value.cast_signed() };
        new = new.seq_adj_orig(adjustment).seq_adj_reply(adjustment);
    }
    if protocol == Protocol::TCP {
        let number = |random: &mut Random, limit| u8::try_from(random.below(limit)).unwrap();
        let flags = number(random, 256);
        new = new.state(ProtocolState::Tcp {
            state: Some(TcpState::from(number(random, 10))),
            wscale_orig: Some(number(random, 15)),
            wscale_reply: Some(number(random, 15)),
            flags_orig: Some(flags),
            flags_reply: Some(flags ^ 1),
        });
    }
    new
}

fn random_table(ct: &Conntrack, seed: u64, size: u32) {
    let mut random = Random(seed);
    let mut made = 0;
    while made < size {
        // Random tuples may meet.
        match ct.create(&entry(&mut random)) {
            Ok(()) => made += 1,
            Err(e) if e.raw_os_error() == Some(libc::EEXIST) => {}
            Err(e) => panic!("{e}"),
        }
    }
}

fn oracle(message: &[u8]) -> Option<Vec<ConntrackAttribute>> {
    let message = NetlinkMessage::<NetfilterMessage>::deserialize(message).ok()?;
    match message.payload {
        NetlinkPayload::InnerMessage(NetfilterMessage {
            inner: NetfilterMessageInner::Conntrack(ConntrackMessage::New(attributes)),
            ..
        }) => Some(attributes),
        _ => None,
    }
}

fn raw(nla: &DefaultNla) -> (u16, Vec<u8>) {
    let mut value = vec![0; nla.value_len()];
    nla.emit_value(&mut value);
    (nla.kind() & 0x3fff, value)
}

/// Everything the oracle has read, read the same by us.
fn compare(flow: &FlowRef<'_>, attributes: &[ConntrackAttribute]) -> Result<(), String> {
    let check = |what: &str, same: bool| if same { Ok(()) } else { Err(what.to_owned()) };
    for attribute in attributes {
        match attribute {
            ConntrackAttribute::CtaTupleOrig(parts) | ConntrackAttribute::CtaTupleReply(parts) => {
                let orig = matches!(attribute, ConntrackAttribute::CtaTupleOrig(_));
                let ours = if orig { flow.orig() } else { flow.reply() };
                let ours = (ours.protocol().0, ours.source(), ours.destination());
                // The oracle goes by the length of an address, we go by its number and the family.
                let theirs = direction(parts);
                let comparable = theirs.is_none_or(|(_, src, dst)| {
                    src.is_ipv4() == ours.1.is_ipv4() && dst.is_ipv4() == ours.2.is_ipv4()
                });
                check("tuple", !comparable || theirs == Some(ours))?;
            }
            ConntrackAttribute::CtaStatus(bits) => {
                check("status", flow.status().bits() == bits.bits())?;
            }
            ConntrackAttribute::CtaTimeout(seconds) => {
                let ours = flow.timeout().map(|left| left.as_secs());
                check("timeout", ours == Some(u64::from(*seconds)))?;
            }
            ConntrackAttribute::CtaMark(mark) => check("mark", flow.mark() == Some(*mark))?,
            ConntrackAttribute::CtaProtoInfo(parts) => {
                for part in parts {
                    let ProtoInfo::TCP(members) = part else { continue };
                    let Some(ProtocolState::Tcp {
                        state,
                        wscale_orig,
                        wscale_reply,
                        flags_orig,
                        flags_reply,
                    }) = flow.protocol_state()
                    else {
                        return Err("TCP state is missing".into());
                    };
                    for member in members {
                        let same = match member {
                            ProtoInfoTCP::State(n) => state == Some(TcpState::from(*n)),
                            ProtoInfoTCP::OriginalWindowScale(n) => wscale_orig == Some(*n),
                            ProtoInfoTCP::ReplyWindowScale(n) => wscale_reply == Some(*n),
                            ProtoInfoTCP::OriginalFlags(f) => flags_orig == Some(f.flags),
                            ProtoInfoTCP::ReplyFlags(f) => flags_reply == Some(f.flags),
                            _ => true,
                        };
                        check("protocol state", same)?;
                    }
                }
            }
            ConntrackAttribute::Other(nla) => {
                let (kind, value) = raw(nla);
                let ours = flow.attribute(kind).unwrap_or_default();
                check("raw attribute", ours == value)?;
            }
            _ => {}
        }
    }
    Ok(())
}

/// Attribute numbers that stand more than once: there "the last counts" is a matter of taste.
fn has_doubles(message: &[u8]) -> bool {
    let mut seen = Vec::new();
    let walk = |bytes: &[u8]| {
        let attributes = ctnetlink::wire::Attributes::new(bytes).flatten();
        attributes.map(|a| a.kind).collect::<Vec<_>>()
    };
    let mut doubled = false;
    for attribute in ctnetlink::wire::Attributes::new(&message[20..]).flatten() {
        doubled |= seen.contains(&attribute.kind);
        seen.push(attribute.kind);
        let mut inner = walk(attribute.value);
        let count = inner.len();
        inner.sort_unstable();
        inner.dedup();
        doubled |= inner.len() != count;
        for member in attribute.nested().flatten() {
            let mut deep = walk(member.value);
            let count = deep.len();
            deep.sort_unstable();
            deep.dedup();
            doubled |= deep.len() != count;
        }
    }
    doubled
}

#[test]
fn captured_and_mutated_messages_read_the_same() {
    in_netns(|| {
        sysctl("net/netfilter/nf_conntrack_acct", "1");
        sysctl("net/netfilter/nf_conntrack_timestamp", "1");
        let ct = Conntrack::open().unwrap();
        random_table(&ct, 0x5eed, 600);
        let messages = capture();
        assert_eq!(messages.len(), 600);
        let mut compared = 0;
        for message in &messages {
            let flow = FlowRef::parse(&message[16..]).unwrap();
            compare(&flow, &oracle(message).unwrap()).unwrap_or_else(|e| panic!("{e}: {flow:?}"));
        }

        let mut random = Random(42);
        for round in 0..60_000 {
            let mut message = messages[round % messages.len()].clone();
            for _ in 0..=random.below(3) {
                let at = 16 + random.index(message.len() - 16);
                message[at] = random.next().to_le_bytes()[0];
            }
            // No panic, whatever it is; and where both can read it, the same.
            let Ok(flow) = FlowRef::parse(&message[16..]) else { continue };
            let _ = format!("{flow} {flow:?}");
            let Some(attributes) = oracle(&message) else { continue };
            // An address of the other family is one to the oracle, and none to us.
            if has_doubles(&message) || message[16] != messages[round % messages.len()][16] {
                continue;
            }
            compare(&flow, &attributes)
                .unwrap_or_else(|what| panic!("{what}: {message:02x?}\n{attributes:?}\n{flow:?}"));
            compared += 1;
        }
        assert!(compared > 10_000, "{compared}");
    });
}

/// One `<flow>` of the listing as the numbers in it, in the order they stand.
fn numbers(xml: &str) -> Vec<String> {
    let mut values = Vec::new();
    for part in xml.split('<').skip(1) {
        let Some((tag, text)) = part.split_once('>') else { continue };
        if let Some(number) = tag.split("protonum=\"").nth(1) {
            values.push(number.split('"').next().unwrap_or_default().to_owned());
        }
        let name = tag.split_whitespace().next().unwrap_or_default();
        let wanted = ["src", "dst", "sport", "dport", "srckey", "dstkey"];
        let more = ["mark", "id", "zone", "state", "packets", "bytes"];
        if (wanted.contains(&name) || more.contains(&name)) && !text.is_empty() {
            values.push(format!("{name}={text}"));
        }
        if ["unreplied/", "assured/"].contains(&name) {
            values.push(name.trim_end_matches('/').to_owned());
        }
    }
    values.sort_unstable();
    values
}

#[test]
fn random_tables_are_those_of_the_conntrack_program() {
    for seed in [1, 2, 3] {
        in_netns(move || {
            sysctl("net/netfilter/nf_conntrack_acct", "1");
            let ct = Conntrack::open().unwrap();
            random_table(&ct, 0xabcd << seed, 300);
            let mut ours = Vec::new();
            for flow in flows(&ct, None) {
                let number = if flow.orig().src().is_ipv4() { "2" } else { "10" };
                let mut values = vec![number.to_owned(), number.to_owned()];
                for (tuple, counters) in
                    [(flow.orig(), flow.counters_orig()), (flow.reply(), flow.counters_reply())]
                {
                    values.push(tuple.protocol().0.to_string());
                    // The XML has no ICMP fields; the lines of `model.rs` have.
                    let icmp =
                        |word: &&str| !word.starts_with("type=") && !word.starts_with("code=");
                    let words = tuple.to_string();
                    let words = words.split(' ').filter(icmp).filter(|w| !w.starts_with("id="));
                    values.extend(words.map(str::to_owned));
                    let counters = counters.unwrap();
                    values.push(format!("packets={}", counters.packets));
                    values.push(format!("bytes={}", counters.bytes));
                }
                values.push(format!("mark={}", flow.mark().unwrap()));
                values.push(format!("id={}", flow.id().unwrap()));
                values.extend((flow.zone() != 0).then(|| format!("zone={}", flow.zone())));
                values.extend(flow.protocol_state().map(|state| format!("state={state}")));
                let status = flow.status();
                values.extend((!status.contains(Status::SEEN_REPLY)).then(|| "unreplied".into()));
                values.extend(status.contains(Status::ASSURED).then(|| "assured".into()));
                values.sort_unstable();
                ours.push(values);
            }
            let xml = run("conntrack", &["-L", "-o", "xml,id"]);
            let mut theirs: Vec<_> = xml.split("<flow").skip(1).map(numbers).collect();
            ours.sort_unstable();
            theirs.sort_unstable();
            assert_eq!(ours.len(), 300);
            for (ours, theirs) in ours.iter().zip(&theirs) {
                assert_eq!(ours, theirs);
            }
        });
    }
}
