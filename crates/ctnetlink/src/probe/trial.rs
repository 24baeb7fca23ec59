//! Trying out the kernel's filters, in a scratch namespace on a table of its own.
//!
//! The trial dumps and flushes by a few parts like those the planner makes. It compares the entries
//! that come back, and those that survive, with what the part should select. An entry that could
//! not be created here (in a zone, of a protocol the kernel lacks) is left out of the comparison. A
//! trial whose remaining entries show no difference proves nothing.
//!
//! Each dump walks the hash table of the whole machine, so several fields are asked about at once:
//! for each of them there is an entry that differs from the first one in this field alone, and the
//! answer is exact only if the kernel compares them all. A group that is not exact is asked about
//! again, criterion by criterion.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use crate::error::{Error, Operation, Result};
use crate::filter::kernel_part::{KernelPart, TuplePart};
use crate::filter::plan::Purpose;
use crate::model::capability::{KernelCriterion, Trust, Trusts};
use crate::model::flow::{Flow, FlowRef};
use crate::model::key::Key;
use crate::model::labels::Labels;
use crate::model::new_entry::{Change, NewEntry};
use crate::model::protocol::Protocol;
use crate::model::status::Status;
use crate::model::tuple::{Family, Icmp, Tuple};
use crate::request::entry::{self, Update};
use crate::request::filter;
use crate::transport::answer::{self, Answer};
use crate::transport::command::{Command, refusal};
use crate::transport::socket::Socket;

const OPERATION: Operation = Operation::Probe;
const PURPOSES: [Purpose; 2] = [Purpose::Dump, Purpose::Flush];

/// What the trial found. The default is the result without any trial.
#[derive(Debug)]
pub(crate) struct Trial {
    pub(crate) trusts: Trusts,
    pub(crate) marks: Option<bool>,
    pub(crate) zones: Option<bool>,
    pub(crate) labels: Option<bool>,
    /// Why a part of it could not be tried out.
    pub(crate) untested: Option<String>,
}

impl Default for Trial {
    fn default() -> Self {
        Trial { trusts: Trusts::UNTESTED, marks: None, zones: None, labels: None, untested: None }
    }
}

/// An entry of the scratch table.
#[derive(Debug, Clone, Copy)]
pub(super) struct Scratch {
    pub(super) orig: Tuple,
    pub(super) reply: Tuple,
    pub(super) mark: u32,
    pub(super) status: Status,
    pub(super) zone: u16,
}

/// The zone some entries are in.
pub(super) const ZONE: u16 = 7;
/// The mark bit that some entries have.
pub(super) const MARK: u32 = 0x10;
/// The status bits that distinguish entries: one that a filter wants set, one that it wants unset.
pub(super) const SET: Status = Status::SEEN_REPLY;
pub(super) const UNSET: Status = Status::ASSURED;

pub(super) fn host(family: Family, n: u16) -> IpAddr {
    match family {
        Family::Ipv4 => IpAddr::from([192, 0, 2, n.to_be_bytes()[1]]),
        Family::Ipv6 => IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, n]),
    }
}

pub(super) const FRONTEND: (u16, u16) = (10, 53);
pub(super) const BACKEND: (u16, u16) = (20, 5353);

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
    // One with all three, and one for each that differs from it in this one alone.
    let three =
        |port| Scratch { mark: MARK, status: Status::CONFIRMED | SET, zone: ZONE, ..base(port) };
    all.extend([
        three(2010),
        Scratch { mark: 0, ..three(2011) },
        Scratch { status: Status::CONFIRMED, ..three(2012) },
        Scratch { status: Status::CONFIRMED | SET | UNSET, ..three(2013) },
        Scratch { zone: ZONE + 1, ..three(2014) },
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

    /// Whether this is the entry as it was meant.
    pub(super) fn is(&self, flow: &Flow) -> bool {
        (*flow.orig(), *flow.reply(), flow.zone()) == (self.orig, self.reply, self.zone)
    }

    /// Whether the part should select this entry, decided without the kernel.
    pub(super) fn is_selected(&self, part: &KernelPart) -> bool {
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

/// Parts with several fields at once, each with the criteria that are right if the part is.
fn groups(family: Family) -> Vec<(Vec<KernelCriterion>, KernelPart)> {
    use KernelCriterion as C;
    let base = KernelPart { family: Some(family), ..KernelPart::default() };
    let none = TuplePart::default();
    let ports = |protocol, src, dst| TuplePart {
        protocol: Some(protocol),
        src_port: Some(src),
        dst_port: Some(dst),
        ..none
    };
    let ends =
        |src, dst| TuplePart { src: Some(host(family, src)), dst: Some(host(family, dst)), ..none };
    let v4 = family == Family::Ipv4;
    let (icmp, request) = if v4 { (Protocol::ICMP, 8) } else { (Protocol::ICMPV6, 128) };
    let ping = TuplePart {
        protocol: Some(icmp),
        icmp_type: Some(request),
        icmp_code: Some(0),
        icmp_id: Some(1),
        ..none
    };
    let mut all = vec![
        (vec![C::Family], base),
        (
            vec![if v4 { C::OrigIpv4 } else { C::OrigIpv6 }],
            KernelPart { orig: ends(1, FRONTEND.0), ..base },
        ),
        (
            vec![if v4 { C::ReplyIpv4 } else { C::ReplyIpv6 }],
            KernelPart { reply: ends(BACKEND.0, 1), ..base },
        ),
        (vec![C::Icmp], KernelPart { orig: ping, ..base }),
        (vec![C::OtherPorts], KernelPart { orig: ports(Protocol::SCTP, 1000, 53), ..base }),
        (
            vec![C::Mark, C::Status, C::Zone],
            KernelPart {
                mark: Some((MARK, MARK)),
                status: Some((SET.bits(), (SET | UNSET).bits())),
                zone: Some(ZONE),
                ..base
            },
        ),
    ];
    for protocol in [Protocol::UDP, Protocol::TCP] {
        let orig = ports(protocol, 1000, FRONTEND.1);
        all.push((vec![C::Protocol, C::Ports], KernelPart { orig, ..base }));
        let orig = TuplePart { protocol: Some(protocol), ..none };
        let reply = ports(protocol, BACKEND.1, 1000);
        all.push((vec![C::ReplyPorts], KernelPart { orig, reply, ..base }));
    }
    all
}

/// Runs in a scratch namespace: tries every criterion in dumps and flushes. What is not reached
/// before it is late stays untested.
pub(crate) fn run(is_late: &dyn Fn() -> bool) -> Result<Trial> {
    let mut command = Command::new(Socket::open()?)?;
    let tables = Family::ALL.map(table);
    let all: Vec<&Scratch> = tables.iter().flatten().collect();
    // A kernel that lacks a feature refuses the entry here; it is then not compared.
    create(&mut command, &all)?;
    let mut existing = Vec::new();
    for (entry, found) in all.iter().zip(look(&mut command, &all)?) {
        if found.is_some_and(|flow| entry.is(&flow)) {
            existing.push(**entry);
        }
    }
    let Some(first) = existing.first().copied() else {
        return Err(Error::Invalid("no entry could be created in the scratch namespace".into()));
    };
    let marks = carries_marks(&mut command, &first)?;
    let mut found =
        Found { is_late, marks, existing, command: &mut command, results: Vec::new(), late: false };
    for (criteria, part) in Family::ALL.into_iter().flat_map(groups) {
        found.ask(&criteria, &part)?;
    }
    let mut trusts = Trusts::UNTESTED;
    for criterion in KernelCriterion::ALL {
        let [dump, flush] = PURPOSES.map(|purpose| found.trust(criterion, purpose));
        trusts.set(criterion, dump, flush);
    }
    let late = found.late;
    let zones = found.existing.iter().any(|entry| entry.zone != 0);
    Ok(Trial {
        trusts,
        marks: Some(marks),
        zones: Some(zones),
        labels: Some(takes_labels(&mut command, &first)?),
        untested: late.then(|| "the time for it was over".to_owned()),
    })
}

/// What is known so far.
struct Found<'c> {
    is_late: &'c dyn Fn() -> bool,
    marks: bool,
    existing: Vec<Scratch>,
    command: &'c mut Command,
    /// Of each criterion in each family, the results of the parts that were tried.
    results: Vec<(KernelCriterion, Family, Purpose, Trust)>,
    /// There was no time for a part of it.
    late: bool,
}

impl Found<'_> {
    /// What is proved of a criterion is proved in each family in which it means something.
    fn trust(&self, criterion: KernelCriterion, purpose: Purpose) -> Trust {
        let families = Family::ALL.into_iter().filter(|f| !parts(criterion, *f).is_empty());
        let each = families.map(|family| {
            let about = (criterion, family, purpose);
            let own = self.results.iter().filter(|(c, f, p, _)| (*c, *f, *p) == about);
            own.fold(Trust::Untested, |so_far, (.., trust)| both(so_far, *trust))
        });
        each.reduce(everywhere).unwrap_or(Trust::Untested)
    }

    /// Tries a part in a dump and in a flush, unless there is no time left.
    fn ask(&mut self, criteria: &[KernelCriterion], group: &KernelPart) -> Result<()> {
        if (self.is_late)() {
            self.late = true;
            return Ok(());
        }
        PURPOSES.into_iter().try_for_each(|purpose| self.ask_for(purpose, criteria, group))
    }

    /// Tries a part, and if it is not right, each of its criteria by itself.
    fn ask_for(
        &mut self,
        purpose: Purpose,
        criteria: &[KernelCriterion],
        group: &KernelPart,
    ) -> Result<()> {
        let wrong = |trust| matches!(trust, Trust::Wrong | Trust::Refused(_));
        let family = group.family.unwrap_or(Family::Ipv4);
        let together = try_part(self.command, purpose, group, &self.existing)?;
        // A group has one value of each field. Masks and zones have others, which mean something
        // else; trying them in one family is enough.
        let again = together != Trust::Proved || (group.mark.is_some() && family == Family::Ipv4);
        let mut explained = false;
        for criterion in criteria {
            if together == Trust::Proved {
                self.results.push((*criterion, family, purpose, together));
            }
            for part in parts(*criterion, family).iter().filter(|_| again) {
                let alone = match criterion {
                    KernelCriterion::Mark if !self.marks => Trust::Refused(libc::EOPNOTSUPP),
                    _ => try_part(self.command, purpose, part, &self.existing)?,
                };
                self.results.push((*criterion, family, purpose, alone));
                if wrong(alone) {
                    explained = true;
                    break;
                }
            }
        }
        // Each field alone is right, and all together are not: none of them is trusted.
        if wrong(together) && !explained {
            self.results.extend(criteria.iter().map(|c| (*c, family, purpose, together)));
        }
        Ok(())
    }
}

/// Combines the results of two families: what was tried in one of them only is not proved.
fn everywhere(one: Trust, other: Trust) -> Trust {
    match (one, other) {
        (Trust::Untested, Trust::Proved) | (Trust::Proved, Trust::Untested) => Trust::Untested,
        (one, other) => both(one, other),
    }
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

/// Creates entries, all in one datagram. What the kernel refuses is not created.
pub(super) fn create(command: &mut Command, entries: &[&Scratch]) -> Result<()> {
    together(command, entries.iter().map(|entry| entry.create()), true, |_, _| Ok(()))
}

/// Gets entries, all in one datagram; `None` for one that does not exist.
pub(super) fn look(command: &mut Command, entries: &[&Scratch]) -> Result<Vec<Option<Flow>>> {
    let mut found = vec![None; entries.len()];
    together(command, entries.iter().map(|entry| entry.get()), false, |at, answer| {
        if let (Answer::Data(message), Some(slot)) = (answer, found.get_mut(at)) {
            *slot = Some(answer::entry(OPERATION, &message)?);
        }
        Ok(())
    })?;
    Ok(found)
}

/// Sends requests in one datagram, and hands over each answer with the position of its request.
fn together(
    command: &mut Command,
    requests: impl Iterator<Item = Result<Vec<u8>>>,
    acknowledged: bool,
    mut each: impl FnMut(usize, Answer<'_>) -> Result<()>,
) -> Result<()> {
    let (mut datagram, mut starts) = (Vec::new(), Vec::new());
    for request in requests {
        starts.push(datagram.len());
        datagram.extend(request?);
    }
    let starts = starts.into_iter();
    let first = command.send_many(OPERATION, &mut datagram, starts, |_| acknowledged)?;
    let lost = command.drain_many(OPERATION, first, |at, answer| match answer {
        Answer::Error(error) if error.is_permission_denied() => Err(error),
        answer => each(at, answer),
    })?;
    if lost { Err(Error::Overrun { operation: OPERATION }) } else { Ok(()) }
}

/// A kernel without `CONFIG_NF_CONNTRACK_MARK` ignores a mark at creation, and shows none.
fn carries_marks(command: &mut Command, entry: &Scratch) -> Result<bool> {
    let found = look(command, &[entry])?;
    Ok(found.into_iter().flatten().any(|flow| flow.mark().is_some()))
}

/// No rule of the scratch namespace uses labels, so a kernel that has them answers `ENOSPC`.
fn takes_labels(command: &mut Command, entry: &Scratch) -> Result<bool> {
    let change = Update::of(&Change::new().labels(Labels::from_iter([1])))?;
    let Some(flow) = look(command, &[entry])?.into_iter().flatten().next() else {
        return Ok(false);
    };
    let updated = command.act(OPERATION, entry::update(&flow, &change)?);
    Ok(matches!(refusal(updated)?, None | Some(libc::ENOSPC)))
}

/// Whether a part can prove something: one that selects all existing entries, or none, cannot.
fn tells(part: &KernelPart, existing: &[Scratch]) -> bool {
    let selected = existing.iter().filter(|entry| entry.is_selected(part)).count();
    (1..existing.len()).contains(&selected)
}

/// Sends a part for a purpose, and compares what it selects with what it should.
pub(super) fn try_part(
    command: &mut Command,
    purpose: Purpose,
    part: &KernelPart,
    existing: &[Scratch],
) -> Result<Trust> {
    match purpose {
        _ if !tells(part, existing) => Ok(Trust::Untested),
        Purpose::Dump => try_dump(command, part, existing),
        Purpose::Flush => try_flush(command, part, existing),
    }
}

fn try_dump(command: &mut Command, part: &KernelPart, existing: &[Scratch]) -> Result<Trust> {
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
    if let Some(errno) = refusal(command.act(OPERATION, filter::flush(part)?))? {
        return Ok(Trust::Refused(errno));
    }
    let all: Vec<&Scratch> = existing.iter().collect();
    let survivors = look(command, &all)?;
    let (mut right, mut gone) = (true, Vec::new());
    for (entry, survived) in existing.iter().zip(survivors) {
        right &= survived.is_some() != entry.is_selected(part);
        if survived.is_none() {
            gone.push(entry);
        }
    }
    if !gone.is_empty() {
        create(command, &gone)?;
    }
    Ok(if right { Trust::Proved } else { Trust::Wrong })
}
