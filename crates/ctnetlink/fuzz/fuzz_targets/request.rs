//! Requests round trip: the delete of any entry names it by the tuple it was read from and is never
//! a flush, and an entry made from what was read reads the same again.
#![no_main]

use ctnetlink::wire::{Attributes, Messages};
use ctnetlink::{FlowRef, NewEntry};
use libfuzzer_sys::fuzz_target;
use netlink_packet_core::NetlinkMessage;
use netlink_packet_netfilter::NetfilterMessage;

fuzz_target!(|payload: &[u8]| {
    let Ok(flow) = FlowRef::parse(payload) else { return };
    if let Some(request) = ctnetlink::fuzzing::delete_request(&flow) {
        let messages: Vec<_> = Messages::new(&request).collect();
        let [Ok(message)] = messages[..] else { panic!("one message: {request:02x?}") };
        assert_eq!(message.kind, 0x102);
        let mut attributes = Attributes::new(&message.payload[4..]).map(Result::unwrap);
        let reply = attributes.next().unwrap();
        // A zone inside the reply tuple (attribute 3) goes to the top level.
        let zoned = flow.attribute(2).is_some_and(|reply| {
            Attributes::new(reply).map_while(Result::ok).any(|attribute| attribute.kind == 3)
        });
        assert_eq!(reply.kind, 2);
        assert!(zoned || Some(reply.value) == flow.attribute(2));
        assert_eq!(attributes.next().map(|id| id.value), flow.attribute(12));
    }
    let new = NewEntry::new(*flow.orig(), flow.timeout().unwrap_or_default())
        .reply(*flow.reply())
        .mark(flow.mark().unwrap_or(0))
        .status(flow.status());
    if let Some(request) = ctnetlink::fuzzing::create_request(&new) {
        let again = FlowRef::parse(&request[16..]).unwrap();
        let key =
            |flow: &FlowRef<'_>| (flow.orig().src(), flow.orig().dst(), flow.orig().protocol());
        assert_eq!(key(&again), key(&flow));
        assert_eq!(again.mark(), Some(flow.mark().unwrap_or(0)));
        let _ = NetlinkMessage::<NetfilterMessage>::deserialize(&request);
    }
});
