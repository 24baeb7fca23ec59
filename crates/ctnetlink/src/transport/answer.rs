//! What the kernel's control messages say: acknowledgements, errors, ends of dumps.

use netlink_packet_core::{NLM_F_ACK_TLVS, NLM_F_CAPPED, NLMSG_DONE, NLMSG_ERROR, NLMSG_OVERRUN};

use crate::error::{Error, Operation, Result};
use crate::model::flow::{Flow, FlowRef};
use crate::wire::{Attributes, HEADER_LEN, Message};

/// `NLMSGERR_ATTR_MSG`: a NUL-terminated text.
const ATTR_MSG: u16 = 1;
/// `NLMSGERR_ATTR_OFFS`: offset of the offending attribute, u32 in host order.
const ATTR_OFFS: u16 = 2;

/// A message, classified by what it means to the caller that waits.
#[derive(Debug)]
pub(crate) enum Answer<'a> {
    /// `NLMSG_ERROR` with code 0.
    Ack,
    /// `NLMSG_ERROR` or `NLMSG_DONE` with an errno, or `NLMSG_OVERRUN`.
    Error(Error),
    /// `NLMSG_DONE`.
    Done,
    /// A message of a subsystem.
    Data(Message<'a>),
    /// `NLMSG_NOOP`, and control messages that are not defined.
    Noise,
}

impl<'a> Answer<'a> {
    #[inline]
    pub(crate) fn of(operation: Operation, message: Message<'a>) -> Answer<'a> {
        if message.kind >= 0x10 {
            return Answer::Data(message);
        }
        Answer::control(operation, message)
    }

    fn control(operation: Operation, message: Message<'a>) -> Answer<'a> {
        let code = message.payload.first_chunk().copied().map_or(0, i32::from_ne_bytes);
        match (message.kind, code) {
            (NLMSG_ERROR, 0) => Answer::Ack,
            (NLMSG_DONE, 0) => Answer::Done,
            (NLMSG_ERROR | NLMSG_DONE, code) => {
                let (text, offset) = extended_ack(&message);
                Answer::Error(Error::Kernel {
                    operation,
                    errno: code.saturating_neg(),
                    message: text,
                    offset,
                })
            }
            (NLMSG_OVERRUN, _) => Answer::Error(Error::Overrun { operation }),
            _ => Answer::Noise,
        }
    }
}

/// The entry in a message, as a value of its own.
pub(crate) fn entry(operation: Operation, message: &Message<'_>) -> Result<Flow> {
    let flow = FlowRef::parse(message.payload);
    flow.map(|flow| flow.to_owned()).map_err(|source| Error::decode(operation, source))
}

/// A length from a message, aligned as netlink does. `None` if that is not a length any more: a
/// number this large wraps around to a small one where `usize` has 32 bits.
fn aligned(length: u32) -> Option<usize> {
    length.checked_next_multiple_of(4)?.try_into().ok()
}

/// Finds the TLVs behind an error: after the code comes the header of the request, and its payload
/// unless the reply is capped.
fn extended_ack(message: &Message<'_>) -> (Option<String>, Option<u32>) {
    let tlvs = || {
        if message.flags & NLM_F_ACK_TLVS == 0 {
            return None;
        }
        let after_code = message.payload.get(4..)?;
        if message.kind == NLMSG_DONE {
            return Some(after_code);
        }
        let length = after_code.first_chunk().copied().map(u32::from_ne_bytes)?;
        let echoed = if message.flags & NLM_F_CAPPED == 0 { aligned(length)? } else { HEADER_LEN };
        after_code.get(echoed..)
    };
    let Some(tlvs) = tlvs() else { return (None, None) };
    let (mut text, mut offset) = (None, None);
    for attribute in Attributes::new(tlvs).readable() {
        match attribute.kind {
            ATTR_MSG => {
                text = Some(attribute.text().into_owned());
            }
            ATTR_OFFS => offset = attribute.bytes().map(u32::from_ne_bytes),
            _ => {}
        }
    }
    (text, offset)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(kind: u16, flags: u16, payload: &[u8]) -> Answer<'_> {
        let message = Message { kind, flags, sequence: 1, payload, payload_offset: 16 };
        Answer::of(Operation::Dump, message)
    }

    fn error_payload(errno: i32, echoed: usize, tlvs: &[u8]) -> Vec<u8> {
        let mut payload = (-errno).to_ne_bytes().to_vec();
        payload.extend(u32::try_from(16 + echoed).unwrap().to_ne_bytes());
        payload.resize(4 + 16, 0);
        payload.extend(tlvs);
        payload
    }

    fn tlvs() -> Vec<u8> {
        let mut bytes = Vec::new();
        for (kind, value) in [(ATTR_MSG, &b"no\0"[..]), (ATTR_OFFS, &24u32.to_ne_bytes()[..])] {
            bytes.extend(u16::try_from(4 + value.len()).unwrap().to_ne_bytes());
            bytes.extend(kind.to_ne_bytes());
            bytes.extend(value);
            bytes.resize(bytes.len().next_multiple_of(4), 0);
        }
        bytes
    }

    #[test]
    fn codes() {
        assert!(matches!(reply(NLMSG_ERROR, 0, &[0; 20]), Answer::Ack));
        assert!(matches!(reply(NLMSG_DONE, 0, &[0; 4]), Answer::Done));
        assert!(matches!(reply(0x100, 0, &[]), Answer::Data(_)));
        assert!(matches!(reply(1, 0, &[]), Answer::Noise));
        assert!(matches!(reply(NLMSG_OVERRUN, 0, &[]), Answer::Error(Error::Overrun { .. })));
        let enoent = error_payload(libc::ENOENT, 0, &[]);
        assert!(matches!(reply(NLMSG_ERROR, 0, &enoent), Answer::Error(e) if e.is_not_found()));
        let eintr = (-libc::EINTR).to_ne_bytes();
        assert!(matches!(
            reply(NLMSG_DONE, 2, &eintr),
            Answer::Error(e) if e.raw_os_error() == Some(libc::EINTR)
        ));
        let smallest = i32::MIN.to_ne_bytes();
        assert!(matches!(reply(NLMSG_ERROR, 0, &smallest), Answer::Error(_)));
    }

    /// The end of a dump, and the answer to a delete of what is gone (docs/kernel-interface.md, 11).
    #[test]
    #[cfg(target_endian = "little")]
    fn the_verified_vectors() {
        use crate::model::flow::tests::unhex;
        use crate::wire::Messages;
        let done = unhex("140000000300020006030201a00b000000000000");
        let gone = unhex(
            "640000000200000008030201a00b0000feffffff500000000201010008030201\
             00000000020000003400028014000180080001000af40105080002000a000001\
             1c00028005000100110000000600020014e900000600030003e9000008000c00\
             4c4f9f98",
        );
        let read = |bytes| {
            let message = Messages::new(bytes).next().unwrap().unwrap();
            (message.sequence, Answer::of(Operation::Delete, message))
        };
        assert!(matches!(read(&done), (0x0102_0306, Answer::Done)));
        assert!(matches!(read(&gone), (0x0102_0308, Answer::Error(e)) if e.is_not_found()));
    }

    #[test]
    fn extended_acks_are_found_behind_capped_and_echoed_requests() {
        let capped = error_payload(libc::ERANGE, 4, &tlvs());
        let mut echoed = error_payload(libc::ERANGE, 4, &[0; 4]);
        echoed.extend(tlvs());
        for (flags, payload) in [(NLM_F_ACK_TLVS | NLM_F_CAPPED, capped), (NLM_F_ACK_TLVS, echoed)]
        {
            let Answer::Error(Error::Kernel { message, offset, errno, .. }) =
                reply(NLMSG_ERROR, flags, &payload)
            else {
                panic!("an error");
            };
            assert_eq!((errno, message.as_deref(), offset), (libc::ERANGE, Some("no"), Some(24)));
        }
    }

    /// The echoed length is the kernel's, or a forger's.
    #[test]
    fn a_length_does_not_wrap_around() {
        assert_eq!([0, 1, 4, 5].map(aligned), [0, 4, 4, 8].map(Some));
        assert_eq!([u32::MAX - 2, u32::MAX].map(aligned), [None; 2]);
        for length in [u32::MAX, u32::MAX - 3, 0x8000_0000] {
            let mut payload = (-libc::EINVAL).to_ne_bytes().to_vec();
            payload.extend(length.to_ne_bytes());
            payload.resize(64, 0);
            assert!(matches!(
                reply(NLMSG_ERROR, NLM_F_ACK_TLVS, &payload),
                Answer::Error(Error::Kernel { message: None, offset: None, .. })
            ));
        }
    }

    #[test]
    fn a_cut_short_extended_ack_is_no_ack() {
        let mut payload = error_payload(libc::EINVAL, 0, &[]);
        payload.truncate(9);
        assert!(matches!(
            reply(NLMSG_ERROR, NLM_F_ACK_TLVS, &payload),
            Answer::Error(Error::Kernel { message: None, offset: None, .. })
        ));
    }
}
