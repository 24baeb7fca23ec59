//! Connection labels: 128 bits that a ruleset sets, and the file that gives them names.

use std::collections::BTreeMap;
use std::fmt;

use crate::error::{Error, Result};

/// Bytes of a full label set (`NF_CT_LABELS_MAX_SIZE`).
pub(crate) const LENGTH: usize = 16;

/// The label bits of an entry (`CTA_LABELS`), numbered 0 to 127 as in `connlabel.conf` and in
/// nftables' `ct label`.
///
/// ```
/// use ctnetlink::Labels;
/// let labels = Labels::from_iter([5, 100]);
/// assert!(labels.has(5) && !labels.has(6));
/// assert_eq!(labels.iter().collect::<Vec<_>>(), [5, 100]);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Labels(u128);

/// How the words of a bitmap lie in memory.
#[derive(Debug, Clone, Copy)]
struct Layout {
    big_endian: bool,
    /// Bytes of the kernel's `unsigned long`.
    long: usize,
}

/// This machine. A kernel of 64 bits is taken for one of 32 by a program of 32 bits; the two differ
/// on big-endian machines only.
const HOST: Layout = Layout { big_endian: cfg!(target_endian = "big"), long: size_of::<usize>() };

impl Layout {
    /// The bytes of a bitmap from the lowest bits to the highest, from those in memory; and back.
    fn reorder(self, mut bytes: [u8; LENGTH]) -> [u8; LENGTH] {
        if self.big_endian {
            bytes.chunks_exact_mut(self.long).for_each(<[u8]>::reverse);
        }
        bytes
    }
}

impl Labels {
    /// Reads the attribute. The kernel sends its bitmap as it lies in memory: an array of
    /// `unsigned long` in host order, bit 0 in the first (`ctnetlink_dump_labels`).
    pub(crate) fn parse(value: &[u8]) -> Labels {
        let mut bytes = [0; LENGTH];
        // A part of a 32-bit word is not read.
        for (to, word) in bytes.chunks_exact_mut(4).zip(value.chunks_exact(4)) {
            to.copy_from_slice(word);
        }
        Labels(u128::from_le_bytes(HOST.reorder(bytes)))
    }

    /// The attribute's bytes.
    pub(crate) fn bytes(self) -> [u8; LENGTH] {
        HOST.reorder(self.0.to_le_bytes())
    }

    /// Whether this bit is set. Numbers above 127 never are.
    pub fn has(self, bit: u8) -> bool {
        bit < 128 && self.0 >> bit & 1 == 1
    }

    /// The set bits in ascending order.
    pub fn iter(self) -> impl Iterator<Item = u8> {
        (0..128).filter(move |bit| self.has(*bit))
    }

    /// Whether no bit is set.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }
}

impl FromIterator<u8> for Labels {
    /// Numbers above 127 do not exist and are left out.
    fn from_iter<I: IntoIterator<Item = u8>>(bits: I) -> Self {
        let bits = bits.into_iter().filter(|bit| *bit < 128);
        Labels(bits.fold(0, |all, bit| all | 1 << bit))
    }
}

impl fmt::Display for Labels {
    /// The numbers, separated by commas.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, bit) in self.iter().enumerate() {
            if at > 0 {
                f.write_str(",")?;
            }
            write!(f, "{bit}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Labels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Labels({self})")
    }
}

/// Names of label bits, as in `/etc/xtables/connlabel.conf` (or `/etc/connlabel.conf`): one line
/// per label with the bit number and the name; `#` begins a comment.
///
/// ```
/// use ctnetlink::{LabelMap, Labels};
/// let map = LabelMap::parse("# mine\n5 voip\n6 bulk\n")?;
/// assert_eq!(map.names(Labels::from_iter([5])).collect::<Vec<_>>(), ["voip"]);
/// assert_eq!(map.bit("bulk"), Some(6));
/// # Ok::<(), ctnetlink::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LabelMap(BTreeMap<u8, String>);

impl LabelMap {
    /// Reads the text of a `connlabel.conf`.
    ///
    /// # Errors
    ///
    /// A line that is not a number from 0 to 127 and a name; the error names the line.
    pub fn parse(text: &str) -> Result<LabelMap> {
        let mut names = BTreeMap::new();
        for (at, line) in text.lines().enumerate() {
            let line = line.split('#').next().unwrap_or_default().trim();
            if line.is_empty() {
                continue;
            }
            let entry = line.split_once(char::is_whitespace).and_then(|(bit, name)| {
                let bit = bit.parse().ok().filter(|bit| *bit < 128)?;
                Some((bit, name.trim().to_owned()))
            });
            let Some((bit, name)) = entry else {
                return Err(Error::Invalid(format!(
                    "label map, line {}: {line:?}: expected a bit from 0 to 127 and a name",
                    at + 1
                )));
            };
            names.insert(bit, name);
        }
        Ok(LabelMap(names))
    }

    /// The name of a bit.
    pub fn name(&self, bit: u8) -> Option<&str> {
        self.0.get(&bit).map(String::as_str)
    }

    /// The bit of a name.
    pub fn bit(&self, name: &str) -> Option<u8> {
        self.0.iter().find(|(_, known)| *known == name).map(|(bit, _)| *bit)
    }

    /// The names of the set bits that have one.
    pub fn names(&self, labels: Labels) -> impl Iterator<Item = &str> {
        labels.iter().filter_map(|bit| self.name(bit))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_round_trip_through_the_attribute() {
        for bits in [vec![], vec![0], vec![31, 32], vec![127], vec![5, 64, 100]] {
            let labels = Labels::from_iter(bits.clone());
            assert_eq!(Labels::parse(&labels.bytes()), labels);
            assert_eq!(labels.iter().collect::<Vec<_>>(), bits);
        }
        assert!(Labels::from_iter([128, 255]).is_empty());
        assert!(!Labels::from_iter([1]).has(200));
        assert_eq!(Labels::parse(&[1, 0, 0]), Labels::default(), "no whole word");
        assert_eq!(Labels::from_iter([5, 6]).to_string(), "5,6");
    }

    /// Bit 5 is in the first byte of a little-endian kernel, in the fourth of a big-endian one of
    /// 32 bits, and in the eighth of one of 64 bits.
    #[test]
    fn the_bitmap_of_every_kernel() {
        for (big_endian, long, at) in [(false, 4, 0), (false, 8, 0), (true, 4, 3), (true, 8, 7)] {
            let layout = Layout { big_endian, long };
            let mut memory = [0; LENGTH];
            memory[at] = 1 << 5;
            // Bit 127 is the highest bit of the last word.
            memory[if big_endian { LENGTH - long } else { LENGTH - 1 }] |= 0x80;
            let bits = u128::from_le_bytes(layout.reorder(memory));
            assert_eq!(bits, 1 << 5 | 1 << 127, "{layout:?}");
            assert_eq!(layout.reorder(bits.to_le_bytes()), memory, "{layout:?}");
        }
        assert_eq!(HOST.long, size_of::<std::ffi::c_ulong>());
    }

    #[test]
    fn maps_name_the_line_that_is_wrong() {
        let map = LabelMap::parse("0 zero\n\n  127\tlast one # comment\n").unwrap();
        assert_eq!(
            (map.name(127), map.bit("zero"), map.bit("x")),
            (Some("last one"), Some(0), None)
        );
        for bad in ["1 a\nb", "1 a\n128 b", "1 a\n5", "1 a\n-1 b"] {
            let error = LabelMap::parse(bad).unwrap_err().to_string();
            assert!(error.starts_with("label map, line 2: "), "{error}");
        }
    }
}
