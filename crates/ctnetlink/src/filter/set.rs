//! The sets that a criterion compares with: addresses and prefixes, ports and port ranges.

use std::fmt;
use std::net::IpAddr;
use std::ops::RangeInclusive;

use ipnet::IpNet;

use crate::model::tuple::Family;

/// A set of addresses: single ones and prefixes, of either family.
///
/// Addresses and prefixes within another prefix are dropped, and bits beyond the length of a prefix
/// are cleared. An IPv4 address is never in an IPv6 prefix, not even as an IPv4-mapped address.
///
/// ```
/// use ctnetlink::{Addresses, IpNet};
/// let pods: Addresses = "{10.244.1.0/24, 10.244.0.0/24}".parse()?;
/// assert_eq!(pods, [1, 0].map(|n| format!("10.244.{n}.0/24").parse::<IpNet>().unwrap()).into());
/// assert!(pods.contains("10.244.1.5".parse()?));
/// assert_eq!(pods.to_string(), "{10.244.0.0/24, 10.244.1.0/24}");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// Parses from, and prints as, the form in the text of a filter: one address or prefix, or several
/// in braces.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Addresses(
    /// Sorted and disjoint.
    Vec<IpNet>,
);

impl Addresses {
    /// Whether an address is in the set. Time is logarithmic in the number of prefixes.
    pub fn contains(&self, address: IpAddr) -> bool {
        // Prefixes are disjoint: only the last one that starts at or before the address can have
        // it. IpAddr orders IPv4 before IPv6.
        let after = self.0.partition_point(|net| net.network() <= address);
        after.checked_sub(1).is_some_and(|at| self.0[at].contains(&address))
    }

    /// Whether the set has no address.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The prefixes in ascending order; a single address is a prefix of full length.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = IpNet> {
        self.0.iter().copied()
    }

    /// The addresses one by one, if there is no prefix among them.
    pub(crate) fn hosts(&self) -> Option<Vec<IpAddr>> {
        self.0.iter().map(|net| is_host(net).then(|| net.addr())).collect()
    }

    /// The family, if all members are of the same one.
    pub(crate) fn family(&self) -> Option<Family> {
        let family = Family::of(self.0.first()?.addr());
        (Family::of(self.0.last()?.addr()) == family).then_some(family)
    }
}

fn is_host(net: &IpNet) -> bool {
    net.prefix_len() == net.max_prefix_len()
}

impl FromIterator<IpNet> for Addresses {
    fn from_iter<I: IntoIterator<Item = IpNet>>(nets: I) -> Self {
        let mut nets: Vec<_> = nets.into_iter().map(|net| net.trunc()).collect();
        // A prefix comes right before what lies within it.
        nets.sort_unstable_by_key(|net| (net.network(), net.prefix_len()));
        let mut disjoint: Vec<IpNet> = Vec::with_capacity(nets.len());
        for net in nets {
            if disjoint.last().is_none_or(|last| !last.contains(&net)) {
                disjoint.push(net);
            }
        }
        Addresses(disjoint)
    }
}

impl FromIterator<IpAddr> for Addresses {
    fn from_iter<I: IntoIterator<Item = IpAddr>>(addresses: I) -> Self {
        addresses.into_iter().map(IpNet::from).collect()
    }
}

macro_rules! addresses_from {
    ($($one:ty),*) => {$(
        impl From<$one> for Addresses {
            fn from(one: $one) -> Self {
                Addresses::from_iter([one])
            }
        }
    )*};
}

addresses_from!(IpAddr, IpNet);

impl<T, const N: usize> From<[T; N]> for Addresses
where
    Addresses: FromIterator<T>,
{
    fn from(several: [T; N]) -> Self {
        several.into_iter().collect()
    }
}

impl<T> From<Vec<T>> for Addresses
where
    Addresses: FromIterator<T>,
{
    fn from(several: Vec<T>) -> Self {
        several.into_iter().collect()
    }
}

impl fmt::Display for Addresses {
    /// One member as it is, several as `{a, b}`, as in the text of a filter.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        list(f, &self.0, |net, f| match is_host(net) {
            true => fmt::Display::fmt(&net.addr(), f),
            false => fmt::Display::fmt(net, f),
        })
    }
}

/// A set of ports, host byte order: single ones and ranges.
///
/// ```
/// use ctnetlink::Ports;
/// assert_eq!(Ports::from([53, 5353]).to_string(), "{53, 5353}");
/// assert_eq!(Ports::from(8000..=8080).to_string(), "8000-8080");
/// assert_eq!("{8000-8080, 53}".parse::<Ports>()?, Ports::from_iter([53..=53, 8000..=8080]));
/// # Ok::<(), ctnetlink::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Ports(
    /// First and last, sorted and disjoint.
    Vec<(u16, u16)>,
);

impl Ports {
    /// Whether a port is in the set.
    pub fn contains(&self, port: u16) -> bool {
        let after = self.0.partition_point(|(first, _)| *first <= port);
        after.checked_sub(1).is_some_and(|at| port <= self.0[at].1)
    }

    /// Whether the set has no port.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The ranges in ascending order; a single port is a range of one.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = RangeInclusive<u16>> {
        self.0.iter().map(|(first, last)| *first..=*last)
    }

    /// The ports one by one, if there is no range among them.
    pub(crate) fn singles(&self) -> Option<Vec<u16>> {
        self.0.iter().map(|(first, last)| (first == last).then_some(*first)).collect()
    }
}

impl FromIterator<RangeInclusive<u16>> for Ports {
    /// An empty range adds nothing.
    fn from_iter<I: IntoIterator<Item = RangeInclusive<u16>>>(ranges: I) -> Self {
        let mut ranges: Vec<_> = ranges.into_iter().filter(|range| !range.is_empty()).collect();
        ranges.sort_unstable_by_key(|range| *range.start());
        let mut disjoint: Vec<(u16, u16)> = Vec::new();
        for range in ranges {
            let (first, last) = range.into_inner();
            match disjoint.last_mut() {
                // Adjacent ranges are not merged, so that `{53, 54}` prints as it was written.
                Some((_, end)) if first <= *end => *end = last.max(*end),
                _ => disjoint.push((first, last)),
            }
        }
        Ports(disjoint)
    }
}

impl FromIterator<u16> for Ports {
    fn from_iter<I: IntoIterator<Item = u16>>(ports: I) -> Self {
        ports.into_iter().map(|port| port..=port).collect()
    }
}

impl From<u16> for Ports {
    fn from(port: u16) -> Self {
        Ports(vec![(port, port)])
    }
}

impl From<RangeInclusive<u16>> for Ports {
    fn from(range: RangeInclusive<u16>) -> Self {
        [range].into_iter().collect()
    }
}

impl<const N: usize> From<[u16; N]> for Ports {
    fn from(ports: [u16; N]) -> Self {
        ports.into_iter().collect()
    }
}

impl<const N: usize> From<[RangeInclusive<u16>; N]> for Ports {
    fn from(ranges: [RangeInclusive<u16>; N]) -> Self {
        ranges.into_iter().collect()
    }
}

impl From<Vec<u16>> for Ports {
    fn from(ports: Vec<u16>) -> Self {
        ports.into_iter().collect()
    }
}

impl fmt::Display for Ports {
    /// One member as it is, several as `{a, b-c}`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        list(f, &self.0, |(first, last), f| match first == last {
            true => write!(f, "{first}"),
            false => write!(f, "{first}-{last}"),
        })
    }
}

fn list<T>(
    f: &mut fmt::Formatter<'_>,
    all: &[T],
    one: impl Fn(&T, &mut fmt::Formatter<'_>) -> fmt::Result,
) -> fmt::Result {
    if let [single] = all {
        return one(single, f);
    }
    f.write_str("{")?;
    for (at, item) in all.iter().enumerate() {
        f.write_str(if at > 0 { ", " } else { "" })?;
        one(item, f)?;
    }
    f.write_str("}")
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use ipnet::{Ipv4Net, Ipv6Net};
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// The result is the same as that of a look at every prefix in turn.
        #[test]
        fn addresses_are_found_as_in_a_list(
            nets in prop::collection::vec((any::<[u8; 4]>(), 0_u8..=32, any::<bool>()), 0..12),
            near in any::<prop::sample::Index>(), offset in -2_i64..=2, other in any::<u32>(),
        ) {
            let nets: Vec<IpNet> = nets
                .into_iter()
                .map(|(octets, length, v6)| match v6 {
                    false => Ipv4Net::new(octets.into(), length).unwrap().into(),
                    true => Ipv6Net::new(u128::from(u32::from_be_bytes(octets)).into(), 96 + length)
                        .unwrap()
                        .into(),
                })
                .collect();
            let set: Addresses = nets.iter().copied().collect();
            let mut number = other;
            if !nets.is_empty() {
                let last = match nets[near.index(nets.len())].broadcast() {
                    IpAddr::V4(address) => u32::from(address),
                    IpAddr::V6(address) => (u128::from(address) & 0xffff_ffff).try_into().unwrap(),
                };
                number = u32::try_from(i64::from(last) + offset).unwrap_or(other);
            }
            for address in [
                IpAddr::V4(number.into()),
                IpAddr::V6(u128::from(number).into()),
                IpAddr::V6(Ipv4Addr::from(number).to_ipv6_mapped()),
            ] {
                let expected = nets.iter().any(|net| net.contains(&address));
                prop_assert_eq!(set.contains(address), expected, "{} in {}", address, set);
            }
        }

        #[test]
        fn ports_are_found_as_in_a_list(
            ranges in prop::collection::vec((0_u16..40, 0_u16..40), 0..8), port in 0_u16..42,
        ) {
            let ranges: Vec<_> = ranges.into_iter().map(|(a, b)| a..=b).collect();
            let set: Ports = ranges.iter().cloned().collect();
            prop_assert_eq!(set.contains(port), ranges.iter().any(|r| r.contains(&port)));
        }
    }

    #[test]
    fn what_is_single_and_of_which_family() {
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        let two = Addresses::from([ip("10.0.0.9"), ip("10.0.0.1")]);
        assert_eq!(two.hosts(), Some(vec![ip("10.0.0.1"), ip("10.0.0.9")]));
        assert_eq!(two.family(), Some(Family::Ipv4));
        let mixed = Addresses::from(vec![ip("fd00::1"), ip("10.0.0.1")]);
        assert_eq!((mixed.family(), mixed.to_string().as_str()), (None, "{10.0.0.1, fd00::1}"));
        let prefix = Addresses::from("10.0.0.0/8".parse::<IpNet>().unwrap());
        assert_eq!((prefix.hosts(), prefix.iter().len()), (None, 1));
        assert_eq!(Addresses::default().family(), None);
        assert_eq!(Ports::from([2, 1]).singles(), Some(vec![1, 2]));
        assert_eq!(Ports::from(1..=2).singles(), None);
        assert_eq!(Ports::from_iter([1..=5, 3..=9, 11..=11]).to_string(), "{1-9, 11}");
    }
}
