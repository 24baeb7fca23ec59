//! Which part of a filter the kernel may be trusted with.
//!
//! The kernel is asked only for criteria that the probe proved on it. Without a probe, it is asked
//! only for the few by which no kernel can hide an entry (see [`Trusts`]). This is an optimisation:
//! every entry that comes is matched again in user space against the whole filter.
//!
//! Two plans are made from the same parts. A *dump* uses every criterion of the outermost
//! conjunction that the kernel can evaluate. In a *flush* the kernel decides alone, so it is all or
//! nothing: [`flush`] refuses unless every criterion can be expressed and is proved.

use std::fmt;
use std::net::IpAddr;

use super::criterion::{Criterion, Direction, IcmpField, Side};
use super::kernel_part::{KernelPart, TuplePart};
use super::{Addresses, Expression, Ports};
use crate::model::capability::{KernelCriterion as K, Trust, Trusts};
use crate::model::protocol::Protocol;
use crate::model::status::Status;
use crate::model::tuple::{Family, answering_type};

/// The dump requests that together bring every entry a filter matches.
///
/// There is more than one if a criterion needs a family and the filter names none (`CTA_FILTER`
/// with a tuple is `EOPNOTSUPP` for `AF_UNSPEC`), or if alternatives are cheaper one by one. Passes
/// differ only in what never changes while an entry lives (family, protocol, addresses, ports). So
/// an entry that two passes bring can be reported by the first one only, and no entry is missed by
/// both.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct DumpPlan {
    pub(crate) passes: Vec<KernelPart>,
    /// What the passes split, if the plan is a split one.
    pub(super) split: Option<Split>,
}

/// What is split, by its position in [`Required`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Split {
    /// The members of a criterion's set.
    Set(usize),
    /// The alternatives of an `or`.
    Or(usize),
}

/// Why a criterion is not left to the kernel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Why {
    /// There is nothing like it in the kernel's filter.
    NoSuchFilter(&'static str),
    /// The kernel's filter cannot be trusted with it here.
    Trust(K, Trust),
    /// It needs another criterion beside it.
    Needs(&'static str),
    /// Another criterion requires another value of the same field.
    Contradiction,
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Why::NoSuchFilter(what) => write!(f, "the kernel has no filter for {what}"),
            Why::Needs(what) => write!(f, "the kernel compares it only together with {what}"),
            Why::Contradiction => {
                f.write_str("another criterion requires another value of the same field")
            }
            Why::Trust(criterion, trust) => match trust {
                Trust::Wrong => write!(f, "this kernel selects the wrong entries by {criterion}"),
                Trust::Refused(errno) => {
                    let text = crate::error::errno_text(*errno);
                    write!(f, "this kernel refuses {criterion}: {text}")
                }
                Trust::Distrusted => write!(f, "{criterion} is distrusted by request"),
                Trust::Proved | Trust::Assumed | Trust::Untested => {
                    write!(f, "{criterion} was not tried out on this kernel")
                }
            },
        }
    }
}

/// What the request is for. The kernel is trusted separately in dumps and in flushes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Purpose {
    Dump,
    Flush,
}

/// Collects criteria into a part.
struct Builder<'t> {
    part: KernelPart,
    trusts: &'t Trusts,
    purpose: Purpose,
}

/// Sets a field, unless it already has another value.
fn set<T: PartialEq + Copy>(field: &mut Option<T>, value: T) -> Result<(), Why> {
    match *field.get_or_insert(value) == value {
        true => Ok(()),
        false => Err(Why::Contradiction),
    }
}

/// Merges two masked values into one, if they agree in the bits that both masks have.
fn merge(field: &mut Option<(u32, u32)>, value: u32, mask: u32) -> Result<(), Why> {
    let (old_value, old_mask) = field.unwrap_or((0, 0));
    if (old_value ^ value) & old_mask & mask != 0 {
        return Err(Why::Contradiction);
    }
    *field = Some((old_value | value, old_mask | mask));
    Ok(())
}

impl<'t> Builder<'t> {
    fn new(trusts: &'t Trusts, purpose: Purpose) -> Self {
        Builder { part: KernelPart::default(), trusts, purpose }
    }

    fn trusted(&self, criterion: K) -> Result<(), Why> {
        let trust = match self.purpose {
            Purpose::Dump => self.trusts.dump(criterion),
            Purpose::Flush => self.trusts.flush(criterion),
        };
        match trust {
            Trust::Proved | Trust::Assumed => Ok(()),
            trust => Err(Why::Trust(criterion, trust)),
        }
    }

    /// Adds the criteria that can be added, and returns for each one whether it was.
    ///
    /// Family and protocol go first, wherever they stand in the filter: ports and ICMP fields are
    /// compared only together with a protocol.
    fn add_all(&mut self, criteria: &[&Criterion]) -> Vec<Result<(), Why>> {
        let mut results = vec![Ok(()); criteria.len()];
        let rank = |criterion: &Criterion| match criterion {
            Criterion::Family(_) => 0,
            Criterion::Protocol(_) => 1,
            _ => 2,
        };
        for wanted in 0..=2 {
            for (criterion, result) in criteria.iter().zip(&mut results) {
                if rank(criterion) == wanted {
                    *result = self.add(criterion);
                }
            }
        }
        results
    }

    fn add(&mut self, criterion: &Criterion) -> Result<(), Why> {
        match criterion {
            Criterion::Family(family) => self.family(*family),
            Criterion::Protocol(protocol) => {
                // CTA_FILTER with a tuple needs a family.
                self.trusted(K::Family)?;
                self.trusted(K::Protocol)?;
                set(&mut self.part.orig.protocol, *protocol)
            }
            Criterion::Address(direction, side, addresses) => {
                self.address(*direction, *side, addresses)
            }
            Criterion::Port(direction, side, ports) => self.port(*direction, *side, ports),
            Criterion::Icmp(field, number) => self.icmp(*field, *number),
            Criterion::Mark { value, mask } => {
                self.trusted(K::Mark)?;
                merge(&mut self.part.mark, *value, *mask)
            }
            Criterion::StatusSet(bits) => {
                self.trusted(K::Status)?;
                merge(&mut self.part.status, bits.bits(), bits.bits())
            }
            Criterion::StatusUnset(bits) => {
                self.trusted(K::Status)?;
                merge(&mut self.part.status, 0, bits.bits())
            }
            Criterion::Zone(None, zone) => {
                self.trusted(K::Zone)?;
                set(&mut self.part.zone, *zone)
            }
            Criterion::Zone(Some(_), _) => Err(Why::NoSuchFilter("the zone of one direction")),
            Criterion::Host(addresses) => self.host(addresses),
            Criterion::Label(_) => Err(Why::NoSuchFilter("labels")),
            Criterion::Helper(_) => Err(Why::NoSuchFilter("helpers")),
            Criterion::TcpState(_) | Criterion::SctpState(_) => {
                Err(Why::NoSuchFilter("protocol states"))
            }
            Criterion::Amount(..) => Err(Why::NoSuchFilter("timeouts, ages and counters")),
        }
    }

    fn family(&mut self, family: Family) -> Result<(), Why> {
        self.trusted(K::Family)?;
        set(&mut self.part.family, family)
    }

    fn address(
        &mut self,
        direction: Direction,
        side: Side,
        addresses: &Addresses,
    ) -> Result<(), Why> {
        // Every entry with such an address is of its family. So the family is added even if the
        // kernel cannot compare the address itself.
        let family = addresses.family().ok_or(Why::NoSuchFilter("sets of both families"))?;
        self.family(family)?;
        let hosts = addresses.hosts().ok_or(Why::NoSuchFilter("prefixes"))?;
        let [address] = hosts[..] else { return Err(Why::NoSuchFilter("sets of addresses")) };
        self.trusted(match (direction, family) {
            (Direction::Orig, Family::Ipv4) => K::OrigIpv4,
            (Direction::Orig, Family::Ipv6) => K::OrigIpv6,
            (Direction::Reply, Family::Ipv4) => K::ReplyIpv4,
            (Direction::Reply, Family::Ipv6) => K::ReplyIpv6,
        })?;
        let tuple = self.tuple(direction);
        set(if side == Side::Src { &mut tuple.src } else { &mut tuple.dst }, address)
    }

    fn host(&mut self, addresses: &Addresses) -> Result<(), Why> {
        // All four addresses of an entry are of its family, so the other family need not be walked.
        if let Some(family) = addresses.family() {
            self.family(family)?;
        }
        Err(Why::NoSuchFilter("an address in any place"))
    }

    fn port(&mut self, direction: Direction, side: Side, ports: &Ports) -> Result<(), Why> {
        let singles = ports.singles().ok_or(Why::NoSuchFilter("ranges of ports"))?;
        let [port] = singles[..] else { return Err(Why::NoSuchFilter("sets of ports")) };
        // The kernel evaluates port bits only for TCP and UDP (ctnetlink_filter_match_tuple).
        let protocol = match self.part.orig.protocol {
            Some(protocol @ (Protocol::TCP | Protocol::UDP)) => protocol,
            _ => return Err(Why::Needs("tcp or udp")),
        };
        self.trusted(if direction == Direction::Orig { K::Ports } else { K::ReplyPorts })?;
        let tuple = self.tuple(direction);
        tuple.protocol = Some(protocol);
        set(if side == Side::Src { &mut tuple.src_port } else { &mut tuple.dst_port }, port)
    }

    fn icmp(&mut self, field: IcmpField, number: u16) -> Result<(), Why> {
        let protocol = match self.part.orig.protocol {
            Some(protocol @ (Protocol::ICMP | Protocol::ICMPV6)) => protocol,
            _ => return Err(Why::Needs("icmp or icmpv6")),
        };
        self.trusted(K::Icmp)?;
        // No type or code is larger than a byte.
        let small = || u8::try_from(number).ok().ok_or(Why::Contradiction);
        match field {
            IcmpField::Type if answering_type(protocol, small()?).is_none() => {
                Err(Why::NoSuchFilter("ICMP types it does not track"))
            }
            IcmpField::Type => set(&mut self.part.orig.icmp_type, small()?),
            IcmpField::Code => set(&mut self.part.orig.icmp_code, small()?),
            IcmpField::Id => set(&mut self.part.orig.icmp_id, number),
        }
    }

    fn tuple(&mut self, direction: Direction) -> &mut TuplePart {
        match direction {
            Direction::Orig => &mut self.part.orig,
            Direction::Reply => &mut self.part.reply,
        }
    }
}

/// The cost of one walk over the table, and of sending the whole table. Measured on a million
/// entries: a pass that brings nothing takes about a fifth of the time of one that brings
/// everything.
const WALK: f64 = 1.0;
const TRANSFER: f64 = 4.0;
/// A split into alternatives is used only if it costs less than this share of the plan without a
/// split, because the costs are only estimates.
const WORTH: f64 = 0.8;
/// No filter is split into more alternatives than this.
const MOST_ALTERNATIVES: usize = 8;

/// An estimate of the share of a busy table that a part selects. It only serves to compare plans;
/// no result depends on it.
fn share(part: &KernelPart) -> f64 {
    let given = |there: bool, share: f64| if there { share } else { 1.0 };
    let tuple = |t: &TuplePart| {
        given(t.src.is_some(), 0.02)
            * given(t.dst.is_some(), 0.02)
            * given(t.src_port.is_some(), 0.05)
            * given(t.dst_port.is_some(), 0.05)
    };
    let protocol = match part.orig.protocol {
        None => 1.0,
        Some(Protocol::TCP) => 0.9,
        Some(Protocol::UDP) => 0.1,
        Some(_) => 0.02,
    };
    given(part.family.is_some(), 0.5)
        * protocol
        * tuple(&part.orig)
        * tuple(&part.reply)
        * given(part.mark.is_some(), 0.5)
        * given(part.status.is_some(), 0.5)
        * given(part.zone.is_some(), 0.5)
}

impl DumpPlan {
    /// The whole table, unfiltered.
    pub(crate) fn everything() -> DumpPlan {
        DumpPlan::new(vec![KernelPart::default()])
    }

    /// Only criteria that every matching entry must meet are used: the filter itself, or members of
    /// its outermost conjunction. If two contradict each other, the first one is used; the match in
    /// user space then discards everything.
    pub(crate) fn of(expression: &Expression, trusts: &Trusts) -> DumpPlan {
        let expression = normal(expression, false);
        let mut required = Required::default();
        required.collect(&expression);

        let mut builder = Builder::new(trusts, Purpose::Dump);
        builder.add_all(&required.criteria);
        let whole = builder.part;
        // Without the tuples no family is needed, so one pass is enough. It brings more entries,
        // but it can still cost less than two passes.
        let familyless = KernelPart {
            orig: TuplePart::default(),
            reply: TuplePart::default(),
            family: whole.family,
            ..whole
        };
        let mut best = [whole.per_family(), vec![familyless]].map(DumpPlan::new);
        best.sort_by(|a, b| a.cost().total_cmp(&b.cost()));
        let [mut best, _] = best;

        // A split has to be clearly cheaper than the best plan without one, and cheaper than every
        // split before it.
        let limit = best.cost() * WORTH;
        for (by, alternatives) in required.alternatives() {
            let passes = split(&required.criteria, &alternatives, trusts);
            let plan = DumpPlan { split: Some(by), ..DumpPlan::new(passes) };
            if !plan.passes.is_empty() && plan.cost() < best.cost().min(limit) {
                best = plan;
            }
        }
        best
    }

    fn new(passes: Vec<KernelPart>) -> DumpPlan {
        DumpPlan { passes, split: None }
    }

    /// Whether the kernel filters by this criterion in every pass.
    pub(super) fn says(&self, criterion: &Criterion, trusts: &Trusts) -> bool {
        self.passes.iter().all(|part| {
            // Together with the protocol of the pass, because some criteria need one.
            let mut alone = Builder::new(trusts, Purpose::Dump);
            alone.part.orig.protocol = part.orig.protocol;
            alone.add(criterion).is_ok() && part.is_within(&alone.part)
        })
    }

    fn cost(&self) -> f64 {
        self.passes.iter().map(|part| WALK + TRANSFER * share(part)).sum()
    }
}

/// One pass for each alternative: the criteria that every match must meet, and those of the
/// alternative that never change.
///
/// A criterion that can change, such as a mark, must not separate passes. An entry whose mark
/// changes between two passes could be missed by both, or be reported twice.
fn split(base: &[&Criterion], alternatives: &[Vec<Criterion>], trusts: &Trusts) -> Vec<KernelPart> {
    let mut passes: Vec<KernelPart> = Vec::new();
    for alternative in alternatives {
        let fixed = alternative.iter().filter(|criterion| never_changes(criterion));
        let criteria: Vec<_> = base.iter().copied().chain(fixed).collect();
        let mut builder = Builder::new(trusts, Purpose::Dump);
        // No entry can meet this alternative, so it needs no pass.
        if builder.add_all(&criteria).contains(&Err(Why::Contradiction)) {
            continue;
        }
        for part in builder.part.per_family() {
            // Keep only passes that bring something new: an alternative may have nothing left that
            // the kernel can evaluate, and its pass then brings what all others bring.
            if passes.iter().any(|wider| part.is_within(wider)) {
                continue;
            }
            passes.retain(|narrower| !narrower.is_within(&part));
            passes.push(part);
        }
    }
    passes
}

/// Whether a criterion is about something that never changes while an entry lives: family,
/// protocol, addresses, ports and ICMP fields.
fn never_changes(criterion: &Criterion) -> bool {
    matches!(
        criterion,
        Criterion::Family(_)
            | Criterion::Protocol(_)
            | Criterion::Address(..)
            | Criterion::Port(..)
            | Criterion::Icmp(..)
    )
}

/// Whether an alternative consists only of criteria about what never changes.
pub(super) fn never_changes_alone(alternative: &Expression) -> bool {
    match alternative {
        Expression::Is(criterion) => never_changes(criterion),
        Expression::All(parts) => parts.iter().all(never_changes_alone),
        Expression::Any(_) | Expression::Not(_) => false,
    }
}

/// What every matching entry must meet.
#[derive(Default)]
pub(super) struct Required<'e> {
    pub(super) criteria: Vec<&'e Criterion>,
    /// One member of each of these must hold.
    pub(super) any: Vec<&'e [Expression]>,
    /// Negations, each of which must hold.
    pub(super) not: Vec<&'e Expression>,
}

impl<'e> Required<'e> {
    pub(super) fn collect(&mut self, expression: &'e Expression) {
        match expression {
            Expression::Is(criterion) => self.criteria.push(criterion),
            Expression::All(parts) => parts.iter().for_each(|part| self.collect(part)),
            Expression::Any(parts) => self.any.push(parts),
            Expression::Not(_) => self.not.push(expression),
        }
    }

    /// The ways to split the filter: by the alternatives of one `or`, or by the members of one set.
    fn alternatives(&self) -> Vec<(Split, Vec<Vec<Criterion>>)> {
        let ors = self.any.iter().enumerate().map(|(at, parts)| {
            let each = parts.iter().map(|part| {
                let mut required = Required::default();
                required.collect(part);
                required.criteria.into_iter().cloned().collect::<Vec<_>>()
            });
            (Split::Or(at), each.collect::<Vec<_>>())
        });
        let sets = self.criteria.iter().enumerate().filter_map(|(at, criterion)| match criterion {
            Criterion::Address(direction, side, set) => {
                let one = |address| vec![Criterion::Address(*direction, *side, address)];
                let hosts = set.hosts()?.into_iter().map(Addresses::from);
                Some((Split::Set(at), hosts.map(one).collect()))
            }
            Criterion::Port(direction, side, set) => {
                let one = |port| vec![Criterion::Port(*direction, *side, port)];
                let ports = set.singles()?.into_iter().map(Ports::from);
                Some((Split::Set(at), ports.map(one).collect()))
            }
            _ => None,
        });
        let few = |all: &[Vec<Criterion>]| (2..=MOST_ALTERNATIVES).contains(&all.len());
        ors.chain(sets).filter(|(_, all)| few(all)).collect()
    }
}

/// The expression with negations moved inward as far as possible. A negated criterion becomes the
/// opposite criterion, if there is one. This makes more criteria required, and so usable.
pub(super) fn normal(expression: &Expression, negated: bool) -> Expression {
    let each = |parts: &[Expression]| parts.iter().map(|part| normal(part, negated)).collect();
    // De Morgan: under a negation, alternatives become a conjunction, and a conjunction becomes
    // alternatives.
    match expression {
        Expression::Not(part) => normal(part, !negated),
        Expression::All(parts) if !negated => Expression::All(each(parts)),
        Expression::Any(parts) if negated => Expression::All(each(parts)),
        Expression::All(parts) | Expression::Any(parts) => Expression::Any(each(parts)),
        Expression::Is(criterion) if !negated => Expression::Is(criterion.clone()),
        Expression::Is(criterion) => match opposite(criterion) {
            Some(opposite) => Expression::Is(opposite),
            None => Expression::Not(Box::new(expression.clone())),
        },
    }
}

/// The criterion that matches exactly those entries that this one does not match, if there is one.
/// Several status bits have no opposite: not all set is not the same as none set.
fn opposite(criterion: &Criterion) -> Option<Criterion> {
    let one = |bits: &Status| bits.bits().count_ones() == 1;
    match criterion {
        Criterion::Family(Family::Ipv4) => Some(Criterion::Family(Family::Ipv6)),
        Criterion::Family(Family::Ipv6) => Some(Criterion::Family(Family::Ipv4)),
        Criterion::StatusSet(bits) if one(bits) => Some(Criterion::StatusUnset(*bits)),
        Criterion::StatusUnset(bits) if one(bits) => Some(Criterion::StatusSet(*bits)),
        _ => None,
    }
}

/// The flushes that remove exactly what an expression matches, one for each family; or the reason
/// why no flush can do that.
///
/// Each names a family, because only then do all kernels since 6.12 honour the filter.
pub(crate) fn flush(expression: &Expression, trusts: &Trusts) -> Result<Vec<KernelPart>, String> {
    let expression = normal(expression, false);
    let mut required = Required::default();
    required.collect(&expression);
    if !required.any.is_empty() {
        let text = Expression::Any(required.any[0].to_vec());
        return Err(format!("{text}: one flush cannot express alternatives"));
    }
    if let Some(negation) = required.not.first() {
        return Err(format!("{negation}: the kernel has no filter for negations"));
    }
    let mut builder = Builder::new(trusts, Purpose::Flush);
    let results = builder.add_all(&required.criteria);
    for (criterion, result) in required.criteria.iter().zip(results) {
        result.map_err(|why| format!("{criterion}: {why}"))?;
    }
    let part = builder.part;
    if part.has_complete_key() {
        return Err(
            "it names a complete original tuple, and a kernel that ignores the filter would delete \
             that one entry, whatever the other criteria are; delete the entry by its key instead"
                .into(),
        );
    }
    if let Err(why) = builder.trusted(K::Family) {
        return Err(why.to_string());
    }
    let families = part.family.map_or(Family::ALL.to_vec(), |family| vec![family]);
    Ok(families.into_iter().map(|f| KernelPart { family: Some(f), ..part }).collect())
}

/// Why no entry can match, if that can be seen from the expression alone.
pub(super) fn never(expression: &Expression) -> Option<String> {
    never_normal(&normal(expression, false))
}

fn never_normal(expression: &Expression) -> Option<String> {
    let mut required = Required::default();
    required.collect(expression);
    if let Some(address) = required.criteria.iter().find(|criterion| is_nowhere(criterion)) {
        return Some(format!(
            "{address}: nobody sends packets there; leave it out to mean any address, or write a \
             prefix such as 0.0.0.0/0"
        ));
    }
    let results = Builder::new(&Trusts::PROVED, Purpose::Dump).add_all(&required.criteria);
    let contradicts =
        |(_, result): &(&&Criterion, Result<(), Why>)| *result == Err(Why::Contradiction);
    if let Some((criterion, _)) = required.criteria.iter().zip(results).find(contradicts) {
        return Some(format!("{criterion}: {}", Why::Contradiction));
    }
    // Alternatives none of which can hold, even together with the rest.
    required.any.iter().find_map(|alternatives| {
        let mut reasons = alternatives.iter().map(|alternative| {
            let rest =
                required.criteria.iter().map(|criterion| Expression::Is((*criterion).clone()));
            never_normal(&Expression::All(rest.chain([alternative.clone()]).collect()))
        });
        let first = reasons.next()??;
        reasons.all(|reason| reason.is_some()).then_some(first)
    })
}

/// Whether the criterion is about packets to nowhere: the unspecified address as a destination.
fn is_nowhere(criterion: &Criterion) -> bool {
    let (Criterion::Address(Direction::Orig, Side::Dst, addresses)
    | Criterion::Address(Direction::Reply, Side::Src, addresses)) = criterion
    else {
        return false;
    };
    let hosts = addresses.hosts();
    hosts.is_some_and(|hosts| hosts.iter().all(IpAddr::is_unspecified))
}

/// For each criterion, the reason why a dump does not leave it to the kernel; `None` if it does.
pub(super) fn reasons(criteria: &[&Criterion], trusts: &Trusts) -> Vec<Option<Why>> {
    let results = Builder::new(trusts, Purpose::Dump).add_all(criteria);
    results.into_iter().map(Result::err).collect()
}

#[cfg(test)]
mod tests;
