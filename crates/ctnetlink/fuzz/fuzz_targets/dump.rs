//! A datagram of a dump: whatever the bytes, views or errors, and every field of a view readable.
#![no_main]

use ctnetlink::FlowRef;
use ctnetlink::wire::{Attributes, Messages};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|datagram: &[u8]| {
    for message in Messages::new(datagram).flatten() {
        let Ok(flow) = FlowRef::parse(message.payload) else { continue };
        let owned = flow.to_owned();
        // The line has the entry's age in it, which may change between two calls.
        let _ = flow.line().extended().id().to_string();
        assert_eq!(format!("{flow:?}"), format!("{owned:?}"));
        assert_eq!(serde_json::to_string(&flow).unwrap(), serde_json::to_string(&owned).unwrap());
        assert_eq!(flow.attributes().count(), owned.attributes().count());
    }
    for attribute in Attributes::new(datagram).flatten() {
        assert!(
            attribute.nested().flatten().all(|inner| inner.value.len() <= attribute.value.len())
        );
    }
});
