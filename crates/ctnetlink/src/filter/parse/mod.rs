//! Filters as text, with the keywords of tcpdump and `conntrack`.

mod hint;

use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::str::FromStr;

use ipnet::IpNet;

use super::criterion::{Direction, Quantity, Range, Side};
use super::{Addresses, Criterion, Filter, Ports};
use crate::error::Error;
use crate::model::protocol::Protocol;
use crate::model::status::Status;
use crate::model::tuple::Family;

impl FromStr for Filter {
    type Err = Error;

    /// Parses what `Display` prints, and some other spellings.
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
    /// An amount that an entry does not have matches neither a comparison nor its negation: an
    /// offloaded entry has no timeout, an entry has an age only if it was made while
    /// `nf_conntrack_timestamp` was 1, and counters only if `nf_conntrack_acct` was. All other
    /// criteria about what an entry does not have are false, and their negations true.
    ///
    /// Numbers may be hexadecimal (`0x1f`) in marks and status bits; status bits have the names of
    /// [`Status`] in any case, or are numbers; `packets` and `bytes` without a direction count both
    /// together. `ipv4` and `ipv6` mean `ip` and `ip6`.
    ///
    /// # Errors
    ///
    /// If the text is not a valid filter. The error names the column, what was found there, and
    /// what was expected.
    ///
    /// ```
    /// use ctnetlink::Filter;
    /// let text = "udp and orig dst port 53 and not reply src in {10.244.1.5, 10.244.2.0/24}";
    /// let dns: Filter = text.parse()?;
    /// assert_eq!(dns.to_string(), text);
    /// let error = "udp and orig dest port 53".parse::<Filter>().unwrap_err();
    /// assert!(error.to_string().contains(r#"column 14: expected "src", "dst""#));
    /// # Ok::<(), ctnetlink::Error>(())
    /// ```
    fn from_str(text: &str) -> Result<Filter, Error> {
        let filter = Parser::whole(text, Parser::expression, r#""and", "or" or the end of input"#)?;
        filter.expression()?;
        Ok(filter)
    }
}

impl FromStr for Addresses {
    type Err = Error;

    /// An address, a prefix, or several of them in braces.
    fn from_str(text: &str) -> Result<Addresses, Error> {
        Parser::whole(text, |parser| parser.addresses("an IP address"), "the end of input")
    }
}

impl FromStr for Ports {
    type Err = Error;

    /// A port, a range, or several of them in braces.
    fn from_str(text: &str) -> Result<Ports, Error> {
        Parser::whole(text, Parser::ports, "the end of input")
    }
}

/// How deep parentheses and `not` may be nested. This is more than the levels that an expression
/// may have (`MAX_LEVELS`), because parentheses around a single criterion do not make a level.
/// Nobody writes a text with more on purpose, and reading it could exhaust the stack.
const MAX_NESTING: usize = 128;

struct Parser<'a> {
    text: &'a str,
    /// Each with its offset in bytes.
    tokens: Vec<(usize, &'a str)>,
    at: usize,
    depth: usize,
}

/// Whether the character is a token by itself.
fn is_single(c: char) -> bool {
    matches!(c, '(' | ')' | '{' | '}' | ',' | '|' | '/')
}

/// Whether the character forms one token together with adjacent ones of this kind.
fn is_operator(c: char) -> bool {
    matches!(c, '<' | '>' | '=')
}

/// Whether the character cannot be part of a word.
pub(super) fn is_punctuation(c: char) -> bool {
    is_single(c) || is_operator(c)
}

/// Reads a decimal number, or a hexadecimal one after `0x`.
fn number(word: &str) -> Option<u32> {
    match word.strip_prefix("0x") {
        Some(digits) => u32::from_str_radix(digits, 16).ok(),
        None => word.parse().ok(),
    }
}

/// Splits a text into words, operators and single punctuation marks.
fn tokens(text: &str) -> Vec<(usize, &str)> {
    let mut tokens = Vec::new();
    let mut start: Option<(usize, bool)> = None;
    for (at, c) in text.char_indices().chain([(text.len(), ' ')]) {
        let ends = is_single(c) || c.is_whitespace();
        let ended = start.take_if(|(_, operator)| ends || *operator != is_operator(c));
        if let Some((from, _)) = ended {
            tokens.push((from, &text[from..at]));
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
    /// Reads a value that must fill the whole text.
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

    /// An error at the next word.
    fn expected(&self, what: &str) -> Error {
        let (offset, found) = match self.tokens.get(self.at) {
            Some((offset, word)) => (*offset, format!("found {word:?}")),
            None => (self.text.trim_end().len(), "found the end of input".to_owned()),
        };
        let meant = self.tokens.get(self.at).and_then(|(_, word)| hint::meant(word));
        let perhaps = meant.map_or_else(String::new, |meant| format!("; perhaps {meant:?}"));
        self.error_at(offset, &format!("expected {what}, {found}{perhaps}"))
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
        Error::Syntax {
            position: self.text[..offset].chars().count(),
            message: format!("filter: {place}: {what}\n  {shown}\n  {:>column$}", "^"),
        }
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
        if self.depth == MAX_NESTING {
            return Err(self.expected("fewer levels of parentheses and \"not\""));
        }
        self.depth += 1;
        let filter = if self.take("not") {
            !self.factor()?
        } else if self.take("(") {
            let inner = self.expression()?;
            if !self.take(")") {
                return Err(self.expected(r#""and", "or" or ")""#));
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
        // Names only: a bare number is not a protocol here.
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
                Err(self.expected(r#""orig" or "reply" before it (as in "orig dst port 53")"#))
            }
            _ => {
                self.at = start;
                Err(self.expected(
                    "a criterion (such as \"udp\", \"ip6\", \"orig dst port 53\", \
                     \"reply src 10.0.0.1\", \"status set ASSURED\", \"mark 1\" or \"unreplied\"), \
                     \"not\" or \"(\"",
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
                return Err(self.expected(r#""src", "dst", "zone", "packets" or "bytes""#));
            }
        };
        if self.take("port") {
            return Ok(Filter::is(Criterion::Port(direction, side, self.ports()?)));
        }
        let addresses = self.addresses("\"port\" or an IP address")?;
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
        let net = net.ok_or_else(|| self.expected(&format!("a prefix length from 0 to {most}")))?;
        if net.network() != address {
            self.at = start;
            let meant = net.trunc();
            return Err(
                self.expected(&format!("no bits beyond the prefix length (perhaps {meant})"))
            );
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
                true => Err(self.expected("\"{\"")),
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
                return Err(self.expected(r#""," or "}""#));
            }
        }
    }

    /// Reads one value or a set. Each value becomes a criterion of its own, and a set alternatives.
    fn any_of<T>(
        &mut self,
        one: impl Fn(&mut Self) -> Result<T, Error>,
        filter: impl Fn(T) -> Filter,
    ) -> Result<Filter, Error> {
        Ok(Filter::any(self.one_or_set(one)?.into_iter().map(filter)))
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
            _ => return Err(self.expected(r#""set" or "unset""#)),
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
                    self.expected("a number for which the comparison can be true")
                })?
            }
            _ => {
                let range = operator.and_then(|word| {
                    let (least, most) = word.split_once('-')?;
                    Range::of(&(least.parse().ok()?..=most.parse::<u64>().ok()?))
                });
                let range = range.ok_or_else(|| {
                    self.expected(r#""<", "<=", "=", ">=", ">" or a range such as "5-9""#)
                })?;
                self.at += 1;
                range
            }
        };
        Ok(Filter::is(Criterion::Amount(quantity, range)))
    }

    fn number(&mut self) -> Result<u32, Error> {
        let number =
            self.peek().and_then(number).ok_or_else(|| self.expected("a 32-bit number"))?;
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
pub(super) mod tests;
