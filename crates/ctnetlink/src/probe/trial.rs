//! Trying out the kernel's filters, in a scratch namespace on a table of its own.
//!
//! For each criterion, the trial dumps and flushes by a few parts like those the planner makes. It
//! compares the entries that come back, and those that survive, with what the part should select.
//! An entry that could not be created here (in a zone, of a protocol the kernel lacks) is left out
//! of the comparison. A trial whose remaining entries show no difference proves nothing.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use crate::error::{Error, Operation, Result};
use crate::filter::kernel_part::{KernelPart, TuplePart};
use crate::model::capability::{KernelCriterion, Trust, Trusts};
use crate::model::flow::FlowRef;
use crate::model::key::Key;
use crate::model::labels::Labels;
use crate::model::new_entry::{Change, NewEntry};
use crate::model::protocol::Protocol;
use crate::model::status::Status;
use crate::model::tuple::{Family, Icmp, Tuple};
use crate::request::entry::{self, Update};
use crate::request::filter;
use crate::transport::command::{Command, refusal};
use crate::transport::socket::Socket;

const OPERATION: Operation = Operation::Probe;

/// What the trial found. The default is the result without any trial.
#[derive(Debug)]
pub(crate) struct Trial {
    pub(crate) trusts: Trusts,
    pub(crate) marks: Option<bool>,
    pub(crate) zones: Option<bool>,
    pub(crate) labels: Option<bool>,
}

impl Default for Trial {
    fn default() -> Self {
        Trial { trusts: Trusts::UNTESTED, marks: None, zones: None, labels: None }
    }
}

/// An entry of the scratch table.
#[derive(Debug, Clone, Copy)]
struct Scratch {
    orig: Tuple,
    reply: Tuple,
    mark: u32,
    status: Status,
    zone: u16,
}

/// The zone some entries are in.
const ZONE: u16 = 7;
/// The mark bit that some entries have.
const MARK: u32 = 0x10;
/// The status bits that distinguish entries: one that a filter wants set, one that it wants unset.
const SET: Status = Status::SEEN_REPLY;
const UNSET: Status = Status::ASSURED;

fn host(family: Family, n: u16) -> IpAddr {
    match family {
        Family::Ipv4 => IpAddr::from([192, 0, 2, n.to_be_bytes()[1]]),
        Family::Ipv6 => IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, n]),
    }
}

const FRONTEND: (u16, u16) = (10, 53);
const BACKEND: (u16, u16) = (20, 5353);

/// Entries of one family. For each field there are some that differ from the first in it.
fn table(family: Family) -> Vec<Scratch> {
    let at = |(n, port)| SocketAddr::new(host(family, n), port);
    // Client, frontend, backend.
    let with = |protocol, client, frontend, backend| Scratch {
        orig: Tuple::with_ports(protocol, at(client), at(frontend)),
        reply: Tuple::with_ports(protocol, at(backend), at(client)),
        mark: 0,
        status: Status::CONFIRMED,
        zone: 0,
    };
    let mut all = Vec::new();
    for protocol in [Protocol::UDP, Protocol::TCP, Protocol::SCTP] {
        all.extend([
            with(protocol, (1, 1000), FRONTEND, BACKEND),
            with(protocol, (2, 1000), FRONTEND, BACKEND),
            with(protocol, (1, 1001), FRONTEND, BACKEND),
            with(protocol, (1, 1002), (11, FRONTEND.1), BACKEND),
            with(protocol, (1, 1003), (FRONTEND.0, 54), BACKEND),
            with(protocol, (1, 1004), FRONTEND, (21, BACKEND.1)),
            with(protocol, (1, 1005), FRONTEND, (BACKEND.0, 5354)),
            with(protocol, (2, 1006), (11, FRONTEND.1), (21, BACKEND.1)),
        ]);
    }
    let base = |port| with(Protocol::UDP, (1, port), FRONTEND, BACKEND);
    all.extend([
        Scratch { mark: MARK | 1, ..base(2000) },
        Scratch { mark: !MARK, ..base(2001) },
        Scratch { status: Status::CONFIRMED | SET, ..base(2002) },
        Scratch { status: Status::CONFIRMED | SET | UNSET, ..base(2003) },
        Scratch { zone: ZONE, ..base(2004) },
        Scratch { zone: ZONE + 1, ..base(2005) },
    ]);
    let (request, other) = if family == Family::Ipv4 { (8, 13) } else { (128, 139) };
    for (kind, code, id) in [(request, 0, 1), (other, 0, 1), (request, 1, 1), (request, 0, 2)] {
        let icmp = Icmp { kind, code, id };
        let orig = Tuple::with_icmp(host(family, 1), host(family, 10), icmp);
        let Some(reply) = orig.inverse() else { continue };
        all.push(Scratch { orig, reply, ..base(0) });
    }
    all
}

impl Scratch {
    fn create(&self) -> Result<Vec<u8>> {
        let mut new = NewEntry::new(self.orig, Duration::from_secs(600)).reply(self.reply);
        new = new.status(self.status);
        if self.mark != 0 {
            new = new.mark(self.mark);
        }
        if self.zone != 0 {
            new = new.zone(self.zone);
        }
        entry::create(&new)
    }

    fn get(&self) -> Result<Vec<u8>> {
        // A kernel without zones refuses every zone, even the default one.
        let zone = (self.zone != 0).then_some(self.zone);
        entry::get(&Key { zone, ..Key::orig(self.orig) })
    }

    /// Whether the part should select this entry, decided without the kernel.
    fn is_selected(&self, part: &KernelPart) -> bool {
        let family = Family::of(self.orig.src());
        let status = (self.status | Status::CONFIRMED).bits();
        part.selects(family, &self.orig, &self.reply, self.zone)
            && part.mark.is_none_or(|(value, mask)| self.mark & mask == value)
            && part.status.is_none_or(|(value, mask)| status & mask == value)
    }
}

/// The parts that try out a criterion in a family; none if it has no meaning there.
fn parts(criterion: KernelCriterion, family: Family) -> Vec<KernelPart> {
    use KernelCriterion as C;
    let base = KernelPart { family: Some(family), ..KernelPart::default() };
    let orig = |orig| KernelPart { orig, ..base };
    let reply = |reply| KernelPart { reply, ..base };
    let none = TuplePart::default();
    let with = |protocol| TuplePart { protocol: Some(protocol), ..none };
    let ports = |protocol, src, dst| {
        [
            TuplePart { src_port: Some(src), ..with(protocol) },
            TuplePart { dst_port: Some(dst), ..with(protocol) },
        ]
    };
    let addresses = |src, dst| {
        let (src, dst) = (host(family, src), host(family, dst));
        [
            TuplePart { src: Some(src), ..none },
            TuplePart { dst: Some(dst), ..none },
            TuplePart { src: Some(src), dst: Some(dst), ..none },
        ]
    };
    let v4 = family == Family::Ipv4;
    match criterion {
        C::Family => vec![base],
        C::Protocol => [Protocol::UDP, Protocol::TCP].map(|p| orig(with(p))).to_vec(),
        C::Ports => [Protocol::UDP, Protocol::TCP]
            .into_iter()
            .flat_map(|protocol| ports(protocol, 1001, 54))
            .map(orig)
            .collect(),
        C::OtherPorts => ports(Protocol::SCTP, 1001, 54).map(orig).to_vec(),
        C::Icmp => {
            let (protocol, kind) = if v4 { (Protocol::ICMP, 13) } else { (Protocol::ICMPV6, 139) };
            [
                TuplePart { icmp_type: Some(kind), ..with(protocol) },
                TuplePart { icmp_code: Some(1), ..with(protocol) },
                TuplePart { icmp_id: Some(2), ..with(protocol) },
            ]
            .map(orig)
            .to_vec()
        }
        C::OrigIpv4 | C::OrigIpv6 if v4 == (criterion == C::OrigIpv4) => {
            addresses(2, 11).map(orig).to_vec()
        }
        C::ReplyIpv4 | C::ReplyIpv6 if v4 == (criterion == C::ReplyIpv4) => {
            addresses(21, 2).map(reply).to_vec()
        }
        C::ReplyPorts => [Protocol::UDP, Protocol::TCP]
            .into_iter()
            .flat_map(|protocol| {
                ports(protocol, 5354, 1001).map(|reply| KernelPart {
                    orig: with(protocol),
                    reply,
                    ..base
                })
            })
            .collect(),
        C::Mark => [(MARK, MARK), (0, MARK), (MARK | 1, u32::MAX)]
            .map(|mark| KernelPart { mark: Some(mark), ..base })
            .to_vec(),
        C::Status => [(SET, SET), (Status::empty(), SET), (SET, SET | UNSET)]
            .map(|(value, mask)| KernelPart { status: Some((value.bits(), mask.bits())), ..base })
            .to_vec(),
        C::Zone => [0, ZONE].map(|zone| KernelPart { zone: Some(zone), ..base }).to_vec(),
        C::OrigIpv4 | C::OrigIpv6 | C::ReplyIpv4 | C::ReplyIpv6 => Vec::new(),
    }
}

/// Runs in a scratch namespace: tries every criterion in dumps and flushes.
pub(crate) fn run() -> Result<Trial> {
    let mut command = Command::new(Socket::open()?)?;
    let tables = Family::ALL.map(table);
    for entry in tables.iter().flatten() {
        // A kernel that lacks a feature refuses the entry here; it is then not compared.
        let _ = refusal(command.act(OPERATION, entry.create()?))?;
    }
    let existing = existing(&mut command, &tables)?;
    if existing.is_empty() {
        return Err(Error::Invalid("no entry could be created in the scratch namespace".into()));
    }
    let marks = carries_marks(&mut command, &existing)?;
    let mut trusts = Trusts::UNTESTED;
    for criterion in KernelCriterion::ALL {
        let (mut dump, mut flush) = (Trust::Untested, Trust::Untested);
        for part in Family::ALL.into_iter().flat_map(|family| parts(criterion, family)) {
            if criterion == KernelCriterion::Mark && !marks {
                (dump, flush) =
                    (Trust::Refused(libc::EOPNOTSUPP), Trust::Refused(libc::EOPNOTSUPP));
                break;
            }
            dump = both(dump, try_dump(&mut command, &part, &existing)?);
            flush = both(flush, try_flush(&mut command, &part, &existing)?);
        }
        trusts.set(criterion, dump, flush);
    }
    Ok(Trial {
        trusts,
        marks: Some(marks),
        zones: Some(existing.iter().any(|entry| entry.zone != 0)),
        labels: Some(takes_labels(&mut command, &existing)?),
    })
}

/// Combines two results: a criterion is right only if every part of it was right.
fn both(so_far: Trust, now: Trust) -> Trust {
    match (so_far, now) {
        (Trust::Untested, now) => now,
        (so_far, Trust::Untested | Trust::Proved) => so_far,
        (Trust::Proved, now) => now,
        (so_far, _) => so_far,
    }
}

/// The entries of the tables that exist as they were meant.
fn existing(command: &mut Command, tables: &[Vec<Scratch>]) -> Result<Vec<Scratch>> {
    let mut found = Vec::new();
    for entry in tables.iter().flatten() {
        let mut same = false;
        let result = command.request(OPERATION, entry.get()?, |message| {
            same = FlowRef::parse(message.payload).is_ok_and(|flow| {
                (*flow.orig(), *flow.reply(), flow.zone()) == (entry.orig, entry.reply, entry.zone)
            });
            Ok(())
        });
        if refusal(result)?.is_none() && same {
            found.push(*entry);
        }
    }
    Ok(found)
}

/// A kernel without `CONFIG_NF_CONNTRACK_MARK` ignores a mark at creation, and shows none.
fn carries_marks(command: &mut Command, existing: &[Scratch]) -> Result<bool> {
    let mut marks = false;
    if let Some(entry) = existing.first() {
        command.request(OPERATION, entry.get()?, |message| {
            marks = FlowRef::parse(message.payload).is_ok_and(|flow| flow.mark().is_some());
            Ok(())
        })?;
    }
    Ok(marks)
}

/// No rule of the scratch namespace uses labels, so a kernel that has them answers `ENOSPC`.
fn takes_labels(command: &mut Command, existing: &[Scratch]) -> Result<bool> {
    let Some(entry) = existing.first() else { return Ok(false) };
    let change = Change::new().labels(Labels::from_iter([1]));
    let flow = command.fetch(OPERATION, entry.get()?, |message| {
        let flow = FlowRef::parse(message.payload);
        flow.map(|flow| flow.to_owned()).map_err(|source| Error::decode(OPERATION, source))
    })?;
    let updated = command.act(OPERATION, entry::update(&flow, &Update::of(&change)?)?);
    Ok(matches!(refusal(updated)?, None | Some(libc::ENOSPC)))
}

/// Whether a part can prove something: one that selects all existing entries, or none, cannot.
fn tells(part: &KernelPart, existing: &[Scratch]) -> bool {
    let selected = existing.iter().filter(|entry| entry.is_selected(part)).count();
    (1..existing.len()).contains(&selected)
}

fn try_dump(command: &mut Command, part: &KernelPart, existing: &[Scratch]) -> Result<Trust> {
    if !tells(part, existing) {
        return Ok(Trust::Untested);
    }
    let mut dumped = Vec::new();
    let result = command.collect(OPERATION, filter::dump(0, part), |message| {
        let flow = FlowRef::parse(message.payload);
        let flow = flow.map_err(|source| Error::decode(OPERATION, source))?;
        dumped.push((*flow.orig(), flow.zone()));
        Ok(())
    });
    if let Some(errno) = refusal(result)? {
        return Ok(Trust::Refused(errno));
    }
    let right = existing
        .iter()
        .all(|entry| dumped.contains(&(entry.orig, entry.zone)) == entry.is_selected(part));
    Ok(if right { Trust::Proved } else { Trust::Wrong })
}

/// Flushes, checks which entries survived, and creates the missing ones again.
fn try_flush(command: &mut Command, part: &KernelPart, existing: &[Scratch]) -> Result<Trust> {
    if !tells(part, existing) {
        return Ok(Trust::Untested);
    }
    if let Some(errno) = refusal(command.act(OPERATION, filter::flush(part)?))? {
        return Ok(Trust::Refused(errno));
    }
    let mut right = true;
    for entry in existing {
        let survived = match refusal(command.request(OPERATION, entry.get()?, |_| Ok(())))? {
            None => true,
            Some(libc::ENOENT) => false,
            Some(errno) => return Err(Error::kernel(OPERATION, errno)),
        };
        right &= survived != entry.is_selected(part);
        if !survived {
            command.act(OPERATION, entry.create()?)?;
        }
    }
    Ok(if right { Trust::Proved } else { Trust::Wrong })
}
