//! One conntrack entry, as a view into the receive buffer or as a value of its own.

use std::borrow::Cow;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::time::{Duration, SystemTime};

use crate::error::DecodeError;
use crate::model::extension::{self, Counters, SeqAdj, SynProxy, Timestamps};
use crate::model::labels::Labels;
use crate::model::protocol::{Protocol, ProtocolState};
use crate::model::status::Status;
use crate::model::tuple::{Family, Tuple};
use crate::uapi::{NFGENMSG_LEN, cta};
use crate::wire::{self, ATTRIBUTE_HEADER_LEN, Attribute, Attributes};

/// One conntrack entry.
///
/// There is one type in two forms, and both read the same: [`FlowRef`] borrows the bytes of the
/// receive buffer and costs no allocation; `Flow` (that is `Flow<Box<[u8]>>`) owns a copy of them,
/// made by [`to_owned`](Flow::to_owned). Attributes the kernel did not send are `None`, which is
/// different from zero.
///
/// ```no_run
/// # fn f() -> ctnetlink::Result<()> {
/// let ct = ctnetlink::Conntrack::open()?;
/// let mut kept = Vec::new();
/// let mut dump = ct.dump(None)?;
/// while let Some(flow) = dump.next()? {
///     println!("{} {} -> {}", flow.protocol(), flow.orig().destination(), flow.reply().source());
///     if flow.mark() == Some(7) {
///         kept.push(flow.to_owned());
///     }
/// }
/// # Ok(()) }
/// ```
#[derive(Clone, Copy)]
pub struct Flow<B = Box<[u8]>> {
    /// The netlink payload: `nfgenmsg` and attributes.
    bytes: B,
    index: Index,
}

/// A [`Flow`] that borrows the receive buffer.
///
/// ```no_run
/// # fn f(ct: &ctnetlink::Conntrack) -> ctnetlink::Result<()> {
/// use ctnetlink::{Flow, FlowRef};
/// let mut dump = ct.dump(None)?;
/// if let Some(flow) = dump.next()? {
///     let borrowed: FlowRef<'_> = flow; // lives until the next call of next()
///     let owned: Flow = borrowed.to_owned();
///     println!("{owned}");
/// }
/// # Ok(()) }
/// ```
pub type FlowRef<'a> = Flow<&'a [u8]>;

/// What one walk over the top level found. It is separate from the bytes so that a dump can find an
/// entry first and lend the view afterwards.
#[derive(Clone, Copy)]
pub(crate) struct Index {
    family: Family,
    orig: Tuple,
    reply: Tuple,
    /// Offset of the value of each known attribute; 0 = absent. Its length is in its header.
    attributes: [u16; cta::END],
}

/// The value that starts at an offset the walk has found; `None` for 0.
#[inline]
fn value_at(payload: &[u8], offset: u16) -> Option<&[u8]> {
    let attribute = payload.get(usize::from(offset).checked_sub(ATTRIBUTE_HEADER_LEN)?..)?;
    let (length, _) = attribute.split_first_chunk()?;
    attribute.get(ATTRIBUTE_HEADER_LEN..usize::from(u16::from_ne_bytes(*length)))
}

impl Index {
    #[inline]
    pub(crate) fn parse(payload: &[u8]) -> Result<Self, DecodeError> {
        if u16::try_from(payload.len()).is_err() {
            return Err(DecodeError::new("entry longer than 65535 bytes", 0));
        }
        let Some((header, rest)) = payload.split_first_chunk::<NFGENMSG_LEN>() else {
            return Err(DecodeError::new("nfgenmsg cut short", 0));
        };
        let family = Family::from_number(header[0])
            .ok_or(DecodeError::new("entry of a family other than IPv4 and IPv6", 0))?;
        let mut attributes = [0; cta::END];
        for attribute in Attributes::new(rest) {
            let attribute =
                attribute.map_err(|e| DecodeError::new(e.what, NFGENMSG_LEN + e.offset))?;
            // On some architectures the kernel pads CTA_TIMESTAMP_EVENT with a zero-length
            // attribute that has the number of CTA_STATUS. So empty attributes are not values.
            if attribute.value.is_empty() {
                continue;
            }
            let offset = NFGENMSG_LEN + attribute.offset;
            if let Some(slot) = attributes.get_mut(usize::from(attribute.kind)) {
                if attribute.value.len() < MINIMUM_LENGTH[usize::from(attribute.kind)].into() {
                    return Err(DecodeError::new("attribute shorter than its type", offset));
                }
                // It fits: the payload is at most 65535 bytes long.
                #[allow(clippy::cast_possible_truncation)]
                {
                    *slot = offset as u16;
                }
            }
        }
        let tuple = |kind: u16, what| {
            let offset = attributes[usize::from(kind)];
            let value = value_at(payload, offset).ok_or(DecodeError::new(what, NFGENMSG_LEN))?;
            Tuple::parse(value, family, offset.into())
        };
        let orig = tuple(cta::TUPLE_ORIG, "entry without CTA_TUPLE_ORIG")?;
        let reply = tuple(cta::TUPLE_REPLY, "entry without CTA_TUPLE_REPLY")?;
        Ok(Index { family, orig, reply, attributes })
    }
}

/// The least length with which a fixed-size attribute can be read. Checked once during the walk, so
/// that a truncated attribute is an error and does not look absent.
const MINIMUM_LENGTH: [u8; cta::END] = {
    let mut minimum = [0; cta::END];
    minimum[cta::STATUS as usize] = 4;
    minimum[cta::TIMEOUT as usize] = 4;
    minimum[cta::MARK as usize] = 4;
    minimum[cta::USE as usize] = 4;
    minimum[cta::ID as usize] = 4;
    minimum[cta::ZONE as usize] = 2;
    minimum[cta::TIMESTAMP_EVENT as usize] = 8;
    minimum
};

impl<'a> FlowRef<'a> {
    /// Reads the payload of one ctnetlink message (what follows the 16-byte netlink header).
    ///
    /// # Errors
    ///
    /// When an attribute overruns the message, a fixed-size attribute is cut short, or a tuple is
    /// missing or incomplete. Unknown attributes are never an error. Other nests than the tuples
    /// are read only when a method asks for them; a member that cannot be read then counts as
    /// absent.
    ///
    /// ```
    /// use ctnetlink::FlowRef;
    /// let error = FlowRef::parse(&[2, 0, 0, 0]).unwrap_err();
    /// assert_eq!(error.to_string(), "entry without CTA_TUPLE_ORIG at offset 4");
    /// ```
    #[inline]
    pub fn parse(payload: &'a [u8]) -> Result<Self, DecodeError> {
        Ok(Flow { bytes: payload, index: Index::parse(payload)? })
    }

    #[inline]
    pub(crate) fn from_index(payload: &'a [u8], index: Index) -> Self {
        Flow { bytes: payload, index }
    }
}

impl<B: AsRef<[u8]>> Flow<B> {
    /// Address family.
    #[inline]
    pub fn family(&self) -> Family {
        self.index.family
    }

    /// Transport protocol.
    #[inline]
    pub fn protocol(&self) -> Protocol {
        self.index.orig.protocol()
    }

    /// The tuple of the original direction: who connected, and to which frontend.
    #[inline]
    pub fn orig(&self) -> &Tuple {
        &self.index.orig
    }

    /// The tuple of the reply direction: which backend answers, and to whom.
    #[inline]
    pub fn reply(&self) -> &Tuple {
        &self.index.reply
    }

    /// Status bits. The kernel always sends them; if they are missing, this is empty.
    #[inline]
    pub fn status(&self) -> Status {
        Status::from_bits_retain(self.be32(cta::STATUS).unwrap_or(0))
    }

    /// Time left, whole seconds rounded down. Absent for offloaded entries.
    #[inline]
    pub fn timeout(&self) -> Option<Duration> {
        self.be32(cta::TIMEOUT).map(|seconds| Duration::from_secs(seconds.into()))
    }

    /// Connection mark. Absent on kernels without `CONFIG_NF_CONNTRACK_MARK`.
    #[inline]
    pub fn mark(&self) -> Option<u32> {
        self.be32(cta::MARK)
    }

    /// The zone, 0 by default, whether it applies to both directions or to one (then it is also in
    /// [`Tuple::zone`]).
    #[inline]
    pub fn zone(&self) -> u16 {
        self.zone_of_both().or(self.index.orig.zone()).or(self.index.reply.zone()).unwrap_or(0)
    }

    /// The entry's id: four opaque bytes, shown as a number the way `conntrack -o id` does.
    ///
    /// It does not change while the entry lives, but it is **not** an incarnation number: an entry
    /// re-created with the same original tuple commonly has the same id.
    #[inline]
    pub fn id(&self) -> Option<u32> {
        self.be32(cta::ID)
    }

    /// Protocol state: TCP, SCTP, and DCCP up to Linux 6.16. Absent for offloaded entries.
    #[inline]
    pub fn protocol_state(&self) -> Option<ProtocolState> {
        self.value(cta::PROTOINFO).and_then(ProtocolState::parse)
    }

    /// Packets and bytes of the original direction. Absent unless `nf_conntrack_acct` was 1 when
    /// the entry was made.
    #[inline]
    pub fn counters_orig(&self) -> Option<Counters> {
        self.value(cta::COUNTERS_ORIG).and_then(extension::parse::counters)
    }

    /// Packets and bytes of the reply direction. Absent unless `nf_conntrack_acct` was 1 when the
    /// entry was made.
    #[inline]
    pub fn counters_reply(&self) -> Option<Counters> {
        self.value(cta::COUNTERS_REPLY).and_then(extension::parse::counters)
    }

    /// When the entry was made and, in destroy events, when it ended. Absent unless
    /// `nf_conntrack_timestamp` was 1 when the entry was made.
    #[inline]
    pub fn timestamps(&self) -> Option<Timestamps> {
        self.value(cta::TIMESTAMP).map(extension::parse::timestamps)
    }

    /// When an event happened. Linux 6.14, in events only, with `nf_conntrack_timestamp`.
    #[inline]
    pub fn event_time(&self) -> Option<SystemTime> {
        self.value(cta::TIMESTAMP_EVENT).and_then(wire::be64).and_then(extension::parse::time)
    }

    /// Label bits. Absent if none is set.
    #[inline]
    pub fn labels(&self) -> Option<Labels> {
        self.value(cta::LABELS).map(Labels::parse)
    }

    /// Name of the helper attached to the entry, such as `ftp`.
    #[inline]
    pub fn helper(&self) -> Option<Cow<'_, str>> {
        let value = self.value(cta::HELP)?;
        Attributes::find(value, cta::HELP_NAME).map(|attribute| attribute.text())
    }

    /// Original tuple of the entry that expected this one.
    #[inline]
    pub fn master(&self) -> Option<Tuple> {
        Tuple::parse(self.value(cta::TUPLE_MASTER)?, self.index.family, 0).ok()
    }

    /// TCP sequence adjustment of the original direction.
    #[inline]
    pub fn seq_adj_orig(&self) -> Option<SeqAdj> {
        self.value(cta::SEQ_ADJ_ORIG).and_then(extension::parse::seq_adj)
    }

    /// TCP sequence adjustment of the reply direction.
    #[inline]
    pub fn seq_adj_reply(&self) -> Option<SeqAdj> {
        self.value(cta::SEQ_ADJ_REPLY).and_then(extension::parse::seq_adj)
    }

    /// State of the SYN proxy.
    #[inline]
    pub fn synproxy(&self) -> Option<SynProxy> {
        self.value(cta::SYNPROXY).and_then(extension::parse::synproxy)
    }

    /// Security context, where a security module provides one.
    #[inline]
    pub fn security_context(&self) -> Option<Cow<'_, str>> {
        let value = self.value(cta::SECCTX)?;
        Attributes::find(value, cta::SECCTX_NAME).map(|attribute| attribute.text())
    }

    /// Reference count in the kernel: 1 in a dump, 2 when the entry is fetched alone. Absent in
    /// events.
    #[inline]
    pub fn use_count(&self) -> Option<u32> {
        self.be32(cta::USE)
    }

    /// The zone that applies to both directions; absent for the default zone.
    #[inline]
    /// The zone of the original direction: 0, the default zone, if the entry's zone applies to the
    /// reply direction only (`nf_ct_zone_id`).
    pub(crate) fn orig_zone(&self) -> u16 {
        self.zone_of_both().or(self.index.orig.zone()).unwrap_or(0)
    }

    /// The zone of the reply direction: 0 if the entry's zone applies to the original direction
    /// only.
    pub(crate) fn reply_zone(&self) -> u16 {
        self.zone_of_both().or(self.index.reply.zone()).unwrap_or(0)
    }

    pub(crate) fn zone_of_both(&self) -> Option<u16> {
        self.value(cta::ZONE).and_then(wire::be16)
    }

    /// The raw value of the top-level attribute with this number ([`uapi::cta`](crate::uapi::cta)),
    /// even if this crate does not know the number.
    pub fn attribute(&self, kind: u16) -> Option<&[u8]> {
        if usize::from(kind) < cta::END {
            return self.value(kind);
        }
        self.attributes().filter(|attribute| attribute.kind == kind).last().map(|a| a.value)
    }

    /// All top-level attributes in the order the kernel sent them, unknown ones included.
    pub fn attributes(&self) -> impl Iterator<Item = Attribute<'_>> {
        let rest = self.bytes.as_ref().get(NFGENMSG_LEN..).unwrap_or_default();
        Attributes::new(rest).readable()
    }

    /// The bytes as the kernel sent them: `nfgenmsg` and attributes, without the netlink header.
    /// [`FlowRef::parse`](Flow::parse) reads them, also in another process.
    pub fn payload(&self) -> &[u8] {
        self.bytes.as_ref()
    }

    /// A copy that owns its bytes.
    #[allow(clippy::should_implement_trait)] // Flow is Clone, so std already implements ToOwned
    pub fn to_owned(&self) -> Flow {
        Flow { bytes: self.bytes.as_ref().into(), index: self.index }
    }

    /// A borrowed view of the same entry.
    #[inline]
    pub fn as_ref(&self) -> FlowRef<'_> {
        Flow { bytes: self.bytes.as_ref(), index: self.index }
    }

    #[inline]
    fn value(&self, kind: u16) -> Option<&[u8]> {
        value_at(self.bytes.as_ref(), *self.index.attributes.get(usize::from(kind))?)
    }

    #[inline]
    fn be32(&self, kind: u16) -> Option<u32> {
        self.value(kind).and_then(wire::be32)
    }
}

/// Two flows are equal if the kernel reported both in the same bytes: one whose timeout has gone on is
/// not. [`key`](Flow::key) tells whether they are one entry.
impl<A: AsRef<[u8]>, B: AsRef<[u8]>> PartialEq<Flow<B>> for Flow<A> {
    fn eq(&self, other: &Flow<B>) -> bool {
        self.payload() == other.payload()
    }
}

impl<B: AsRef<[u8]>> Eq for Flow<B> {}

impl<B: AsRef<[u8]>> Hash for Flow<B> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.payload().hash(state);
    }
}

impl<B: AsRef<[u8]>> fmt::Debug for Flow<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Flow")
            .field("family", &self.family())
            .field("orig", self.orig())
            .field("reply", self.reply())
            .field("status", &self.status())
            .field("timeout", &self.timeout())
            .field("mark", &self.mark())
            .field("zone", &self.zone())
            .field("id", &self.id())
            .field("protocol_state", &self.protocol_state())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
#[cfg(target_endian = "little")]
pub(crate) mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A dumped entry (docs/kernel-interface.md, 11): 10.0.0.1:1001 -> 10.96.0.10:53
    /// over UDP, backend 10.244.1.5:5353, status 0x1a8, timeout 299.
    pub(crate) const DUMPED: &str = "c00000000001220006030201a00b000002000000340001801400018008000100\
        0a000001080002000a60000a1c00028005000100110000000600020003e90000\
        06000300003500003400028014000180080001000af40105080002000a000001\
        1c00028005000100110000000600020014e900000600030003e9000008000300\
        000001a8080008000000000008000c004c4f9f9808000b000000000108000700\
        0000012b1c001880080001000000000008000200000000000800030000000000";

    pub(crate) fn unhex(text: &str) -> Vec<u8> {
        let digits: Vec<u8> = text.bytes().filter(|b| !b.is_ascii_whitespace()).collect();
        digits
            .chunks(2)
            .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
            .collect()
    }

    pub(crate) fn dumped() -> Flow {
        let bytes = unhex(DUMPED);
        FlowRef::parse(&bytes[16..]).unwrap().to_owned()
    }

    #[test]
    fn the_kernels_dump_message_reads_as_the_notes_say() {
        let flow = dumped();
        assert_eq!(flow.family(), Family::Ipv4);
        assert_eq!(flow.protocol(), Protocol::UDP);
        assert_eq!(flow.orig().source(), "10.0.0.1:1001".parse().unwrap());
        assert_eq!(flow.orig().destination(), "10.96.0.10:53".parse().unwrap());
        assert_eq!(flow.reply().source(), "10.244.1.5:5353".parse().unwrap());
        assert_eq!(flow.reply().destination(), "10.0.0.1:1001".parse().unwrap());
        assert_eq!(flow.status().bits(), 0x1a8);
        assert_eq!(flow.timeout(), Some(Duration::from_secs(299)));
        assert_eq!(flow.mark(), Some(0));
        assert_eq!(flow.zone(), 0);
        assert_eq!(flow.id(), Some(0x4c4f_9f98));
        assert_eq!(flow.protocol_state(), None);
        assert_eq!(flow.attribute(cta::SYNPROXY).map(<[u8]>::len), Some(24));
        assert_eq!(flow.attribute(999), None);
        assert_eq!(
            flow.to_string(),
            "udp      17 299 src=10.0.0.1 dst=10.96.0.10 sport=1001 dport=53 [UNREPLIED] \
             src=10.244.1.5 dst=10.0.0.1 sport=5353 dport=1001 mark=0 use=1"
        );
    }

    fn with(extra: &[u8]) -> Vec<u8> {
        [&unhex(DUMPED)[16..], extra].concat()
    }

    #[test]
    fn zones_and_unknown_attributes() {
        let bytes = with(&[6, 0, 18, 0, 0, 7, 0, 0, 5, 0, 200, 0, 9, 0, 0, 0]);
        let flow = FlowRef::parse(&bytes).unwrap();
        assert_eq!(flow.zone(), 7);
        assert_eq!(flow.attribute(200), Some(&[9][..]));
        assert_eq!(flow.attributes().count(), 10);
        assert_eq!(flow.to_owned().as_ref().attribute(200), Some(&[9][..]));
    }

    #[test]
    fn an_empty_status_attribute_is_padding() {
        let bytes = with(&[4, 0, 3, 0]);
        assert_eq!(FlowRef::parse(&bytes).unwrap().status().bits(), 0x1a8);
    }

    #[test]
    fn the_last_of_a_doubled_attribute_wins_as_in_the_kernel() {
        let bytes = with(&[8, 0, 8, 0, 0, 0, 0, 5]);
        assert_eq!(FlowRef::parse(&bytes).unwrap().mark(), Some(5));
    }

    #[test]
    fn short_attributes_are_errors_and_not_absent() {
        let bytes = with(&[6, 0, 8, 0, 0, 1, 0, 0]);
        let error = FlowRef::parse(&bytes).unwrap_err();
        assert_eq!(error, DecodeError { what: "attribute shorter than its type", offset: 180 });
        let bytes = with(&[200, 0, 8, 0]);
        assert_eq!(FlowRef::parse(&bytes).unwrap_err().what, "attribute length out of bounds");
    }

    #[test]
    fn other_families_and_stumps_are_errors() {
        assert_eq!(FlowRef::parse(&[2, 0]).unwrap_err().what, "nfgenmsg cut short");
        let mut bytes = with(&[]);
        bytes[0] = 7;
        assert!(FlowRef::parse(&bytes).is_err());
        assert!(FlowRef::parse(&vec![0; 70_000]).is_err());
    }

    proptest! {
        #[test]
        fn no_mutation_panics(
            edits in prop::collection::vec((0usize..176, any::<u8>()), 0..12), cut in 0usize..177
        ) {
            let mut bytes = with(&[]);
            for (at, value) in edits {
                bytes[at] = value;
            }
            bytes.truncate(cut);
            if let Ok(flow) = FlowRef::parse(&bytes) {
                let _ = format!("{flow} {flow:?}");
                let owned = flow.to_owned();
                prop_assert_eq!(owned.to_string(), flow.to_string());
                prop_assert_eq!(owned.attributes().count(), flow.attributes().count());
            }
        }
    }
}
