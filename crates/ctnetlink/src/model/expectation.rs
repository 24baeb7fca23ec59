//! Expectations: connections a helper has announced.

use std::fmt;
use std::time::Duration;

use bitflags::bitflags;

use crate::error::DecodeError;
use crate::model::tuple::{Family, Tuple};
use crate::uapi::{NFGENMSG_LEN, expect as x};
use crate::wire::{Attribute, Attributes};

bitflags! {
    /// Flags of an expectation (`NF_CT_EXPECT_*`). Prints as names.
    ///
    /// ```
    /// use ctnetlink::ExpectFlags;
    /// assert_eq!((ExpectFlags::PERMANENT | ExpectFlags::INACTIVE).to_string(), "PERMANENT | INACTIVE");
    /// ```
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
    pub struct ExpectFlags: u32 {
        /// The expectation stays after a connection has matched it.
        const PERMANENT = 1;
        /// The kernel ignores the expectation.
        const INACTIVE = 2;
        /// The expectation was created by a program. Only the kernel sets this bit.
        const USERSPACE = 4;
    }
}

impl fmt::Display for ExpectFlags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        bitflags::parser::to_writer(self, f)
    }
}

/// NAT of an expected connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct ExpectNat {
    /// The NAT applies to the reply direction.
    pub reply_direction: bool,
    /// The target of the NAT. The kernel keeps only the source address and port of this tuple.
    pub to: Tuple,
}

/// An expectation in the kernel.
///
/// ```no_run
/// # fn f(ct: &ctnetlink::Conntrack) -> ctnetlink::Result<()> {
/// for expectation in ct.expectations()? {
///     println!("{} expects {}", expectation.master, expectation.tuple);
/// }
/// # Ok(()) }
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Expectation {
    /// Original tuple of the entry it belongs to.
    pub master: Tuple,
    /// The expected tuple.
    pub tuple: Tuple,
    /// Which bits of the expected tuple are compared.
    pub mask: Tuple,
    /// Time left, whole seconds.
    pub timeout: Option<Duration>,
    /// Opaque id.
    pub id: Option<u32>,
    /// Name of the helper.
    pub helper: Option<String>,
    /// Flags.
    pub flags: ExpectFlags,
    /// Class, as numbered by the helper.
    pub class: u32,
    /// NAT of the expected connection.
    pub nat: Option<ExpectNat>,
    /// Kernel function that is called when the expected connection appears.
    pub function: Option<String>,
}

/// An expectation to be created. Its master must have a helper; otherwise the kernel answers
/// `EOPNOTSUPP`.
///
/// ```no_run
/// # fn f(ct: &ctnetlink::Conntrack, master: ctnetlink::Tuple, expected: ctnetlink::Tuple,
/// #      mask: ctnetlink::Tuple) -> ctnetlink::Result<()> {
/// use ctnetlink::{ExpectFlags, NewExpectation};
/// let new = NewExpectation::new(master, expected, mask).flags(ExpectFlags::PERMANENT);
/// ct.create_expectation(&new)?;
/// # Ok(()) }
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewExpectation {
    pub(crate) master: Tuple,
    pub(crate) tuple: Tuple,
    pub(crate) mask: Tuple,
    pub(crate) timeout: Duration,
    pub(crate) helper: Option<String>,
    pub(crate) function: Option<String>,
    pub(crate) flags: ExpectFlags,
    pub(crate) class: u32,
    pub(crate) nat: Option<ExpectNat>,
    pub(crate) zone: Option<u16>,
}

impl NewExpectation {
    /// An expectation of this master (named by its original tuple), for this tuple under this mask.
    pub fn new(master: Tuple, tuple: Tuple, mask: Tuple) -> NewExpectation {
        NewExpectation {
            master,
            tuple,
            mask,
            timeout: Duration::ZERO,
            helper: None,
            function: None,
            flags: ExpectFlags::empty(),
            class: 0,
            nat: None,
            zone: None,
        }
    }

    /// Time to live. The kernel ignores it on creation (the helper's policy counts) and honours it
    /// in an update.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// The helper the expected connection gets.
    #[must_use]
    pub fn helper(mut self, name: impl Into<String>) -> Self {
        self.helper = Some(name.into());
        self
    }

    /// Kernel function to call when the expected connection appears, such as `nat-follow-master`.
    #[must_use]
    pub fn function(mut self, name: impl Into<String>) -> Self {
        self.function = Some(name.into());
        self
    }

    /// Flags. The kernel drops [`USERSPACE`](ExpectFlags::USERSPACE) and refuses unknown ones
    /// (`EINVAL`).
    #[must_use]
    pub fn flags(mut self, flags: ExpectFlags) -> Self {
        self.flags = flags;
        self
    }

    /// Class, as numbered by the helper; `EINVAL` above its maximum.
    #[must_use]
    pub fn class(mut self, class: u32) -> Self {
        self.class = class;
        self
    }

    /// NAT of the expected connection: direction, and the tuple whose source is used.
    #[must_use]
    pub fn nat(mut self, reply_direction: bool, to: Tuple) -> Self {
        self.nat = Some(ExpectNat { reply_direction, to });
        self
    }

    /// Zone of the master.
    #[must_use]
    pub fn zone(mut self, zone: u16) -> Self {
        self.zone = Some(zone);
        self
    }
}

/// Names one expectation.
///
/// ```no_run
/// # fn f(ct: &ctnetlink::Conntrack, expected: ctnetlink::Tuple) -> ctnetlink::Result<()> {
/// let one = ct.expectation(&ctnetlink::ExpectKey::tuple(expected))?;
/// println!("{:?} left", one.timeout);
/// # Ok(()) }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExpectKey {
    pub(crate) named: Named,
    pub(crate) id: Option<u32>,
    pub(crate) zone: Option<u16>,
}

/// What an [`ExpectKey`] names an expectation by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Named {
    /// Its own tuple.
    Expected(Tuple),
    /// The original tuple of its master.
    OfMaster(Tuple),
}

impl ExpectKey {
    /// Names an expectation by the tuple it expects. One that only covers the tuple by its mask is
    /// another one.
    pub fn tuple(tuple: Tuple) -> ExpectKey {
        ExpectKey { named: Named::Expected(tuple), id: None, zone: None }
    }

    /// Names the expectation of a master, by the master's original tuple. A master can have
    /// several; the first one is meant. This can get one, but not delete it.
    pub fn master(orig: Tuple) -> ExpectKey {
        ExpectKey { named: Named::OfMaster(orig), ..ExpectKey::tuple(orig) }
    }

    /// Names the expectation only if it has this id; otherwise the answer is `ENOENT`.
    #[must_use]
    pub fn id(self, id: u32) -> ExpectKey {
        ExpectKey { id: Some(id), ..self }
    }

    /// Sets the zone of the master.
    #[must_use]
    pub fn zone(self, zone: u16) -> ExpectKey {
        ExpectKey { zone: Some(zone), ..self }
    }
}

impl Expectation {
    /// Reads the payload of an `EXP_NEW` message.
    ///
    /// # Errors
    ///
    /// When an attribute overruns the message, or one of the three tuples is missing. Unknown
    /// attributes are skipped.
    pub fn parse(payload: &[u8]) -> Result<Expectation, DecodeError> {
        let Some((header, rest)) = payload.split_first_chunk::<NFGENMSG_LEN>() else {
            return Err(DecodeError::new("nfgenmsg cut short", 0));
        };
        let family = Family::from_number(header[0])
            .ok_or(DecodeError::new("expectation of a family other than IPv4 and IPv6", 0))?;
        let tuple = |a: &Attribute<'_>| Tuple::parse(a.value, family, NFGENMSG_LEN + a.offset);
        let (mut master, mut expected, mut mask, mut nat) = (None, None, None, None);
        let (mut timeout, mut id) = (None, None);
        let (mut flags, mut class) = (ExpectFlags::empty(), 0);
        let (mut helper, mut function) = (None, None);
        for attribute in Attributes::new(rest) {
            let a = attribute.map_err(|e| DecodeError::new(e.what, NFGENMSG_LEN + e.offset))?;
            match a.kind {
                x::MASTER => master = Some(tuple(&a)?),
                x::TUPLE => expected = Some(tuple(&a)?),
                x::MASK => mask = Some(tuple(&a)?),
                x::TIMEOUT => timeout = a.be32().map(|s| Duration::from_secs(s.into())),
                x::ID => id = a.be32(),
                x::FLAGS => flags = ExpectFlags::from_bits_retain(a.be32().unwrap_or(0)),
                x::CLASS => class = a.be32().unwrap_or(0),
                x::HELP_NAME => helper = Some(a.text().into_owned()),
                x::FN => function = Some(a.text().into_owned()),
                x::NAT => nat = parse_nat(a.value, family),
                _ => {}
            }
        }
        let missing = |what| DecodeError::new(what, NFGENMSG_LEN);
        Ok(Expectation {
            master: master.ok_or(missing("expectation without master"))?,
            tuple: expected.ok_or(missing("expectation without tuple"))?,
            mask: mask.ok_or(missing("expectation without mask"))?,
            timeout,
            id,
            helper: helper.filter(|name| !name.is_empty()),
            flags,
            class,
            nat,
            function: function.filter(|name| !name.is_empty()),
        })
    }
}

fn parse_nat(value: &[u8], family: Family) -> Option<ExpectNat> {
    let direction = Attributes::find(value, 1)?.be32()?;
    let to = Tuple::parse(Attributes::find(value, 2)?.value, family, 0).ok()?;
    Some(ExpectNat { reply_direction: direction != 0, to })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = Expectation::parse(&bytes);
        }
    }

    #[test]
    fn what_is_missing_is_named() {
        assert_eq!(Expectation::parse(&[2]).unwrap_err().what, "nfgenmsg cut short");
        assert_eq!(
            Expectation::parse(&[2, 0, 0, 0]).unwrap_err().what,
            "expectation without master"
        );
        assert!(Expectation::parse(&[7, 0, 0, 0]).is_err());
    }
}
