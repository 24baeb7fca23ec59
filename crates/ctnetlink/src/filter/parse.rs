//! Filters as text, in the words of tcpdump and `conntrack`.

use std::net::IpAddr;
use std::str::FromStr;

use super::{Criterion, Direction, Filter, Side};
use crate::error::Error;
use crate::proto::Protocol;
use crate::status::Status;
use crate::tuple::Family;

impl FromStr for Filter {
    type Err = Error;

    /// Parses what `Display` prints.
    ///
    /// ```text
    /// expression = term { "or" term }
    /// term       = factor { "and" factor }
    /// factor     = "not" factor | "(" expression ")" | criterion
    /// criterion  = "ip" | "ip6"
    ///            | "tcp" | "udp" | "udplite" | "sctp" | "icmp" | "icmpv6" | "gre" | "dccp"
    ///            | "proto" NAME-OR-NUMBER
    ///            | ("orig" | "reply") ("src" | "dst") (ADDRESS | "port" NUMBER)
    ///            | "status" ("set" | "unset") BIT { "|" BIT }
    ///            | "mark" NUMBER [ "/" MASK ]
    ///            | "zone" NUMBER
    /// ```
    ///
    /// Numbers may be hexadecimal (`0x1f`) in marks; status bits have the names of [`Status`] or
    /// are numbers.
    ///
    /// # Errors
    ///
    /// The column, what stands there, and what was expected.
    ///
    /// ```
    /// use ctnetlink::Filter;
    /// let dns: Filter = "udp and orig dst port 53 and not reply src 10.244.1.5".parse()?;
    /// assert_eq!(dns.to_string(), "udp and orig dst port 53 and not reply src 10.244.1.5");
    /// let error = "udp and orig dest port 53".parse::<Filter>().unwrap_err();
    /// assert!(error.to_string().contains("column 14: expected src or dst, found \"dest\""));
    /// # Ok::<(), ctnetlink::Error>(())
    /// ```
    fn from_str(text: &str) -> Result<Filter, Error> {
        let mut parser = Parser { text, tokens: tokens(text), at: 0, depth: 0 };
        let filter = parser.expression()?;
        match parser.peek() {
            None => filter.plan().map(|_| filter),
            Some(_) => Err(parser.expected("and, or, or the end")),
        }
    }
}

/// Nesting beyond this is no filter a person wrote, and would exhaust the stack.
const MAX_DEPTH: usize = 64;

struct Parser<'a> {
    text: &'a str,
    /// Each with its offset in bytes.
    tokens: Vec<(usize, &'a str)>,
    at: usize,
    depth: usize,
}

/// Words, and each of `( ) | /` by itself.
fn tokens(text: &str) -> Vec<(usize, &str)> {
    let mut tokens = Vec::new();
    let mut start = None;
    for (at, c) in text.char_indices().chain([(text.len(), ' ')]) {
        let single = matches!(c, '(' | ')' | '|' | '/');
        if single || c.is_whitespace() {
            if let Some(start) = start.take() {
                tokens.push((start, &text[start..at]));
            }
            if single {
                tokens.push((at, &text[at..=at]));
            }
        } else {
            start.get_or_insert(at);
        }
    }
    tokens
}

impl<'a> Parser<'a> {
    fn peek(&self) -> Option<&'a str> {
        self.tokens.get(self.at).map(|(_, word)| *word)
    }

    fn next(&mut self) -> Option<&'a str> {
        let word = self.peek()?;
        self.at += 1;
        Some(word)
    }

    /// Takes the next word if it is this one.
    fn take(&mut self, word: &str) -> bool {
        let taken = self.peek() == Some(word);
        self.at += usize::from(taken);
        taken
    }

    /// An error at the word that is next.
    fn expected(&self, what: &str) -> Error {
        let (offset, found) = match self.tokens.get(self.at) {
            Some((offset, word)) => (*offset, format!("found {word:?}")),
            None => (self.text.trim_end().len(), "found the end".to_owned()),
        };
        let column = self.text[..offset].chars().count() + 1;
        Error::Invalid(format!(
            "filter: column {column}: expected {what}, {found}\n  {}\n  {:>column$}",
            self.text, "^"
        ))
    }

    fn expression(&mut self) -> Result<Filter, Error> {
        let mut filter = self.term()?;
        while self.take("or") {
            filter = filter | self.term()?;
        }
        Ok(filter)
    }

    fn term(&mut self) -> Result<Filter, Error> {
        let mut filter = self.factor()?;
        while self.take("and") {
            filter = filter & self.factor()?;
        }
        Ok(filter)
    }

    fn factor(&mut self) -> Result<Filter, Error> {
        if self.depth == MAX_DEPTH {
            return Err(self.expected("less nesting"));
        }
        self.depth += 1;
        let filter = if self.take("not") {
            !self.factor()?
        } else if self.take("(") {
            let inner = self.expression()?;
            if !self.take(")") {
                return Err(self.expected("and, or, or )"));
            }
            inner
        } else {
            self.criterion()?
        };
        self.depth -= 1;
        Ok(filter)
    }

    fn criterion(&mut self) -> Result<Filter, Error> {
        let word = self.peek().unwrap_or_default();
        // Names only: a bare number is no protocol here.
        let named = word.parse().ok().filter(|p: &Protocol| p.name() == Some(word));
        if let Some(protocol) = named {
            self.at += 1;
            return Ok(Filter::protocol(protocol));
        }
        match word {
            "ip" | "ip6" => {
                self.at += 1;
                let family = if word == "ip" { Family::Ipv4 } else { Family::Ipv6 };
                Ok(Filter::family(family))
            }
            "proto" => {
                self.at += 1;
                self.value("a protocol's name or number").map(Filter::protocol)
            }
            "orig" | "reply" => {
                self.at += 1;
                self.tuple(if word == "orig" { Direction::Orig } else { Direction::Reply })
            }
            "status" => {
                self.at += 1;
                self.status()
            }
            "mark" => {
                self.at += 1;
                let value = self.number()?;
                let mask = if self.take("/") { self.number()? } else { u32::MAX };
                Ok(Filter::mark_masked(value, mask))
            }
            "zone" => {
                self.at += 1;
                self.value("a zone from 0 to 65535").map(Filter::zone)
            }
            _ => Err(self
                .expected("ip, ip6, a protocol, proto, orig, reply, status, mark, zone, not or (")),
        }
    }

    fn tuple(&mut self, direction: Direction) -> Result<Filter, Error> {
        let side = match self.peek() {
            Some("src") => Side::Src,
            Some("dst") => Side::Dst,
            _ => return Err(self.expected("src or dst")),
        };
        self.at += 1;
        if self.take("port") {
            let port = self.value("a port from 0 to 65535")?;
            return Ok(Filter::is(Criterion::Port(direction, side, port)));
        }
        let address: IpAddr = self.value("port or an IP address")?;
        Ok(Filter::is(Criterion::Address(direction, side, address)))
    }

    fn status(&mut self) -> Result<Filter, Error> {
        let set = match self.peek() {
            Some("set") => true,
            Some("unset") => false,
            _ => return Err(self.expected("set or unset")),
        };
        self.at += 1;
        let mut bits = Status::empty();
        loop {
            let bit = self.peek().and_then(|word| bitflags::parser::from_str::<Status>(word).ok());
            match bit {
                Some(bit) if !bit.is_empty() => bits |= bit,
                _ => return Err(self.expected("a status bit such as SEEN_REPLY or ASSURED")),
            }
            self.at += 1;
            if !self.take("|") {
                break;
            }
        }
        Ok(if set { Filter::status_set(bits) } else { Filter::status_unset(bits) })
    }

    fn number(&mut self) -> Result<u32, Error> {
        let number = self.peek().and_then(|word| match word.strip_prefix("0x") {
            Some(digits) => u32::from_str_radix(digits, 16).ok(),
            None => word.parse().ok(),
        });
        let number = number.ok_or_else(|| self.expected("a number of 32 bits"))?;
        self.at += 1;
        Ok(number)
    }

    fn value<T: FromStr>(&mut self, what: &str) -> Result<T, Error> {
        let value = self.peek().and_then(|word| word.parse().ok());
        let value = value.ok_or_else(|| self.expected(what))?;
        self.next();
        Ok(value)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(text: &str) -> Result<Filter, Error> {
        text.parse()
    }

    #[test]
    fn precedence_and_spacing() {
        let [a, b, c] = [1, 2, 3].map(Filter::zone);
        for (text, expected) in [
            ("zone 1 or zone 2 and zone 3", a.clone() | (b.clone() & c.clone())),
            ("(zone 1 or zone 2)and zone 3", (a.clone() | b.clone()) & c.clone()),
            ("not zone 1 and zone 2", !a.clone() & b.clone()),
            ("not ( zone 1 and zone 2 )", !(a.clone() & b.clone())),
            ("\tnot not zone 1 ", !!a.clone()),
            ("mark 0x10/0xf0", Filter::mark_masked(0x10, 0xf0)),
            ("mark 16 / 240", Filter::mark_masked(0x10, 0xf0)),
            (
                "status set SEEN_REPLY|ASSURED",
                Filter::status_set(Status::SEEN_REPLY | Status::ASSURED),
            ),
            ("proto 17", Filter::protocol(Protocol::UDP)),
        ] {
            assert_eq!(parse(text).unwrap(), expected, "{text}");
        }
    }

    #[test]
    fn mistakes_are_pointed_at() {
        for (text, expected) in [
            ("", "column 1: expected ip, ip6, a protocol"),
            ("   ", "column 1: expected ip, ip6"),
            (
                "udp and",
                "column 8: expected ip, ip6, a protocol, proto, orig, reply, status, mark, zone, not or (, found the end",
            ),
            ("udp orig dst port 53", "column 5: expected and, or, or the end, found \"orig\""),
            ("udp and orig dest 10.0.0.1", "column 14: expected src or dst, found \"dest\""),
            ("orig dst 10.0.0", "column 10: expected port or an IP address, found \"10.0.0\""),
            ("orig dst port 65536", "column 15: expected a port from 0 to 65535, found \"65536\""),
            ("zone", "column 5: expected a zone from 0 to 65535, found the end"),
            ("(udp or tcp", "column 12: expected and, or, or ), found the end"),
            ("udp)", "column 4: expected and, or, or the end, found \")\""),
            ("status SEEN_REPLY", "column 8: expected set or unset"),
            ("status set NOTHING", "column 12: expected a status bit"),
            ("status set 0", "column 12: expected a status bit"),
            ("mark 0xfffffffff", "column 6: expected a number of 32 bits"),
            ("mark 0/0", "a mark filter with an empty mask would select everything"),
            ("17", "column 1: expected ip"),
            ("é and udp", "column 1: expected ip"),
            ("udp and é", "column 9: expected ip"),
        ] {
            let error = parse(text).unwrap_err().to_string();
            assert!(error.contains(expected), "{text:?}: {error}");
        }
        let error = parse("udp and orig dest 10.0.0.1").unwrap_err().to_string();
        assert!(error.ends_with("\n  udp and orig dest 10.0.0.1\n               ^"), "{error}");
        assert!(parse(&"(".repeat(100_000)).unwrap_err().to_string().contains("less nesting"));
        assert!(parse(&"not ".repeat(100_000)).is_err());
    }

    fn any_filter() -> impl Strategy<Value = Filter> {
        let address = prop_oneof![
            any::<[u8; 4]>().prop_map(IpAddr::from),
            any::<[u8; 16]>().prop_map(IpAddr::from),
        ];
        let direction = prop_oneof![Just(Direction::Orig), Just(Direction::Reply)];
        let side = prop_oneof![Just(Side::Src), Just(Side::Dst)];
        let port = (direction.clone(), side.clone(), any::<u16>());
        let bits = (1_u32..).prop_map(Status::from_bits_retain);
        let one = prop_oneof![
            prop_oneof![Just(Family::Ipv4), Just(Family::Ipv6)].prop_map(Filter::family),
            any::<u8>().prop_map(|number| Filter::protocol(Protocol(number))),
            (direction, side, address)
                .prop_map(|(d, s, a)| Filter::is(Criterion::Address(d, s, a))),
            port.prop_map(|(d, s, p)| Filter::is(Criterion::Port(d, s, p))),
            bits.clone().prop_map(Filter::status_set),
            bits.prop_map(Filter::status_unset),
            (any::<u32>(), 1_u32..).prop_map(|(v, mask)| Filter::mark_masked(v & mask, mask)),
            any::<u16>().prop_map(Filter::zone),
        ];
        one.prop_recursive(4, 24, 4, |inner| {
            prop_oneof![
                (inner.clone(), inner.clone()).prop_map(|(a, b)| a & b),
                (inner.clone(), inner.clone()).prop_map(|(a, b)| a | b),
                inner.prop_map(|a| !a),
            ]
        })
    }

    proptest! {
        #[test]
        fn what_is_printed_parses_back(filter in any_filter()) {
            let text = filter.to_string();
            prop_assert_eq!(parse(&text).map_err(|e| e.to_string()), Ok(filter), "{}", text);
        }

        #[test]
        fn no_text_panics(text in "[a-z0-9()|/. é]{0,40}") {
            let _ = parse(&text);
        }
    }
}
