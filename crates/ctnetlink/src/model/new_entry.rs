//! What to create, and what to change: the contents of a `CT_NEW`.

use std::net::IpAddr;
use std::time::Duration;

use crate::error::{Error, Result};
use crate::model::extension::{SeqAdj, SynProxy};
use crate::model::key::Key;
use crate::model::labels::Labels;
use crate::model::protocol::ProtocolState;
use crate::model::status::Status;
use crate::model::tuple::{Family, Tuple};

/// A NAT range of a new entry: the addresses and ports from which the kernel picks the translation.
///
/// ```
/// use ctnetlink::NatRange;
/// let one = NatRange::to("10.244.1.5:5353".parse()?);
/// let some = NatRange::address("192.0.2.1".parse()?).ports(1024, 65535);
/// # let _ = (one, some);
/// # Ok::<(), std::net::AddrParseError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct NatRange {
    pub(crate) addresses: Option<(IpAddr, IpAddr)>,
    pub(crate) ports: Option<(u16, u16)>,
}

impl NatRange {
    /// A null binding: NAT is decided for the entry, and translates nothing.
    pub fn none() -> NatRange {
        NatRange { addresses: None, ports: None }
    }

    /// Exactly this address and port.
    pub fn to(target: std::net::SocketAddr) -> NatRange {
        NatRange::address(target.ip()).ports(target.port(), target.port())
    }

    /// Exactly this address; the port is kept.
    pub fn address(address: IpAddr) -> NatRange {
        NatRange::addresses(address, address)
    }

    /// Any address from the first to the last. A creation refuses ends in the wrong order.
    pub fn addresses(first: IpAddr, last: IpAddr) -> NatRange {
        NatRange { addresses: Some((first, last)), ports: None }
    }

    /// Any port from the first to the last. A creation refuses ends in the wrong order.
    #[must_use]
    pub fn ports(self, first: u16, last: u16) -> NatRange {
        NatRange { ports: Some((first, last)), ..self }
    }

    /// The kernel does not notice a range whose ends are reversed, and translates to an address or
    /// port outside of it (`find_best_ips_proto`, `nf_nat_l4proto_unique_tuple`).
    pub(crate) fn check(&self) -> Result<()> {
        let reversed = |first: &dyn std::fmt::Display, last: &dyn std::fmt::Display| {
            Err(Error::Invalid(format!(
                "NAT range: {first} comes after {last}: give the lower end first"
            )))
        };
        match (self.addresses, self.ports) {
            (Some((first, last)), _) if first > last => reversed(&first, &last),
            (_, Some((first, last))) if first > last => reversed(&first, &last),
            _ => Ok(()),
        }
    }
}

/// An entry to be created.
///
/// The reply tuple defines which packets count as replies. By default it is the mirror of the
/// original one. This default and a NAT range make an entry that really translates: the kernel
/// rewrites the reply tuple. A reply tuple toward a backend *without* a NAT range matches packets
/// but translates none.
///
/// ```no_run
/// use std::time::Duration;
/// use ctnetlink::{Conntrack, NatRange, NewEntry, Protocol, Tuple};
/// # fn f() -> Result<(), Box<dyn std::error::Error>> {
/// let (client, vip) = ("10.0.0.1:1001".parse()?, "10.96.0.10:53".parse()?);
/// let orig = Tuple::with_ports(Protocol::UDP, client, vip);
/// let entry = NewEntry::new(orig, Duration::from_secs(300))
///     .dst_nat(NatRange::to("10.244.1.5:5353".parse()?))
///     .mark(7);
/// Conntrack::open()?.create(&entry)?;
/// # Ok(()) }
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewEntry {
    pub(crate) orig: Tuple,
    pub(crate) reply: Option<Tuple>,
    pub(crate) zone: Option<u16>,
    pub(crate) src_nat: Option<NatRange>,
    pub(crate) dst_nat: Option<NatRange>,
    pub(crate) master: Option<Tuple>,
    pub(crate) change: Change,
}

/// What can be set both when an entry is created and when it is updated.
///
/// By itself it is the argument of [`Conntrack::update`](crate::Conntrack::update). The kernel
/// applies the parts in the order helper, timeout, status, protocol state, mark, sequence
/// adjustment, SYN proxy, labels, and stops at the first that fails; earlier ones stay applied.
///
/// ```
/// use std::time::Duration;
/// use ctnetlink::Change;
/// let change = Change::new().timeout(Duration::from_secs(30)).mark_masked(0x10, 0xf0);
/// # let _ = change;
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Change {
    pub(crate) timeout: Option<Duration>,
    pub(crate) status: Option<Status>,
    pub(crate) mark: Option<(u32, Option<u32>)>,
    pub(crate) labels: Option<(Labels, Option<Labels>)>,
    pub(crate) state: Option<ProtocolState>,
    pub(crate) helper: Option<String>,
    pub(crate) seq_adj_orig: Option<SeqAdj>,
    pub(crate) seq_adj_reply: Option<SeqAdj>,
    pub(crate) synproxy: Option<SynProxy>,
}

/// The setters of both types, written once so that they cannot differ.
macro_rules! setters {
    ($($path:ident)?) => {
        /// Time to live. The kernel counts whole seconds; part of a second is rounded up.
        /// Required for a creation; 0 makes the entry expire at once.
        #[must_use]
        pub fn timeout(mut self, timeout: Duration) -> Self {
            self$(.$path)?.timeout = Some(timeout);
            self
        }

        /// Status bits. `CONFIRMED` is added, because the kernel refuses a status without it. An
        /// update must repeat those of `SEEN_REPLY`, `ASSURED` and `EXPECTED` that are set:
        /// clearing one is `EBUSY`. The kernel ignores NAT and offload bits.
        #[must_use]
        pub fn status(mut self, bits: Status) -> Self {
            self$(.$path)?.status = Some(bits | Status::CONFIRMED);
            self
        }

        /// Sets the whole mark.
        #[must_use]
        pub fn mark(mut self, mark: u32) -> Self {
            self$(.$path)?.mark = Some((mark, None));
            self
        }

        /// Sets those bits of the mark that are in `mask`. A value with bits outside the mask is
        /// refused, because the kernel would toggle them (`new = (old & !mask) ^ value`).
        #[must_use]
        pub fn mark_masked(mut self, value: u32, mask: u32) -> Self {
            self$(.$path)?.mark = Some((value, Some(mask)));
            self
        }

        /// Sets all label bits. If no ruleset uses labels, an update is `ENOSPC`, and a creation
        /// ignores them.
        #[must_use]
        pub fn labels(mut self, labels: Labels) -> Self {
            self$(.$path)?.labels = Some((labels, None));
            self
        }

        /// Sets those label bits that are in `mask`. Bits outside the mask are refused, because the
        /// kernel would toggle them.
        #[must_use]
        pub fn labels_masked(mut self, labels: Labels, mask: Labels) -> Self {
            self$(.$path)?.labels = Some((labels, Some(mask)));
            self
        }

        /// Protocol state: TCP or SCTP. Members that are `None` are left as they are (SCTP needs
        /// all three). TCP flags are written as a whole.
        #[must_use]
        pub fn state(mut self, state: ProtocolState) -> Self {
            self$(.$path)?.state = Some(state);
            self
        }

        /// The helper, by name. In an update the kernel accepts only the helper that the entry
        /// already has, or `""` to detach it.
        #[must_use]
        pub fn helper(mut self, name: impl Into<String>) -> Self {
            self$(.$path)?.helper = Some(name.into());
            self
        }

        /// Sequence adjustment of the original direction.
        #[must_use]
        pub fn seq_adj_orig(mut self, adjustment: SeqAdj) -> Self {
            self$(.$path)?.seq_adj_orig = Some(adjustment);
            self
        }

        /// Sequence adjustment of the reply direction.
        #[must_use]
        pub fn seq_adj_reply(mut self, adjustment: SeqAdj) -> Self {
            self$(.$path)?.seq_adj_reply = Some(adjustment);
            self
        }

        /// State of the SYN proxy.
        #[must_use]
        pub fn synproxy(mut self, state: SynProxy) -> Self {
            self$(.$path)?.synproxy = Some(state);
            self
        }
    };
}

impl NewEntry {
    /// An entry with its original tuple and its time to live.
    pub fn new(orig: Tuple, timeout: Duration) -> NewEntry {
        NewEntry {
            orig,
            reply: None,
            zone: None,
            src_nat: None,
            dst_nat: None,
            master: None,
            change: Change::new().timeout(timeout),
        }
    }

    /// The reply tuple, instead of the mirror of the original one.
    #[must_use]
    pub fn reply(mut self, reply: Tuple) -> Self {
        self.reply = Some(reply);
        self
    }

    /// A zone for both directions. A zone of one direction belongs in its tuple
    /// ([`Tuple::in_zone`]).
    #[must_use]
    pub fn zone(mut self, zone: u16) -> Self {
        self.zone = Some(zone);
        self
    }

    /// Source NAT.
    #[must_use]
    pub fn src_nat(mut self, range: NatRange) -> Self {
        self.src_nat = Some(range);
        self
    }

    /// Destination NAT.
    #[must_use]
    pub fn dst_nat(mut self, range: NatRange) -> Self {
        self.dst_nat = Some(range);
        self
    }

    /// The entry that expected this one, named by its original tuple. `ENOENT` if it does not
    /// exist.
    #[must_use]
    pub fn master(mut self, orig: Tuple) -> Self {
        self.master = Some(orig);
        self
    }

    setters!(change);

    /// The name of the entry once it exists.
    pub(crate) fn key(&self) -> Key {
        Key { zone: self.zone, ..Key::orig(self.orig) }
    }

    /// The name of its master. The kernel looks for it in the zone of the new entry, which a zone
    /// of its original direction is, too.
    pub(crate) fn master_key(&self) -> Option<Key> {
        let master = self.master?;
        let named = self.orig.zone().map_or(master, |zone| master.in_zone(zone));
        Some(Key { zone: self.zone, ..Key::orig(named) })
    }

    pub(crate) fn family(&self) -> Result<Family> {
        let tuples = [Some(self.orig), self.reply, self.master];
        let families = tuples.into_iter().flatten().map(|tuple| tuple.family());
        let family = self.orig.family();
        let ranges = [self.src_nat, self.dst_nat].into_iter().flatten();
        let ends = ranges.filter_map(|range| range.addresses).flat_map(|(a, b)| [a, b]);
        let ends = ends.map(|address| Some(Family::of(address)));
        let same = families.into_iter().chain(ends).all(|other| other == family);
        family.filter(|_| same).ok_or_else(mixed_families)
    }

    pub(crate) fn reply_tuple(&self) -> Result<Tuple> {
        self.reply.or_else(|| self.orig.inverse()).ok_or_else(|| {
            Error::Invalid(format!(
                "create: no reply tuple can be derived from {}: set one with reply(...)",
                self.orig
            ))
        })
    }
}

impl Change {
    /// An empty change: nothing is set yet.
    pub fn new() -> Change {
        Change::default()
    }

    setters!();

    pub(crate) fn check(&self) -> Result<()> {
        let mark_outside = matches!(self.mark, Some((value, Some(mask))) if value & !mask != 0);
        let labels_outside = match self.labels {
            Some((labels, Some(mask))) => labels.iter().any(|bit| !mask.has(bit)),
            _ => false,
        };
        if mark_outside || labels_outside {
            let what = if mark_outside { "mark" } else { "labels" };
            return Err(Error::Invalid(format!(
                "{what}: the kernel would toggle the bits of the value that are outside the mask"
            )));
        }
        Ok(())
    }
}

pub(crate) fn mixed_families() -> Error {
    Error::Invalid("all addresses of an entry must be of the same family".into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::protocol::Protocol;

    fn tuple(src: &str, dst: &str) -> Tuple {
        Tuple::new(Protocol(89), src.parse().unwrap(), dst.parse().unwrap())
    }

    #[test]
    fn bits_outside_the_mask_are_refused() {
        let labels = |bits: &[u8]| Labels::from_iter(bits.iter().copied());
        for (change, ok) in [
            (Change::new().mark_masked(0x10, 0xf0), true),
            (Change::new().mark_masked(0x11, 0xf0), false),
            (Change::new().mark(0x11), true),
            (Change::new().labels_masked(labels(&[1]), labels(&[1, 2])), true),
            (Change::new().labels_masked(labels(&[1, 3]), labels(&[1, 2])), false),
            (Change::new().labels(labels(&[1, 3])), true),
        ] {
            assert_eq!(change.check().is_ok(), ok, "{change:?}");
        }
    }

    #[test]
    fn a_range_has_its_lower_end_first() {
        let ip = |text: &str| text.parse().unwrap();
        let any = NatRange::address(ip("10.0.0.9"));
        for (range, ok) in [
            (NatRange::none(), true),
            (any, true),
            (NatRange::addresses(ip("10.0.0.1"), ip("10.0.0.2")), true),
            (NatRange::addresses(ip("10.0.0.2"), ip("10.0.0.1")), false),
            (NatRange::addresses(ip("fd00::2"), ip("fd00::1")), false),
            (any.ports(80, 80), true),
            (any.ports(1024, 65535), true),
            (any.ports(65535, 1024), false),
        ] {
            assert_eq!(range.check().is_ok(), ok, "{range:?}");
        }
    }

    #[test]
    fn families_must_agree() {
        let v4 = tuple("10.0.0.1", "10.0.0.2");
        let v6 = tuple("::1", "::2");
        let entry = |orig| NewEntry::new(orig, Duration::ZERO);
        assert_eq!(entry(v4).family().unwrap(), Family::Ipv4);
        assert!(entry(tuple("10.0.0.1", "::1")).family().is_err());
        assert!(entry(v4).reply(v6).family().is_err());
        assert!(entry(v6).master(v4).family().is_err());
        let v6_range = NatRange::address("::1".parse().unwrap());
        assert!(entry(v4).dst_nat(v6_range).family().is_err());
        assert!(entry(v6).dst_nat(v6_range).family().is_ok());
    }

    #[test]
    fn the_reply_is_the_mirror_unless_said() {
        let (orig, other) = (tuple("10.0.0.1", "10.0.0.2"), tuple("10.0.0.3", "10.0.0.1"));
        let entry = NewEntry::new(orig, Duration::ZERO);
        assert_eq!(entry.reply_tuple().unwrap(), tuple("10.0.0.2", "10.0.0.1"));
        assert_eq!(entry.reply(other).reply_tuple().unwrap(), other);
        let icmp = crate::model::tuple::Icmp { kind: 3, code: 0, id: 0 };
        let unanswered = Tuple::with_icmp(orig.src(), orig.dst(), icmp);
        assert!(NewEntry::new(unanswered, Duration::ZERO).reply_tuple().is_err());
    }
}
