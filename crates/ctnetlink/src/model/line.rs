//! An entry as one line of text, as `conntrack -L` prints it.

use std::fmt::{self, Display, Formatter};
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
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let flow = self.flow;
        let status = flow.status();
        if self.extended {
            let number = if flow.family() == Family::Ipv4 { 2 } else { 10 };
            write!(f, "{:<8} {number} ", flow.family())?;
        }
        let protocol = flow.protocol();
        write!(f, "{:<8} {}", protocol.name().unwrap_or("unknown"), protocol.0)?;
        if let Some(timeout) = flow.timeout() {
            write!(f, " {}", timeout.as_secs())?;
        }
        if let Some(state) = flow.protocol_state() {
            write!(f, " {state}")?;
        }
        direction(f, flow.orig(), "zone-orig", flow.counters_orig())?;
        if !status.contains(Status::SEEN_REPLY) {
            f.write_str(" [UNREPLIED]")?;
        }
        direction(f, flow.reply(), "zone-reply", flow.counters_reply())?;
        if status.contains(Status::HW_OFFLOAD) {
            f.write_str(" [HW_OFFLOAD]")?;
        } else if status.contains(Status::OFFLOAD) {
            f.write_str(" [OFFLOAD]")?;
        } else if status.contains(Status::ASSURED) {
            f.write_str(" [ASSURED]")?;
        }
        if let Some(mark) = flow.mark() {
            write!(f, " mark={mark}")?;
        }
        if let Some(context) = flow.security_context() {
            write!(f, " secctx={context}")?;
        }
        if let Some(zone) = flow.zone_of_both() {
            write!(f, " zone={zone}")?;
        }
        if let Some(start) = flow.timestamps().and_then(|t| t.start) {
            let age = SystemTime::now().duration_since(start).unwrap_or_default();
            write!(f, " delta-time={}", age.as_secs())?;
        }
        if let Some(helper) = flow.helper() {
            write!(f, " helper={helper}")?;
        }
        if let Some(references) = flow.use_count() {
            write!(f, " use={references}")?;
        }
        match flow.id() {
            Some(id) if self.id => write!(f, " id={id}"),
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
    write!(f, " {tuple}")?;
    if let Some(zone) = tuple.zone() {
        write!(f, " {zone_name}={zone}")?;
    }
    if let Some(Counters { packets, bytes }) = counters {
        write!(f, " packets={packets} bytes={bytes}")?;
    }
    Ok(())
}

impl Display for Tuple {
    /// As `conntrack -L` prints it: `src=10.0.0.1 dst=10.96.0.10 sport=1001 dport=53`.
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "src={} dst={}", self.src(), self.dst())?;
        if let Some(icmp) = self.icmp() {
            return write!(f, " type={} code={} id={}", icmp.kind, icmp.code, icmp.id);
        }
        match (self.protocol(), self.src_port(), self.dst_port()) {
            (Protocol::GRE, Some(src), Some(dst)) => write!(f, " srckey={src:#x} dstkey={dst:#x}"),
            (_, Some(src), Some(dst)) => write!(f, " sport={src} dport={dst}"),
            _ => Ok(()),
        }
    }
}
