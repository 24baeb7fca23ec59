//! Filters as text: a filter or an error, what is printed parses back, and of what is planned every
//! dump is a dump and every flush has a tuple that is no key.
#![no_main]

use ctnetlink::wire::{Attributes, Messages};
use ctnetlink::{Filter, FlowRef};
use libfuzzer_sys::fuzz_target;

/// The top-level attributes of a request of this kind.
fn attributes(request: &[u8], kind: u16) -> Vec<(u16, Vec<u8>)> {
    let messages: Vec<_> = Messages::new(request).collect();
    let [Ok(message)] = messages[..] else { panic!("one message: {request:02x?}") };
    assert_eq!(message.kind, kind);
    let all = Attributes::new(&message.payload[4..]).map(Result::unwrap);
    all.map(|attribute| (attribute.kind, attribute.value.to_vec())).collect()
}

/// Whether a kernel could take the tuple for the key of one entry.
fn is_key(tuple: &[u8]) -> bool {
    let nest = |kind| Attributes::new(tuple).flatten().find(|nest| nest.kind == kind);
    let members = |kind| nest(kind).map_or(0, |nest| nest.nested().count());
    let number = nest(2).and_then(|proto| proto.nested().flatten().find(|p| p.kind == 1));
    let complete = match number.map(|number| number.value) {
        None => return false,
        Some([6 | 17]) => 3,
        Some([1 | 58]) => 4,
        Some(_) => 1,
    };
    members(1) == 2 && members(2) >= complete
}

fuzz_target!(|input: &[u8]| {
    let at = input.iter().position(|byte| *byte == 0).unwrap_or(input.len());
    let (text, payload) =
        (String::from_utf8_lossy(&input[..at]), &input[(at + 1).min(input.len())..]);
    let Ok(filter) = text.parse::<Filter>() else { return };
    let printed = filter.to_string();
    assert_eq!(printed.parse::<Filter>().unwrap(), filter, "{printed}");
    // An age can pass between two looks.
    if let (Ok(flow), false) = (FlowRef::parse(payload), printed.contains("age")) {
        assert_ne!(filter.matches(&flow), (!filter.clone()).matches(&flow), "{printed}");
    }
    let (dumps, flushes) = ctnetlink::fuzzing::filter_requests(&filter);
    assert!(!dumps.is_empty(), "{printed}");
    for dump in dumps {
        attributes(&dump, 0x101);
    }
    for flush in flushes {
        let all = attributes(&flush, 0x102);
        let tuple = &all.iter().find(|(kind, _)| *kind == 1).expect("a tuple").1;
        assert!(all.iter().any(|(kind, _)| *kind == 25), "{printed}: {flush:02x?}");
        assert!(!is_key(tuple), "{printed}: {flush:02x?}");
    }
});
