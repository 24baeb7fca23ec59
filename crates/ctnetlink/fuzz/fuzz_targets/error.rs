//! Answers to commands: acknowledgements, errors with and without extended texts, ends.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|datagram: &[u8]| ctnetlink::fuzzing::answers(datagram));
