//! A finding: what is wrong, by which numbers, and what to do.

use std::fmt;

use super::pressure::Level;

macro_rules! ids {
    ($($(#[$doc:meta])* $variant:ident = $name:literal;)*) => {
        /// What a [`Finding`] is about. Prints as its name, such as `table-near-full`.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[non_exhaustive]
        pub enum FindingId {
            $($(#[$doc])* $variant,)*
        }

        impl FindingId {
            /// All of them.
            pub const ALL: &'static [FindingId] = &[$(FindingId::$variant,)*];

            /// Its name.
            pub fn name(self) -> &'static str {
                match self { $(FindingId::$variant => $name,)* }
            }
        }
    };
}

ids! {
    /// Packets were lost.
    PacketsDropped = "packets-dropped";
    /// The table is full, and nearly nothing in it can be evicted.
    FullAndAssured = "full-and-assured";
    /// Entries are evicted to make room.
    Evicting = "evicting";
    /// Hash chains are long enough to lose packets.
    ChainsTooLong = "chains-too-long";
    /// The table is near its limit.
    TableNearFull = "table-near-full";
    /// Source NAT picked a tuple that another packet took first.
    SnatPortRace = "snat-port-race";
    /// Source NAT runs out of ports toward one destination.
    SourcePortsExhausted = "source-ports-exhausted";
    /// Many closed TCP connections.
    TimeWait = "time-wait";
    /// DNS holds a large part.
    DnsShare = "dns-share";
    /// Many connections without an answer to their SYN.
    SynFlood = "syn-flood";
    /// Many entries without an answer.
    Unreplied = "unreplied";
    /// Established connections are kept for five days.
    Established5Days = "established-5-days";
    /// Half-closed connections are kept for an hour.
    CloseWait1Hour = "close-wait-1-hour";
    /// One frontend has most entries.
    OneFrontend = "one-frontend";
    /// One source has most entries.
    OneSource = "one-source";
    /// One backend has most entries.
    OneBackend = "one-backend";
    /// Entries of backends that no longer serve.
    StaleEntries = "stale-entries";
    /// The limit is below what kube-proxy would set.
    BelowKubeProxy = "below-kube-proxy";
    /// The limit belongs to the host, the count to this namespace.
    NotYourLimit = "not-your-limit";
    /// The kernel counts more entries than it shows.
    HiddenEntries = "hidden-entries";
    /// Expectations are near their limit.
    ExpectationsFull = "expectations-full";
}

impl fmt::Display for FindingId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

#[cfg(feature = "serde")]
impl serde::Serialize for FindingId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

/// What was found, and what helps.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Finding {
    /// What it is about.
    pub id: FindingId,
    /// How bad it is.
    pub level: Level,
    /// One line: what is so, with the numbers.
    pub says: String,
    /// The numbers behind it, by name. In JSON, an object.
    #[cfg_attr(feature = "serde", serde(serialize_with = "as_object"))]
    pub evidence: Vec<(&'static str, f64)>,
    /// What to change, for good.
    pub remedy: String,
    /// The command that helps now.
    pub now: Option<String>,
}

#[cfg(feature = "serde")]
fn as_object<S: serde::Serializer>(
    evidence: &[(&'static str, f64)],
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_map(evidence.iter().copied())
}

impl Finding {
    pub(super) fn new(id: FindingId, level: Level, says: impl Into<String>) -> Finding {
        let (evidence, remedy, now) = (Vec::new(), String::new(), None);
        Finding { id, level, says: says.into(), evidence, remedy, now }
    }

    pub(super) fn evidence(mut self, numbers: &[(&'static str, f64)]) -> Finding {
        self.evidence.extend_from_slice(numbers);
        self
    }

    pub(super) fn remedy(mut self, text: impl Into<String>) -> Finding {
        self.remedy = text.into();
        self
    }

    pub(super) fn now(mut self, command: impl Into<String>) -> Finding {
        self.now = Some(command.into());
        self
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: {}", self.level, self.id, self.says)
    }
}

/// A number with a comma after each three digits: `262,144`.
///
/// ```
/// assert_eq!(ctnetlink::diagnose::Grouped(1_048_576).to_string(), "1,048,576");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Grouped(pub u64);

impl fmt::Display for Grouped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = self.0.to_string();
        let mut text = String::with_capacity(digits.len() + digits.len() / 3);
        for (place, digit) in digits.chars().enumerate() {
            if place > 0 && (digits.len() - place) % 3 == 0 {
                text.push(',');
            }
            text.push(digit);
        }
        f.pad(&text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped() {
        let texts = [0, 999, 1_000, 262_144, u64::MAX].map(|n| Grouped(n).to_string());
        assert_eq!(texts, ["0", "999", "1,000", "262,144", "18,446,744,073,709,551,615"]);
    }
}
