//! An entry as one line of text, as `conntrack -L` prints it.

use std::fmt::{self, Display, Formatter};
use std::net::IpAddr;
use std::time::SystemTime;

use crate::model::extension::Counters;
use crate::model::flow::Flow;
use crate::model::protocol::Protocol;
use crate::model::status::Status;
use crate::model::tuple::{Family, Tuple};

/// Shows an entry the way `conntrack -L` does, with more on request. Made by [`Flow::line`].
///
/// ```no_run
/// # fn f(flow: ctnetlink::Flow) {
/// println!("{flow}");                            // conntrack -L
/// println!("{}", flow.line().extended().id());   // conntrack -L -o extended,id
/// # }
/// ```
#[derive(Clone, Copy)]
pub struct Line<'a, B> {
    flow: &'a Flow<B>,
    extended: bool,
    id: bool,
}

impl<B: AsRef<[u8]>> Flow<B> {
    /// The entry as a line of text, with options.
    ///
    /// ```no_run
    /// # fn f(flow: ctnetlink::Flow) {
    /// println!("{}", flow.line().extended().id());
    /// # }
    /// ```
    pub fn line(&self) -> Line<'_, B> {
        Line { flow: self, extended: false, id: false }
    }
}

impl<B: AsRef<[u8]>> Display for Flow<B> {
    /// The line that `conntrack -L` prints; [`line`](Flow::line) has options.
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        self.line().fmt(f)
    }
}

impl<B> Line<'_, B> {
    /// Adds the layer 3 protocol, like `conntrack -o extended`.
    #[must_use]
    pub fn extended(mut self) -> Self {
        self.extended = true;
        self
    }

    /// Adds the id, like `conntrack -o id`.
    #[must_use]
    pub fn id(mut self) -> Self {
        self.id = true;
        self
    }
}

impl<B: AsRef<[u8]>> Display for Line<'_, B> {
    // A table has millions of lines, so that no number goes through the formatting of the standard
    // library, which costs several times as much.
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let flow = self.flow;
        let status = flow.status();
        if self.extended {
            let number = if flow.family() == Family::Ipv4 { 2 } else { 10 };
            write!(f, "{:<8} {number} ", flow.family())?;
        }
        let protocol = flow.protocol();
        match protocol {
            Protocol::TCP => f.write_str("tcp      6")?,
            Protocol::UDP => f.write_str("udp      17")?,
            _ => write!(f, "{:<8} {}", protocol.name().unwrap_or("unknown"), protocol.0)?,
        }
        if let Some(timeout) = flow.timeout() {
            number(f, " ", timeout.as_secs())?;
        }
        if let Some(state) = flow.protocol_state() {
            write!(f, " {state}")?;
        }
        direction(f, flow.orig(), " zone-orig=", flow.counters_orig())?;
        if !status.contains(Status::SEEN_REPLY) {
            f.write_str(" [UNREPLIED]")?;
        }
        direction(f, flow.reply(), " zone-reply=", flow.counters_reply())?;
        if status.contains(Status::HW_OFFLOAD) {
            f.write_str(" [HW_OFFLOAD]")?;
        } else if status.contains(Status::OFFLOAD) {
            f.write_str(" [OFFLOAD]")?;
        } else if status.contains(Status::ASSURED) {
            f.write_str(" [ASSURED]")?;
        }
        if let Some(mark) = flow.mark() {
            number(f, " mark=", mark.into())?;
        }
        if let Some(context) = flow.security_context() {
            write!(f, " secctx={context}")?;
        }
        if let Some(zone) = flow.zone_of_both() {
            number(f, " zone=", zone.into())?;
        }
        if let Some(start) = flow.timestamps().and_then(|t| t.start) {
            let age = SystemTime::now().duration_since(start).unwrap_or_default();
            number(f, " delta-time=", age.as_secs())?;
        }
        if let Some(helper) = flow.helper() {
            write!(f, " helper={helper}")?;
        }
        if let Some(references) = flow.use_count() {
            number(f, " use=", references.into())?;
        }
        match flow.id() {
            Some(id) if self.id => number(f, " id=", id.into()),
            _ => Ok(()),
        }
    }
}

fn direction(
    f: &mut Formatter<'_>,
    tuple: &Tuple,
    zone_name: &str,
    counters: Option<Counters>,
) -> fmt::Result {
    f.write_str(" ")?;
    tuple.fmt(f)?;
    if let Some(zone) = tuple.zone() {
        number(f, zone_name, zone.into())?;
    }
    if let Some(Counters { packets, bytes }) = counters {
        number(f, " packets=", packets)?;
        number(f, " bytes=", bytes)?;
    }
    Ok(())
}

impl Display for Tuple {
    /// As `conntrack -L` prints it: `src=10.0.0.1 dst=10.96.0.10 sport=1001 dport=53`.
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        address(f, "src=", self.src())?;
        address(f, " dst=", self.dst())?;
        if let Some(icmp) = self.icmp() {
            return write!(f, " type={} code={} id={}", icmp.kind, icmp.code, icmp.id);
        }
        match (self.protocol(), self.src_port(), self.dst_port()) {
            (Protocol::GRE, Some(src), Some(dst)) => write!(f, " srckey={src:#x} dstkey={dst:#x}"),
            (_, Some(src), Some(dst)) => {
                number(f, " sport=", src.into())?;
                number(f, " dport=", dst.into())
            }
            _ => Ok(()),
        }
    }
}

/// Digits of a number from the end of a buffer; where they begin.
fn digits(mut value: u64, buffer: &mut [u8]) -> usize {
    let mut start = buffer.len();
    loop {
        start -= 1;
        // Below ten, so that it fits.
        buffer[start] = b'0' + u8::try_from(value % 10).unwrap_or(0);
        value /= 10;
        if value == 0 {
            return start;
        }
    }
}

fn ascii(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap_or_default()
}

/// Text before a number, and the number.
fn number(f: &mut Formatter<'_>, before: &str, value: u64) -> fmt::Result {
    // The largest number has twenty digits.
    let mut buffer = [0; 20];
    let start = digits(value, &mut buffer);
    f.write_str(before)?;
    f.write_str(ascii(&buffer[start..]))
}

/// Text before an address, and the address.
fn address(f: &mut Formatter<'_>, before: &str, address: IpAddr) -> fmt::Result {
    let IpAddr::V4(address) = address else { return write!(f, "{before}{address}") };
    f.write_str(before)?;
    let mut buffer = [b'.'; 15];
    let mut start = buffer.len();
    for (place, octet) in address.octets().into_iter().rev().enumerate() {
        start -= usize::from(place > 0);
        start = digits(octet.into(), &mut buffer[..start]);
    }
    f.write_str(ascii(&buffer[start..]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::SocketAddr;

    #[test]
    fn numbers_and_addresses_are_those_of_the_standard_library() {
        for (src, dst) in [
            ("0.0.0.0:0", "255.255.255.255:65535"),
            ("10.96.0.10:53", "192.168.100.9:1001"),
            ("1.20.255.100:7", "[fd00::1]:53"),
        ] {
            let (src, dst): (SocketAddr, SocketAddr) = (src.parse().unwrap(), dst.parse().unwrap());
            let tuple = Tuple::with_ports(Protocol::UDP, src, dst);
            let expected = format!(
                "src={} dst={} sport={} dport={}",
                src.ip(),
                dst.ip(),
                src.port(),
                dst.port()
            );
            assert_eq!(tuple.to_string(), expected);
        }
        struct Number(u64);
        impl Display for Number {
            fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
                number(f, "n=", self.0)
            }
        }
        for value in [0, 9, 10, 4_294_967_295, u64::MAX] {
            assert_eq!(Number(value).to_string(), format!("n={value}"));
        }
    }
}
