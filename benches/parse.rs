//! Reading dumped entries: ours with every field the model has, against the full parse of
//! `netlink-packet-netfilter`, on the same datagrams captured from this kernel.
//!
//! `cargo bench --bench parse`. Figures are for one entry of the captured mix.
#![allow(clippy::unwrap_used, reason = "a measurement that cannot be made should stop")]

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use ctnetlink::FlowRef;
use ctnetlink::wire::Messages;
use ctnetlink_testbed::kube::KubeTable;
use ctnetlink_testbed::netns;
use netlink_packet_core::{NLM_F_DUMP, NLM_F_REQUEST, NetlinkMessage};
use netlink_packet_netfilter::NetfilterMessage;
use netlink_sys::{Socket, SocketAddr};

/// Raw dump messages, one per entry.
fn capture(entries: u32) -> Vec<Vec<u8>> {
    netns::enter_private().unwrap();
    netns::sysctl("net/netfilter/nf_conntrack_acct", "1");
    netns::sysctl("net/netfilter/nf_conntrack_timestamp", "1");
    KubeTable { entries }.fill(|_| ()).unwrap();
    let mut socket = Socket::new(12).unwrap();
    socket.bind_auto().unwrap();
    socket.connect(&SocketAddr::new(0, 0)).unwrap();
    let mut request = 20_u32.to_ne_bytes().to_vec();
    request.extend(0x101_u16.to_ne_bytes());
    request.extend((NLM_F_REQUEST | NLM_F_DUMP).to_ne_bytes());
    request.resize(20, 0);
    socket.send(&request, 0).unwrap();
    let mut messages = Vec::new();
    loop {
        let mut datagram = Vec::with_capacity(65536);
        socket.recv(&mut datagram, 0).unwrap();
        for message in Messages::new(&datagram) {
            let message = message.unwrap();
            if message.kind != 0x100 {
                return messages;
            }
            let start = message.payload_offset - 16;
            let end = message.payload_offset + message.payload.len();
            messages.push(datagram[start..end].to_vec());
        }
    }
}

fn read_all(payload: &[u8]) {
    let flow = FlowRef::parse(payload).unwrap();
    black_box((flow.orig(), flow.reply(), flow.status(), flow.timeout(), flow.mark()));
    black_box((flow.zone(), flow.id(), flow.protocol_state(), flow.use_count(), flow.timestamps()));
    black_box((flow.counters_orig(), flow.counters_reply(), flow.labels(), flow.helper()));
    black_box((flow.master(), flow.seq_adj_orig(), flow.seq_adj_reply(), flow.synproxy()));
    black_box((flow.security_context(), flow.event_time(), flow.family(), flow.protocol()));
}

fn parse(c: &mut Criterion) {
    let messages = capture(10_000);
    assert_eq!(messages.len(), 10_000);
    let mut group = c.benchmark_group("parse");
    group.throughput(Throughput::Elements(messages.len() as u64));
    group.bench_function("ctnetlink, every field", |b| {
        b.iter(|| messages.iter().for_each(|message| read_all(&message[16..])));
    });
    group.bench_function("netlink-packet-netfilter, deserialize", |b| {
        b.iter(|| {
            for message in &messages {
                black_box(NetlinkMessage::<NetfilterMessage>::deserialize(message).unwrap());
            }
        });
    });
    group.finish();
}

criterion_group!(benches, parse);
criterion_main!(benches);
