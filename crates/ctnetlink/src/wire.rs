//! Bytes in, views out: netlink messages and attributes as borrowed iterators.
//!
//! Nothing here allocates, copies or does I/O, and no input panics: what is not a message or an
//! attribute is a [`DecodeError`] with its offset. This is the hot path of every dump, which is
//! why it is not `netlink-packet-core`'s `NlasIterator` (five times the instructions for the
//! same walk).

use std::borrow::Cow;

use crate::error::DecodeError;

/// Size of `struct nlmsghdr`.
pub const HEADER_LEN: usize = 16;
/// Size of `struct nlattr`.
pub const ATTRIBUTE_HEADER_LEN: usize = 4;
/// The two flag bits of an attribute type (`NLA_F_NESTED`, `NLA_F_NET_BYTEORDER`) are not part
/// of its number. The kernel sets the first on nests and never the second; readers ignore both.
const TYPE_MASK: u16 = 0x3fff;

/// Netlink aligns messages and attributes to four bytes (`NLMSG_ALIGN`, `NLA_ALIGN`).
#[inline]
const fn align(length: usize) -> usize {
    (length + 3) & !3
}

/// One netlink message, borrowed from a datagram. Header fields are in host byte order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Message<'a> {
    /// `nlmsg_type`: for ctnetlink, `(subsystem << 8) | message`.
    pub kind: u16,
    /// `nlmsg_flags`, the `NLM_F_*` bits.
    pub flags: u16,
    /// `nlmsg_seq`: the number of the request this answers; 0 in events.
    pub sequence: u32,
    /// What follows the 16-byte header, without padding.
    pub payload: &'a [u8],
    /// Where the payload starts in the datagram.
    pub payload_offset: usize,
}

/// Iterates over the messages of a datagram. After an error it ends.
///
/// ```
/// use ctnetlink::wire::Messages;
/// // NLMSG_DONE, sequence 7, from port 0, code 0
/// let datagram = [20, 0, 0, 0, 3, 0, 2, 0, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
/// let mut messages = Messages::new(&datagram);
/// # if cfg!(target_endian = "little") {
/// let done = messages.next().unwrap()?;
/// assert_eq!((done.kind, done.sequence, done.payload.len()), (3, 7, 4));
/// assert!(messages.next().is_none());
/// # }
/// # Ok::<(), ctnetlink::DecodeError>(())
/// ```
#[derive(Debug, Clone)]
pub struct Messages<'a> {
    datagram: &'a [u8],
    offset: usize,
}

impl<'a> Messages<'a> {
    /// Starts at the beginning of a datagram.
    #[inline]
    pub fn new(datagram: &'a [u8]) -> Self {
        Messages { datagram, offset: 0 }
    }

    /// Starts in the middle, at the offset another iterator had reached.
    #[inline]
    pub(crate) fn resume(datagram: &'a [u8], offset: usize) -> Self {
        Messages { datagram, offset }
    }

    /// Offset of the next message in the datagram.
    #[inline]
    pub(crate) fn offset(&self) -> usize {
        self.offset
    }
}

impl<'a> Iterator for Messages<'a> {
    type Item = Result<Message<'a>, DecodeError>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        let at = self.offset;
        let rest = self.datagram.get(at..)?;
        if rest.is_empty() {
            return None;
        }
        let fail = |this: &mut Self, what| {
            this.offset = this.datagram.len();
            Some(Err(DecodeError::new(what, at)))
        };
        let Some(header) = rest.first_chunk::<HEADER_LEN>() else {
            return fail(self, "netlink header cut short");
        };
        let length = u32::from_ne_bytes([header[0], header[1], header[2], header[3]]) as usize;
        if length < HEADER_LEN {
            return fail(self, "netlink message shorter than its header");
        }
        let Some(payload) = rest.get(HEADER_LEN..length) else {
            return fail(self, "netlink message longer than its datagram");
        };
        self.offset = at.saturating_add(align(length)).min(self.datagram.len());
        Some(Ok(Message {
            kind: u16::from_ne_bytes([header[4], header[5]]),
            flags: u16::from_ne_bytes([header[6], header[7]]),
            sequence: u32::from_ne_bytes([header[8], header[9], header[10], header[11]]),
            payload,
            payload_offset: at + HEADER_LEN,
        }))
    }
}

/// One attribute, borrowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attribute<'a> {
    /// Attribute number, without the flag bits.
    pub kind: u16,
    /// The value, without header and padding.
    pub value: &'a [u8],
    /// Where the value starts in the bytes the iterator was made from.
    pub offset: usize,
}

/// Iterates over attributes, top level or inside a nest. After an error it ends.
///
/// Remaining bytes that are too few for an attribute header are padding and end the iteration, as
/// in the kernel's `nla_for_each_attr`.
///
/// ```
/// use ctnetlink::wire::Attributes;
/// # if cfg!(target_endian = "little") {
/// // CTA_MARK (8), big endian 17
/// let mut attributes = Attributes::new(&[8, 0, 8, 0, 0, 0, 0, 17]);
/// let mark = attributes.next().unwrap()?;
/// assert_eq!((mark.kind, mark.be32()), (8, Some(17)));
/// # }
/// # Ok::<(), ctnetlink::DecodeError>(())
/// ```
#[derive(Debug, Clone)]
pub struct Attributes<'a> {
    bytes: &'a [u8],
    offset: usize,
}

impl<'a> Attributes<'a> {
    /// Starts at the first attribute of `bytes`.
    #[inline]
    pub fn new(bytes: &'a [u8]) -> Self {
        Attributes { bytes, offset: 0 }
    }

    /// The first attribute of this number that can be read.
    pub(crate) fn find(bytes: &'a [u8], kind: u16) -> Option<Attribute<'a>> {
        Attributes::new(bytes).readable().find(|attribute| attribute.kind == kind)
    }

    /// An iterator without errors: an attribute that is out of bounds silently ends the walk. It is
    /// for nests made by the kernel, where that does not happen, and a third faster than one with a
    /// `Result` for each attribute.
    #[inline]
    pub(crate) fn readable(self) -> Readable<'a> {
        Readable { rest: self.bytes.get(self.offset..).unwrap_or_default(), offset: self.offset }
    }
}

/// See [`Attributes::readable`].
#[derive(Debug, Clone)]
pub(crate) struct Readable<'a> {
    rest: &'a [u8],
    offset: usize,
}

impl<'a> Iterator for Readable<'a> {
    type Item = Attribute<'a>;

    #[inline]
    fn next(&mut self) -> Option<Attribute<'a>> {
        let (header, tail) = self.rest.split_first_chunk::<ATTRIBUTE_HEADER_LEN>()?;
        let length = usize::from(u16::from_ne_bytes([header[0], header[1]]));
        let value = tail.get(..length.checked_sub(ATTRIBUTE_HEADER_LEN)?)?;
        let kind = u16::from_ne_bytes([header[2], header[3]]) & TYPE_MASK;
        let attribute = Attribute { kind, value, offset: self.offset + ATTRIBUTE_HEADER_LEN };
        self.rest = tail.get(align(value.len())..).unwrap_or_default();
        self.offset += ATTRIBUTE_HEADER_LEN + align(value.len());
        Some(attribute)
    }
}

impl<'a> Iterator for Attributes<'a> {
    type Item = Result<Attribute<'a>, DecodeError>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        let at = self.offset;
        let rest = self.bytes.get(at..)?;
        let header = rest.first_chunk::<ATTRIBUTE_HEADER_LEN>()?;
        let length = usize::from(u16::from_ne_bytes([header[0], header[1]]));
        let Some(value) = rest.get(ATTRIBUTE_HEADER_LEN..length) else {
            // A length shorter than the header also ends here, because the range is reversed.
            self.offset = self.bytes.len();
            return Some(Err(DecodeError::new("attribute length out of bounds", at)));
        };
        self.offset = at + align(length);
        Some(Ok(Attribute {
            kind: u16::from_ne_bytes([header[2], header[3]]) & TYPE_MASK,
            value,
            offset: at + ATTRIBUTE_HEADER_LEN,
        }))
    }
}

impl<'a> Attribute<'a> {
    /// The first byte.
    #[inline]
    pub fn u8(&self) -> Option<u8> {
        self.value.first().copied()
    }

    /// The first two bytes as a big-endian number. Longer values are accepted, as in the kernel.
    #[inline]
    pub fn be16(&self) -> Option<u16> {
        be16(self.value)
    }

    /// The first four bytes as a big-endian number.
    #[inline]
    pub fn be32(&self) -> Option<u32> {
        be32(self.value)
    }

    /// The first eight bytes as a big-endian number.
    #[inline]
    pub fn be64(&self) -> Option<u64> {
        be64(self.value)
    }

    /// The first `N` bytes as they are.
    #[inline]
    pub fn bytes<const N: usize>(&self) -> Option<[u8; N]> {
        self.value.first_chunk::<N>().copied()
    }

    /// A text from the kernel, without its trailing NUL. Bytes that are not UTF-8 are replaced.
    pub(crate) fn text(&self) -> Cow<'a, str> {
        String::from_utf8_lossy(self.value.split(|byte| *byte == 0).next().unwrap_or_default())
    }

    /// The attributes inside this one.
    #[inline]
    pub fn nested(&self) -> Attributes<'a> {
        Attributes::new(self.value)
    }
}

#[inline]
pub(crate) fn be16(bytes: &[u8]) -> Option<u16> {
    bytes.first_chunk().copied().map(u16::from_be_bytes)
}

#[inline]
pub(crate) fn be32(bytes: &[u8]) -> Option<u32> {
    bytes.first_chunk().copied().map(u32::from_be_bytes)
}

#[inline]
pub(crate) fn be64(bytes: &[u8]) -> Option<u64> {
    bytes.first_chunk().copied().map(u64::from_be_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn message(length: u32, kind: u16, payload: &[u8]) -> Vec<u8> {
        let mut bytes = length.to_ne_bytes().to_vec();
        bytes.extend(kind.to_ne_bytes());
        bytes.extend([0; 10]);
        bytes.extend(payload);
        bytes
    }

    fn attribute(length: u16, kind: u16, value: &[u8]) -> Vec<u8> {
        let mut bytes = length.to_ne_bytes().to_vec();
        bytes.extend(kind.to_ne_bytes());
        bytes.extend(value);
        bytes
    }

    #[test]
    fn messages_are_aligned_to_four_bytes() {
        let mut datagram = message(17, 0x100, &[1, 0, 0, 0]);
        datagram.extend(message(16, 3, &[]));
        let got: Vec<_> = Messages::new(&datagram).map(Result::unwrap).collect();
        assert_eq!(got.len(), 2);
        assert_eq!((got[0].kind, got[0].payload, got[0].payload_offset), (0x100, &[1][..], 16));
        assert_eq!((got[1].kind, got[1].payload_offset), (3, 36));
    }

    #[test]
    fn a_last_message_may_lack_its_padding() {
        let datagram = message(17, 0x100, &[1]);
        assert_eq!(Messages::new(&datagram).count(), 1);
    }

    #[test]
    fn bad_message_lengths_are_errors_and_end_the_walk() {
        for (bytes, what) in [
            (message(15, 1, &[]), "netlink message shorter than its header"),
            (message(17, 1, &[]), "netlink message longer than its datagram"),
            (message(u32::MAX, 1, &[]), "netlink message longer than its datagram"),
            (vec![16, 0, 0], "netlink header cut short"),
        ] {
            let mut messages = Messages::new(&bytes);
            assert_eq!(messages.next().unwrap().unwrap_err(), DecodeError { what, offset: 0 });
            assert!(messages.next().is_none());
        }
    }

    #[test]
    fn attribute_flags_are_not_part_of_the_number() {
        let bytes = attribute(4, 0xc000 | 25, &[]);
        assert_eq!(Attributes::new(&bytes).next().unwrap().unwrap().kind, 25);
    }

    #[test]
    fn bad_attribute_lengths_are_errors_and_end_the_walk() {
        for bytes in [attribute(3, 1, &[]), attribute(0, 1, &[]), attribute(9, 1, &[0; 4])] {
            let mut attributes = Attributes::new(&bytes);
            assert_eq!(attributes.next().unwrap().unwrap_err().offset, 0);
            assert!(attributes.next().is_none());
        }
    }

    #[test]
    fn short_rests_are_padding() {
        let mut bytes = attribute(8, 1, &[0, 0, 0, 1]);
        bytes.extend([0, 0, 0]);
        assert_eq!(Attributes::new(&bytes).count(), 1);
    }

    #[test]
    fn numbers_are_big_endian_and_longer_values_are_read_from_their_front() {
        let bytes = attribute(14, 1, &[1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
        let a = Attributes::new(&bytes).next().unwrap().unwrap();
        assert_eq!(a.u8(), Some(1));
        assert_eq!(a.be16(), Some(0x0102));
        assert_eq!(a.be32(), Some(0x0102_0304));
        assert_eq!(a.be64(), Some(0x0102_0304_0506_0708));
        assert_eq!(a.bytes::<4>(), Some([1, 2, 3, 4]));
        let short = Attribute { kind: 1, value: &[1], offset: 4 };
        assert_eq!((short.be16(), short.be32(), short.be64()), (None, None, None));
    }

    proptest! {
        #[test]
        fn no_bytes_panic_and_every_view_lies_inside(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            for message in Messages::new(&bytes).flatten() {
                prop_assert_eq!(
                    message.payload,
                    &bytes[message.payload_offset..message.payload_offset + message.payload.len()]
                );
            }
            let strict: Vec<_> = Attributes::new(&bytes).flatten().collect();
            prop_assert_eq!(Attributes::new(&bytes).readable().collect::<Vec<_>>(), strict);
            let mut ends = 0;
            for attribute in Attributes::new(&bytes).flatten() {
                prop_assert_eq!(
                    attribute.value,
                    &bytes[attribute.offset..attribute.offset + attribute.value.len()]
                );
                prop_assert!(attribute.offset >= ends);
                ends = attribute.offset + attribute.value.len();
            }
        }
    }
}
