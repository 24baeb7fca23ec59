//! The name of one entry: its tuple of one direction, with zone and id.

use crate::model::flow::Flow;
use crate::model::tuple::Tuple;

/// The direction in which a [`Key`] names an entry.
///
/// ```no_run
/// # fn f(flow: &ctnetlink::Flow) {
/// assert_eq!(flow.key().direction, ctnetlink::KeyDirection::Reply);
/// # }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum KeyDirection {
    /// By its original tuple.
    Orig,
    /// By its reply tuple.
    Reply,
}

/// Names one entry, by the complete tuple of one direction, with its zone and, if wanted, its id.
///
/// A tuple is unique within a zone. The id is not an incarnation number; to pin an entry to its
/// *backend*, name it by its reply tuple.
///
/// The kernel would also take the entry whose *other* direction has the tuple: where both sides use
/// the same port, as in SIP, NTP and WireGuard, that is the connection opened by the peer. Every
/// operation of this crate that takes a key compares the entry with the key first, and answers
/// [`is_not_found`](crate::Error::is_not_found) if it is another one.
///
/// ```
/// use ctnetlink::{Key, Protocol, Tuple};
/// let (client, vip) = ("10.0.0.1:1001".parse()?, "10.96.0.10:53".parse()?);
/// let key = Key::orig(Tuple::with_ports(Protocol::UDP, client, vip)).zone(7);
/// # let _ = key;
/// # Ok::<(), std::net::AddrParseError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Key {
    /// The direction of the tuple.
    pub direction: KeyDirection,
    /// The tuple.
    pub tuple: Tuple,
    /// The zone of both directions, if it is given.
    pub zone: Option<u16>,
    /// The id, if it is given.
    pub id: Option<u32>,
}

impl Key {
    /// Names an entry by its original tuple.
    pub fn orig(tuple: Tuple) -> Key {
        Key { direction: KeyDirection::Orig, tuple, zone: None, id: None }
    }

    /// Names an entry by its reply tuple.
    pub fn reply(tuple: Tuple) -> Key {
        Key { direction: KeyDirection::Reply, ..Key::orig(tuple) }
    }

    /// Sets the zone, if it applies to both directions. A zone of one direction belongs in the
    /// tuple ([`Tuple::in_zone`]).
    #[must_use]
    pub fn zone(self, zone: u16) -> Key {
        Key { zone: Some(zone), ..self }
    }

    /// Names the entry only if it has this id ([`Flow::id`](crate::Flow::id)).
    #[must_use]
    pub fn id(self, id: u32) -> Key {
        Key { id: Some(id), ..self }
    }

    /// Whether this is the entry that is meant.
    pub(crate) fn names<B: AsRef<[u8]>>(&self, flow: &Flow<B>) -> bool {
        let Key { direction, tuple, zone, id } = self;
        let (its_tuple, its_zone) = match direction {
            KeyDirection::Orig => (flow.orig(), flow.orig_zone()),
            KeyDirection::Reply => (flow.reply(), flow.reply_zone()),
        };
        let zone = zone.or(tuple.zone()).unwrap_or(0);
        tuple.is_same_but_zone(its_tuple) && zone == its_zone && (id.is_none() || *id == flow.id())
    }
}

impl<B: AsRef<[u8]>> Flow<B> {
    /// Names exactly this entry: by reply tuple, zone and id, as a delete does. Two dumps of one entry
    /// give the same key, whatever else has changed in the meantime.
    ///
    /// ```no_run
    /// # fn f(ct: &ctnetlink::Conntrack) -> ctnetlink::Result<()> {
    /// let mut seen = std::collections::HashSet::new();
    /// let mut dump = ct.dump(None)?;
    /// while let Some(flow) = dump.next()? {
    ///     // A table that changes can bring an entry twice.
    ///     if seen.insert(flow.key()) {
    ///         println!("{flow}");
    ///     }
    /// }
    /// # Ok(()) }
    /// ```
    pub fn key(&self) -> Key {
        let key = Key::reply(self.reply().without_zone()).zone(self.reply_zone());
        self.id().map_or(key, |id| key.id(id))
    }
}
