//! Reading dumped entries: ours with every field the model has, against the full parse of
//! `netlink-packet-netfilter` and a flat parse with `netlink-packet-core`'s iterator, on the same
//! messages captured from this kernel (90 % TCP, with accounting and timestamps).
//!
//! `cargo bench --bench parse`. The profile is Cargo's default, which is what a crate that embeds
//! this one gets; link-time optimisation makes the peers faster and leaves ours as it is.
#![allow(clippy::unwrap_used, reason = "a measurement that cannot be made should stop")]

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use ctnetlink::FlowRef;
use ctnetlink_testbed::kube::KubeTable;
use ctnetlink_testbed::{netns, raw};
use netlink_packet_core::{
    NetlinkMessage, NlasIterator, parse_u8, parse_u16_be, parse_u32_be, parse_u64_be,
};
use netlink_packet_netfilter::NetfilterMessage;

/// Raw dump messages, one per entry.
fn captured(entries: u32) -> Vec<Vec<u8>> {
    netns::enter_private().unwrap();
    netns::sysctl("net/netfilter/nf_conntrack_acct", "1");
    netns::sysctl("net/netfilter/nf_conntrack_timestamp", "1");
    KubeTable { entries }.fill(|_| ()).unwrap();
    raw::capture()
}

fn read_all(payload: &[u8]) {
    let flow = FlowRef::parse(payload).unwrap();
    black_box((flow.orig(), flow.reply(), flow.status(), flow.timeout(), flow.mark()));
    black_box((flow.zone(), flow.id(), flow.protocol_state(), flow.use_count(), flow.timestamps()));
    black_box((flow.counters_orig(), flow.counters_reply(), flow.labels(), flow.helper()));
    black_box((flow.master(), flow.seq_adj_orig(), flow.seq_adj_reply(), flow.synproxy()));
    black_box((flow.security_context(), flow.event_time(), flow.family(), flow.protocol()));
}

/// The same fields as far as the kernel sends them, by `netlink-packet-core`'s iterator into a flat
/// struct of numbers.
fn nlas(message: &[u8]) -> [u64; 16] {
    let mut fields = [0; 16];
    let walk = |bytes: &[u8], deep: &mut dyn FnMut(u16, &[u8])| {
        for nla in NlasIterator::new(bytes) {
            let nla = nla.unwrap();
            deep(nla.kind(), nla.value());
        }
    };
    walk(&message[20..], &mut |kind, value| match kind {
        1 | 2 => {
            for nla in NlasIterator::new(value) {
                let nla = nla.unwrap();
                for member in NlasIterator::new(nla.value()) {
                    let member = member.unwrap();
                    let number = match (nla.kind(), member.value().len()) {
                        (2, 1) => parse_u8(member.value()).unwrap().into(),
                        (2, _) => parse_u16_be(member.value()).unwrap().into(),
                        (_, 4) => parse_u32_be(member.value()).unwrap().into(),
                        _ => u64::from_be_bytes(member.value()[..8].try_into().unwrap()),
                    };
                    fields[usize::from(member.kind())] ^= number;
                }
            }
        }
        4 | 9 | 10 | 20 | 24 => {
            for nla in NlasIterator::new(value) {
                let nla = nla.unwrap();
                fields[usize::from(kind % 16)] ^= match nla.value().len() {
                    1 => parse_u8(nla.value()).unwrap().into(),
                    2 => parse_u16_be(nla.value()).unwrap().into(),
                    4 => parse_u32_be(nla.value()).unwrap().into(),
                    8 => parse_u64_be(nla.value()).unwrap(),
                    _ => nla.value().len() as u64,
                };
            }
        }
        _ if value.len() == 4 => {
            fields[usize::from(kind % 16)] = parse_u32_be(value).unwrap().into();
        }
        _ => {}
    });
    fields
}

fn deserialize(message: &[u8]) -> NetlinkMessage<NetfilterMessage> {
    NetlinkMessage::deserialize(message).unwrap()
}

fn parse(c: &mut Criterion) {
    let messages = captured(10_000);
    assert_eq!(messages.len(), 10_000);
    let ours = || messages.iter().for_each(|message| read_all(&message[16..]));
    let core = || messages.iter().for_each(|message| _ = black_box(nlas(message)));
    let full = || messages.iter().for_each(|message| _ = black_box(deserialize(message)));

    for (name, work) in [
        ("ctnetlink", &ours as &dyn Fn()),
        ("netlink-packet-core, NlasIterator", &core),
        ("netlink-packet-netfilter, deserialize", &full),
    ] {
        let info = allocation_counter::measure(work);
        let entries = messages.len() as f64;
        println!(
            "{name}: {:.1} allocations, {:.0} bytes per entry",
            info.count_total as f64 / entries,
            info.bytes_total as f64 / entries
        );
    }

    let mut group = c.benchmark_group("parse 10000 entries");
    group.throughput(Throughput::Elements(messages.len() as u64));
    group.bench_function("ctnetlink, every field", |b| b.iter(ours));
    group.bench_function("netlink-packet-core, NlasIterator", |b| b.iter(core));
    group.bench_function("netlink-packet-netfilter, deserialize", |b| b.iter(full));
    group.finish();
}

criterion_group!(benches, parse);
criterion_main!(benches);
