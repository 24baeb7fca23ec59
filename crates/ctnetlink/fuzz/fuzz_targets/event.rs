//! The payload of one message, as an event or an expectation carries it, against the independent
//! parser: where both read a mark, a status or a timeout, they read the same.
#![no_main]

use ctnetlink::{Expectation, FlowRef};
use libfuzzer_sys::fuzz_target;
use netlink_packet_core::{NetlinkMessage, NetlinkPayload};
use netlink_packet_netfilter::conntrack::{ConntrackAttribute, ConntrackMessage};
use netlink_packet_netfilter::{NetfilterMessage, NetfilterMessageInner};

fuzz_target!(|payload: &[u8]| {
    let _ = Expectation::parse(payload);
    let Ok(flow) = FlowRef::parse(payload) else { return };
    let _ = (flow.event_time(), flow.timestamps(), flow.labels(), flow.helper(), flow.master());

    let mut message = u32::try_from(payload.len() + 16).unwrap().to_ne_bytes().to_vec();
    message.extend(0x100_u16.to_ne_bytes());
    message.resize(16, 0);
    message.extend(payload);
    let Ok(message) = NetlinkMessage::<NetfilterMessage>::deserialize(&message) else { return };
    let NetlinkPayload::InnerMessage(message) = message.payload else { return };
    let NetfilterMessageInner::Conntrack(ConntrackMessage::New(attributes)) = message.inner else {
        return;
    };
    // Of doubled attributes the last counts.
    let (mut mark, mut status, mut timeout) = (None, None, None);
    for attribute in &attributes {
        match attribute {
            ConntrackAttribute::CtaMark(value) => mark = Some(*value),
            ConntrackAttribute::CtaStatus(bits) => status = Some(bits.bits()),
            ConntrackAttribute::CtaTimeout(seconds) => timeout = Some(u64::from(*seconds)),
            _ => {}
        }
    }
    assert!(mark.is_none() || flow.mark() == mark);
    assert!(status.is_none_or(|bits| flow.status().bits() == bits));
    assert!(timeout.is_none() || flow.timeout().map(|left| left.as_secs()) == timeout);
});
