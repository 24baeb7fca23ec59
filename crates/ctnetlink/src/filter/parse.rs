//! Filters as text, in the words of tcpdump and `conntrack`.

use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::str::FromStr;

use ipnet::IpNet;

use super::criterion::{Direction, Quantity, Range, Side};
use super::{Addresses, Criterion, Filter, Ports};
use crate::error::Error;
use crate::proto::Protocol;
use crate::status::Status;
use crate::tuple::Family;

impl FromStr for Filter {
    type Err = Error;

    /// Parses what `Display` prints, and more.
    ///
    /// ```text
    /// expression = term { "or" term }
    /// term       = factor { "and" factor }
    /// factor     = "not" factor | "(" expression ")" | criterion
    ///
    /// criterion  = "ip" | "ip6"
    ///            | "tcp" | "udp" | "udplite" | "sctp" | "icmp" | "icmpv6" | "gre" | "dccp"
    ///            | "proto" of(NAME-OR-NUMBER)
    ///            | ("orig" | "reply") ("src" | "dst") of(ADDRESS [ "/" LENGTH ])
    ///            | ("orig" | "reply") ("src" | "dst") "port" of(NUMBER [ "-" NUMBER ])
    ///            | "host" of(ADDRESS [ "/" LENGTH ])             in any of the four places
    ///            | ("icmp-type" | "icmp-code" | "icmp-id") of(NUMBER)
    ///            | "status" ("set" | "unset") BIT { "|" BIT }     all set, or none
    ///            | "snat" | "dnat" | "nat" | "unreplied"
    ///            | "mark" of(NUMBER [ "/" MASK ])
    ///            | [ "orig" | "reply" ] "zone" of(NUMBER)
    ///            | "label" of(BIT)
    ///            | "helper" of(NAME)
    ///            | ("tcp-state" | "sctp-state") of(STATE)
    ///            | "timeout" amount | "age" amount               in seconds
    ///            | [ "orig" | "reply" ] ("packets" | "bytes") amount
    ///
    /// of(X)      = X | [ "in" ] "{" X { "," X } "}"               any of them
    /// amount     = ("<" | "<=" | "=" | ">=" | ">") NUMBER | NUMBER "-" NUMBER
    /// ```
    ///
    /// Numbers may be hexadecimal (`0x1f`) in marks and status bits; status bits have the names of
    /// [`Status`] in any case, or are numbers; `packets` and `bytes` without a direction are of both
    /// together. `ipv4` and `ipv6` are `ip` and `ip6`.
    ///
    /// # Errors
    ///
    /// The column, what stands there, and what was expected.
    ///
    /// ```
    /// use ctnetlink::Filter;
    /// let text = "udp and orig dst port 53 and not reply src in {10.244.1.5, 10.244.2.0/24}";
    /// let dns: Filter = text.parse()?;
    /// assert_eq!(dns.to_string(), text);
    /// let error = "udp and orig dest port 53".parse::<Filter>().unwrap_err();
    /// assert!(error.to_string().contains("column 14: expected src, dst"));
    /// # Ok::<(), ctnetlink::Error>(())
    /// ```
    fn from_str(text: &str) -> Result<Filter, Error> {
        let filter = Parser::whole(text, Parser::expression, "and, or, or the end")?;
        filter.expression()?;
        Ok(filter)
    }
}

impl FromStr for Addresses {
    type Err = Error;

    /// An address, a prefix, or several of them in braces.
    fn from_str(text: &str) -> Result<Addresses, Error> {
        Parser::whole(text, |parser| parser.addresses("an IP address"), "the end")
    }
}

impl FromStr for Ports {
    type Err = Error;

    /// A port, a range, or several of them in braces.
    fn from_str(text: &str) -> Result<Ports, Error> {
        Parser::whole(text, Parser::ports, "the end")
    }
}

/// Nesting beyond this is no filter a person wrote, and would exhaust the stack.
const MAX_DEPTH: usize = 128;

struct Parser<'a> {
    text: &'a str,
    /// Each with its offset in bytes.
    tokens: Vec<(usize, &'a str)>,
    at: usize,
    depth: usize,
}

/// A token by itself.
fn is_single(c: char) -> bool {
    matches!(c, '(' | ')' | '{' | '}' | ',' | '|' | '/')
}

/// Together with its neighbours of the kind.
fn is_operator(c: char) -> bool {
    matches!(c, '<' | '>' | '=')
}

/// Cannot be part of a word.
pub(super) fn is_punctuation(c: char) -> bool {
    is_single(c) || is_operator(c)
}

/// Decimal, or hexadecimal behind `0x`.
fn number(word: &str) -> Option<u32> {
    match word.strip_prefix("0x") {
        Some(digits) => u32::from_str_radix(digits, 16).ok(),
        None => word.parse().ok(),
    }
}

/// Words, operators, and each punctuation mark by itself.
fn tokens(text: &str) -> Vec<(usize, &str)> {
    let mut tokens = Vec::new();
    let mut start: Option<(usize, bool)> = None;
    for (at, c) in text.char_indices().chain([(text.len(), ' ')]) {
        let ends = is_single(c) || c.is_whitespace();
        if let Some((from, operator)) = start
            && (ends || operator != is_operator(c))
        {
            tokens.push((from, &text[from..at]));
            start = None;
        }
        if is_single(c) {
            tokens.push((at, &text[at..=at]));
        } else if !ends {
            start.get_or_insert((at, is_operator(c)));
        }
    }
    tokens
}

impl<'a> Parser<'a> {
    /// Reads a whole text; behind it the text has to end.
    fn whole<T>(
        text: &'a str,
        read: impl FnOnce(&mut Self) -> Result<T, Error>,
        or_else: &str,
    ) -> Result<T, Error> {
        let mut parser = Parser { text, tokens: tokens(text), at: 0, depth: 0 };
        let value = read(&mut parser)?;
        match parser.peek() {
            None => Ok(value),
            Some(_) => Err(parser.expected(or_else)),
        }
    }

    fn peek(&self) -> Option<&'a str> {
        self.tokens.get(self.at).map(|(_, word)| *word)
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
        self.error_at(offset, &format!("expected {what}, {found}"))
    }

    /// An error at an offset, with the line it is in.
    fn error_at(&self, offset: usize, what: &str) -> Error {
        let start = self.text[..offset].rfind('\n').map_or(0, |newline| newline + 1);
        let line = self.text[start..].lines().next().unwrap_or_default();
        let column = self.text[start..offset].chars().count() + 1;
        let place = match self.text[..start].lines().count() {
            0 => format!("column {column}"),
            before => format!("line {}, column {column}", before + 1),
        };
        // One space for each character, so that tabs do not shift the mark.
        let shown: String = line.chars().map(|c| if c == '\t' { ' ' } else { c }).collect();
        Error::Invalid(format!("filter: {place}: {what}\n  {shown}\n  {:>column$}", "^"))
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
            let start = self.at;
            let filter = self.criterion()?;
            if let Err(why) = &filter.0 {
                return Err(self.error_at(self.tokens[start].0, why));
            }
            filter
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
        let start = self.at;
        self.at += 1;
        match word {
            "ip" | "ipv4" => Ok(Filter::family(Family::Ipv4)),
            "ip6" | "ipv6" => Ok(Filter::family(Family::Ipv6)),
            "proto" => self.any_of(|p| p.value("a protocol's name or number"), Filter::protocol),
            "orig" => self.directed(Direction::Orig),
            "reply" => self.directed(Direction::Reply),
            "host" => self.addresses("an IP address").map(Filter::host_in),
            "icmp-type" => self.any_of(|p| p.value("a type from 0 to 255"), Filter::icmp_type),
            "icmp-code" => self.any_of(|p| p.value("a code from 0 to 255"), Filter::icmp_code),
            "icmp-id" => self.any_of(|p| p.value("an id from 0 to 65535"), Filter::icmp_id),
            "status" => self.status(),
            "snat" => Ok(Filter::snat()),
            "dnat" => Ok(Filter::dnat()),
            "nat" => Ok(Filter::nat()),
            "unreplied" => Ok(Filter::unreplied()),
            "mark" => self.any_of(Self::mark, |(value, mask)| Filter::mark_masked(value, mask)),
            "zone" => self.zone(None),
            "label" => self.any_of(Self::label, Filter::label),
            "helper" => self.any_of(Self::helper, Filter::helper),
            "tcp-state" => {
                self.any_of(|p| p.value("a state such as ESTABLISHED"), Filter::tcp_state)
            }
            "sctp-state" => {
                self.any_of(|p| p.value("a state such as ESTABLISHED"), Filter::sctp_state)
            }
            "timeout" => self.amount(Quantity::Timeout),
            "age" => self.amount(Quantity::Age),
            "packets" => self.amount(Quantity::Packets(None)),
            "bytes" => self.amount(Quantity::Bytes(None)),
            "src" | "dst" | "port" => {
                self.at = start;
                Err(self.expected("orig or reply before it (as in orig dst port 53)"))
            }
            _ => {
                self.at = start;
                Err(self.expected(
                    "a criterion (such as udp, ip6, orig dst port 53, reply src 10.0.0.1, status set \
                     ASSURED, mark 1 or unreplied), not or (",
                ))
            }
        }
    }

    /// What follows `orig` or `reply`.
    fn directed(&mut self, direction: Direction) -> Result<Filter, Error> {
        let word = self.peek();
        let start = self.at;
        self.at += 1;
        let side = match word {
            Some("src") => Side::Src,
            Some("dst") => Side::Dst,
            Some("zone") => return self.zone(Some(direction)),
            Some("packets") => return self.amount(Quantity::Packets(Some(direction))),
            Some("bytes") => return self.amount(Quantity::Bytes(Some(direction))),
            _ => {
                self.at = start;
                return Err(self.expected("src, dst, zone, packets or bytes"));
            }
        };
        if self.take("port") {
            return Ok(Filter::is(Criterion::Port(direction, side, self.ports()?)));
        }
        let addresses = self.addresses("port or an IP address")?;
        Ok(Filter::is(Criterion::Address(direction, side, addresses)))
    }

    fn addresses(&mut self, what: &str) -> Result<Addresses, Error> {
        let all = self.one_or_set(|parser| parser.address(what))?;
        Ok(all.into_iter().collect())
    }

    fn address(&mut self, what: &str) -> Result<IpNet, Error> {
        let start = self.at;
        let address: IpAddr = self.value(what)?;
        if !self.take("/") {
            return Ok(address.into());
        }
        let most = IpNet::from(address).max_prefix_len();
        let length = self.peek().and_then(|word| word.parse().ok());
        let net = length.and_then(|length| IpNet::new(address, length).ok());
        let net = net.ok_or_else(|| self.expected(&format!("a length from 0 to {most}")))?;
        if net.network() != address {
            self.at = start;
            let meant = net.trunc();
            return Err(self.expected(&format!("no bits behind the prefix ({meant}?)")));
        }
        self.at += 1;
        Ok(net)
    }

    fn ports(&mut self) -> Result<Ports, Error> {
        Ok(self.one_or_set(Self::port_range)?.into_iter().collect())
    }

    fn port_range(&mut self) -> Result<RangeInclusive<u16>, Error> {
        let range = self.peek().and_then(|word| {
            let (first, last) = word.split_once('-').unwrap_or((word, word));
            Some(first.parse().ok()?..=last.parse().ok()?)
        });
        let range: RangeInclusive<u16> =
            range.ok_or_else(|| self.expected("a port from 0 to 65535, or a range"))?;
        if range.is_empty() {
            return Err(self.expected("a range from the lower port to the higher"));
        }
        self.at += 1;
        Ok(range)
    }

    /// `X`, or `in {X, Y}`.
    fn one_or_set<T>(
        &mut self,
        one: impl Fn(&mut Self) -> Result<T, Error>,
    ) -> Result<Vec<T>, Error> {
        let announced = self.take("in");
        if !self.take("{") {
            return match announced {
                true => Err(self.expected("{")),
                false => Ok(vec![one(self)?]),
            };
        }
        let mut all = Vec::new();
        loop {
            all.push(one(self)?);
            if self.take("}") {
                return Ok(all);
            }
            if !self.take(",") {
                return Err(self.expected(", or }"));
            }
        }
    }

    /// A set of what has no criterion for sets: alternatives.
    fn any_of<T>(
        &mut self,
        one: impl Fn(&mut Self) -> Result<T, Error>,
        filter: impl Fn(T) -> Filter,
    ) -> Result<Filter, Error> {
        let each = self.one_or_set(one)?.into_iter().map(filter);
        each.reduce(|any, one| any | one).ok_or_else(|| self.expected("a value"))
    }

    fn zone(&mut self, direction: Option<Direction>) -> Result<Filter, Error> {
        let zone = |parser: &mut Self| parser.value("a zone from 0 to 65535");
        self.any_of(zone, |zone| Filter::is(Criterion::Zone(direction, zone)))
    }

    fn label(&mut self) -> Result<u8, Error> {
        let bit = self.peek().and_then(|word| word.parse().ok()).filter(|bit| *bit < 128);
        let bit = bit.ok_or_else(|| self.expected("a label bit from 0 to 127"))?;
        self.at += 1;
        Ok(bit)
    }

    fn helper(&mut self) -> Result<String, Error> {
        match self.peek() {
            Some("and" | "or" | "not" | "in") => Err(self.expected("a helper's name")),
            _ => self.value("a helper's name"),
        }
    }

    fn mark(&mut self) -> Result<(u32, u32), Error> {
        let value = self.number()?;
        let mask = if self.take("/") { self.number()? } else { u32::MAX };
        Ok((value, mask))
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
            let bit = self.peek().and_then(|word| match number(word) {
                Some(number) => Some(Status::from_bits_retain(number)),
                None => bitflags::parser::from_str(&word.to_ascii_uppercase()).ok(),
            });
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

    fn amount(&mut self, quantity: Quantity) -> Result<Filter, Error> {
        let operator = self.peek();
        let range = match operator {
            Some("<" | "<=" | "=" | ">=" | ">") => {
                self.at += 1;
                let start = self.at;
                let number: u64 = self.value("a number")?;
                let range = match operator {
                    Some("<") => Range::of(&(..number)),
                    Some("<=") => Range::of(&(..=number)),
                    Some("=") => Range::of(&(number..=number)),
                    Some(">=") => Range::of(&(number..)),
                    _ => number.checked_add(1).and_then(|next| Range::of(&(next..))),
                };
                range.ok_or_else(|| {
                    self.at = start;
                    self.expected("a number that leaves something")
                })?
            }
            _ => {
                let range = operator.and_then(|word| {
                    let (least, most) = word.split_once('-')?;
                    Range::of(&(least.parse().ok()?..=most.parse::<u64>().ok()?))
                });
                let range = range.ok_or_else(|| self.expected("<, <=, =, >=, > or a range"))?;
                self.at += 1;
                range
            }
        };
        Ok(Filter::is(Criterion::Amount(quantity, range)))
    }

    fn number(&mut self) -> Result<u32, Error> {
        let number =
            self.peek().and_then(number).ok_or_else(|| self.expected("a number of 32 bits"))?;
        self.at += 1;
        Ok(number)
    }

    fn value<T: FromStr>(&mut self, what: &str) -> Result<T, Error> {
        let value = self.peek().and_then(|word| word.parse().ok());
        let value = value.ok_or_else(|| self.expected(what))?;
        self.at += 1;
        Ok(value)
    }
}

#[cfg(test)]
pub(super) mod tests {
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
    fn every_criterion_and_its_other_spellings() {
        for (text, printed) in [
            ("reply src {10.244.2.0/24,10.244.1.5}", "reply src in {10.244.1.5, 10.244.2.0/24}"),
            ("orig src in {10.0.0.1}", "orig src 10.0.0.1"),
            ("orig dst 10.0.0.0 / 8", "orig dst 10.0.0.0/8"),
            ("host in {fd00::/8, 10.0.0.1}", "host in {10.0.0.1, fd00::/8}"),
            ("orig dst port in {8000-8080, 53}", "orig dst port in {53, 8000-8080}"),
            ("reply dst port 1-65535", "reply dst port 1-65535"),
            ("icmp and icmp-type 8 and icmp-code 0 and icmp-id 7", ""),
            ("snat or dnat", ""),
            ("nat", "snat or dnat"),
            ("not nat", "not (snat or dnat)"),
            ("status unset SEEN_REPLY", "unreplied"),
            ("zone in {1, 2}", "zone 1 or zone 2"),
            ("proto in {udp, 89}", "udp or proto 89"),
            ("icmp-type in {8, 13}", "icmp-type 8 or icmp-type 13"),
            ("mark in {1, 0x10/0xf0}", "mark 0x1 or mark 0x10/0xf0"),
            (
                "helper in {ftp, sip} and label {5, 6}",
                "(helper ftp or helper sip) and (label 5 or label 6)",
            ),
            ("status set assured|0x2|8", "status set SEEN_REPLY | ASSURED | CONFIRMED"),
            ("status set 4", "status set ASSURED"),
            ("ipv4 or ipv6", "ip or ip6"),
            ("udp\n  and\torig dst port 53", "udp and orig dst port 53"),
            ("orig zone 7 and reply zone 0", ""),
            ("label 127 and helper netbios-ns", ""),
            ("tcp-state in {SYN_SENT, syn_recv}", "tcp-state SYN_SENT or tcp-state SYN_RECV"),
            ("sctp-state COOKIE_WAIT and tcp-state 77", ""),
            ("timeout < 30", "timeout <= 29"),
            ("age > 3600", "age >= 3601"),
            ("packets=0 and bytes>=1", "packets = 0 and bytes >= 1"),
            ("orig packets 5-9 and reply bytes <= 3", ""),
            ("timeout >= 0", ""),
            ("timeout <= 18446744073709551615", "timeout >= 0"),
            ("timeout 7-7", "timeout = 7"),
        ] {
            let filter = parse(text).unwrap_or_else(|e| panic!("{e}"));
            let expected = if printed.is_empty() { text } else { printed };
            assert_eq!(filter.to_string(), expected, "{text}");
            assert_eq!(parse(expected).unwrap(), filter, "{text}");
        }
    }

    #[test]
    fn sets_by_themselves() {
        let error = "10.0.0.1 10.0.0.2".parse::<Addresses>().unwrap_err().to_string();
        assert!(error.contains("column 10: expected the end, found"), "{error}");
        assert_eq!("{10.0.0.1}".parse::<Addresses>().unwrap().to_string(), "10.0.0.1");
        assert!("53 and udp".parse::<Ports>().is_err());
    }

    #[test]
    fn mistakes_are_pointed_at() {
        for (text, expected) in [
            ("", "column 1: expected a criterion (such as udp"),
            ("   ", "column 1: expected a criterion"),
            ("udp and", "column 8: expected a criterion"),
            ("udp and", "or unreplied), not or (, found the end"),
            ("udp orig dst port 53", "column 5: expected and, or, or the end, found \"orig\""),
            (
                "udp and orig dest 10.0.0.1",
                "column 14: expected src, dst, zone, packets or bytes, found \"dest\"",
            ),
            ("orig dst 10.0.0", "column 10: expected port or an IP address, found \"10.0.0\""),
            (
                "orig dst port 65536",
                "column 15: expected a port from 0 to 65535, or a range, found \"65536\"",
            ),
            ("zone", "column 5: expected a zone from 0 to 65535, found the end"),
            ("(udp or tcp", "column 12: expected and, or, or ), found the end"),
            ("udp)", "column 4: expected and, or, or the end, found \")\""),
            ("status SEEN_REPLY", "column 8: expected set or unset"),
            ("status set NOTHING", "column 12: expected a status bit"),
            ("status set 0", "column 12: expected a status bit"),
            ("mark 0xfffffffff", "column 6: expected a number of 32 bits"),
            ("mark 0/0", "a mark filter with an empty mask would select everything"),
            ("17", "column 1: expected a criterion"),
            ("é and udp", "column 1: expected a criterion"),
            ("udp and é", "column 9: expected a criterion"),
            ("orig dst in 10.0.0.1", "column 13: expected {, found \"10.0.0.1\""),
            ("orig dst in {}", "column 14: expected port or an IP address, found \"}\""),
            ("orig dst {10.0.0.1 10.0.0.2}", "column 20: expected , or }, found"),
            ("orig dst {10.0.0.1,", "column 20: expected port or an IP address, found the end"),
            ("host 10.0.0.0/33", "column 15: expected a length from 0 to 32, found \"33\""),
            ("host fd00::/129", "expected a length from 0 to 128"),
            ("host 10.0.0.5/8", "column 6: expected no bits behind the prefix (10.0.0.0/8?)"),
            ("orig dst port 9-5", "column 15: expected a range from the lower port to the higher"),
            ("dst port 53", "column 1: expected orig or reply before it (as in orig dst port 53)"),
            ("udp and port 53", "column 9: expected orig or reply before it"),
            ("udp and helper or", "column 16: expected a helper's name, found \"or\""),
            ("udp and mark 0x10/0xf", "column 9: mark 0x10 has bits outside its mask 0xf"),
            (
                "udp and\n  orig dest 10.0.0.1",
                "line 2, column 8: expected src, dst, zone, packets or bytes, found \"dest\"\n    \
                 orig dest 10.0.0.1\n         ^",
            ),
            ("label 128", "column 7: expected a label bit from 0 to 127"),
            ("helper", "column 7: expected a helper's name"),
            ("helper x234567890123456", "is no helper's name: 1 to 15 bytes"),
            ("tcp-state ESTAB", "column 11: expected a state such as ESTABLISHED"),
            ("timeout 5", "column 9: expected <, <=, =, >=, > or a range, found \"5\""),
            ("timeout < 0", "column 11: expected a number that leaves something"),
            ("bytes > 18446744073709551615", "column 9: expected a number that leaves"),
            ("packets == 5", "column 9: expected <, <=, =, >=, > or a range, found \"==\""),
            ("age 9-5", "column 5: expected <"),
            ("orig udp", "column 6: expected src, dst, zone, packets or bytes"),
        ] {
            let error = parse(text).unwrap_err().to_string();
            assert!(error.contains(expected), "{text:?}: {error}");
        }
        let error = parse("udp and orig dest 10.0.0.1").unwrap_err().to_string();
        assert!(error.ends_with("\n  udp and orig dest 10.0.0.1\n               ^"), "{error}");
        assert!(parse(&"(".repeat(100_000)).unwrap_err().to_string().contains("less nesting"));
        assert!(parse(&"not ".repeat(100_000)).is_err());
    }

    pub(in crate::filter) fn any_filter() -> impl Strategy<Value = Filter> {
        let address = prop_oneof![
            (any::<[u8; 4]>(), 0_u8..=32).prop_map(|(a, l)| IpNet::new(a.into(), l).unwrap()),
            (any::<[u8; 16]>(), 0_u8..=128).prop_map(|(a, l)| IpNet::new(a.into(), l).unwrap()),
            any::<[u8; 4]>().prop_map(|a| IpAddr::from(a).into()),
        ];
        let addresses = prop::collection::vec(address, 1..4).prop_map(Addresses::from);
        let ports = prop::collection::vec((any::<u16>(), any::<u16>()), 1..4)
            .prop_map(|all| Ports::from_iter(all.into_iter().map(|(a, b)| a.min(b)..=a.max(b))));
        let direction = prop_oneof![Just(Direction::Orig), Just(Direction::Reply)];
        let maybe = prop::option::of(direction.clone());
        let side = prop_oneof![Just(Side::Src), Just(Side::Dst)];
        let port = (direction.clone(), side.clone(), ports);
        let bits = (1_u32..).prop_map(Status::from_bits_retain);
        let quantity = maybe.clone().prop_flat_map(|d| {
            prop_oneof![
                Just(Quantity::Timeout),
                Just(Quantity::Age),
                Just(Quantity::Packets(d)),
                Just(Quantity::Bytes(d))
            ]
        });
        let bound = prop_oneof![Just(0), Just(u64::MAX), 0_u64..100, any::<u64>()];
        let range =
            (bound.clone(), bound).prop_map(|(a, b)| Range { least: a.min(b), most: a.max(b) });
        let one = prop_oneof![
            prop_oneof![Just(Family::Ipv4), Just(Family::Ipv6)].prop_map(Filter::family),
            any::<u8>().prop_map(|number| Filter::protocol(Protocol(number))),
            (direction, side, addresses.clone())
                .prop_map(|(d, s, a)| Filter::is(Criterion::Address(d, s, a))),
            port.prop_map(|(d, s, p)| Filter::is(Criterion::Port(d, s, p))),
            addresses.prop_map(Filter::host_in),
            any::<(u8, u16)>().prop_map(|(n, id)| match id % 3 {
                0 => Filter::icmp_type(n),
                1 => Filter::icmp_code(n),
                _ => Filter::icmp_id(id),
            }),
            bits.clone().prop_map(Filter::status_set),
            bits.prop_map(Filter::status_unset),
            (any::<u32>(), 1_u32..).prop_map(|(v, mask)| Filter::mark_masked(v & mask, mask)),
            (maybe, any::<u16>()).prop_map(|(d, z)| Filter::is(Criterion::Zone(d, z))),
            (0_u8..128).prop_map(Filter::label),
            "[a-zA-Z][a-zA-Z0-9._-]{0,14}".prop_map(Filter::helper),
            any::<u8>().prop_map(|n| Filter::tcp_state(n.into())),
            any::<u8>().prop_map(|n| Filter::sctp_state(n.into())),
            (quantity, range).prop_map(|(q, r)| Filter::is(Criterion::Amount(q, r))),
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
        fn no_text_panics(text in "[a-z0-9(){},<=>|/. é-]{0,40}") {
            let _ = parse(&text);
        }
    }
}
