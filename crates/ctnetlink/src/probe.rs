//! Finding out what the running kernel can be trusted with.

use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use crate::capability::{Capabilities, KernelCriterion, Trust};
use crate::command::Command;
use crate::entry::NewEntry;
use crate::error::{Error, Operation, Result};
use crate::flow::FlowRef;
use crate::key::Key;
use crate::proto::Protocol;
use crate::request::probe::{self, Fields, Trial};
use crate::request::{address, be16, be32, byte, entry, expect, timeout};
use crate::socket::{Namespace, Socket};
use crate::stats::Totals;
use crate::status::Status;
use crate::tuple::{Family, Tuple};
use crate::uapi::{cta, filter as f, tuple as t};

const OPERATION: Operation = Operation::Probe;

/// All probes. What cannot be tried out is reported as such; only a kernel that does not behave
/// like ctnetlink at all is an error.
pub(crate) fn capabilities(
    namespace: &Namespace,
    command: &mut Command,
    totals: Totals,
) -> Result<Capabilities> {
    match refusal(command.act(OPERATION, probe::control()))? {
        Some(libc::ENOENT) => {}
        errno => return Err(Error::kernel(OPERATION, errno.unwrap_or(libc::EINVAL))),
    }
    let flush_filter = command.act(OPERATION, probe::flush_filter());
    let flush_filter = matches!(refusal(flush_filter)?, Some(libc::EINVAL | libc::EOPNOTSUPP));
    let known = |request| -> Result<bool> {
        let mut command = Command::new(namespace.socket()?);
        Ok(refusal(command.first(OPERATION, request))?.is_some())
    };
    let (trust, marks, untested) = match Namespace::scratch(try_out) {
        Ok((trust, marks)) => (trust, marks, None),
        Err(error) => (
            [(Trust::Untested, Trust::Untested); KernelCriterion::ALL.len()],
            true,
            Some(error.to_string()),
        ),
    };
    let [accounting, timestamps, events] = namespace.run(|| {
        Ok(["acct", "timestamp", "events"].map(|name| {
            let path = format!("/proc/sys/net/netfilter/nf_conntrack_{name}");
            fs::read_to_string(path).ok()?.trim().parse::<u8>().ok()
        }))
    })?;
    Ok(Capabilities {
        dump_filter: known(probe::dump_filter())?,
        flush_filter,
        status_filter: known(probe::status_filter())?,
        zone_filter: known(probe::zone_filter())?,
        untested,
        trust,
        accounting: accounting.map(|value| value != 0),
        timestamps: timestamps.map(|value| value != 0),
        events,
        marks,
        expectations: !known(expect::dump(None)?)?,
        timeout_policies: !known(timeout::dump())?,
        entries: (totals.entries, totals.limit.unwrap_or(0)),
    })
}

/// The errno of a request the kernel refused; `None` if it did not. Other errors, and the lack of
/// privilege, are errors here too.
fn refusal(result: Result<()>) -> Result<Option<i32>> {
    match result {
        Ok(()) => Ok(None),
        Err(Error::Kernel { errno, .. }) if errno != libc::EPERM => Ok(Some(errno)),
        Err(error) => Err(error),
    }
}

/// An entry of the scratch table.
#[derive(Debug, Clone, Copy)]
struct Scratch {
    protocol: Protocol,
    client: SocketAddr,
    frontend: SocketAddr,
    backend: SocketAddr,
    mark: u32,
    status: Status,
    zone: u16,
}

/// Entries of one family that differ in each field from the first, in one way each.
fn table(family: Family) -> Vec<Scratch> {
    let host = |n: u16| match family {
        Family::Ipv4 => IpAddr::from([192, 0, 2, n.to_be_bytes()[1]]),
        Family::Ipv6 => IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, n]),
    };
    let base = Scratch {
        protocol: Protocol::UDP,
        client: SocketAddr::new(host(1), 1000),
        frontend: SocketAddr::new(host(10), 53),
        backend: SocketAddr::new(host(20), 5353),
        mark: 0,
        status: Status::CONFIRMED,
        zone: 0,
    };
    let frontend = |n, port| SocketAddr::new(host(n), port);
    let mut all = vec![
        base,
        Scratch { protocol: Protocol::TCP, ..base },
        Scratch { protocol: Protocol::SCTP, ..base },
        Scratch { protocol: Protocol::SCTP, frontend: frontend(10, 54), ..base },
        Scratch { frontend: frontend(10, 54), ..base },
        Scratch { frontend: frontend(11, 53), ..base },
        Scratch { backend: SocketAddr::new(host(21), 5353), ..base },
        Scratch { backend: SocketAddr::new(host(20), 5354), ..base },
        Scratch { mark: 0x11, ..base },
        Scratch { status: Status::CONFIRMED | Status::SEEN_REPLY, ..base },
        Scratch { zone: 7, ..base },
    ];
    // A client port of its own makes each entry unique, in both directions.
    for (entry, port) in all.iter_mut().zip(1000..) {
        entry.client.set_port(port);
    }
    all
}

impl Scratch {
    fn orig(&self) -> Tuple {
        Tuple::with_ports(self.protocol, self.client, self.frontend)
    }

    fn create(&self) -> Result<Vec<u8>> {
        let reply = Tuple::with_ports(self.protocol, self.backend, self.client);
        let mut new = NewEntry::new(self.orig(), Duration::from_secs(600)).reply(reply);
        new = new.status(self.status);
        if self.mark != 0 {
            new = new.mark(self.mark);
        }
        if self.zone != 0 {
            new = new.zone(self.zone);
        }
        entry::create(&new, false)
    }
}

/// Which entries of the scratch table a filter should select.
type Selection = fn(&Scratch) -> bool;

/// The filter for a criterion, with its selection as it should be. Families in which it means
/// nothing are left out.
fn trial(criterion: KernelCriterion, family: Family) -> Option<(Trial, Selection)> {
    use KernelCriterion as C;
    let udp = byte(t::PROTO_NUM, Protocol::UDP.0);
    let fields = |bits, addresses, proto| Fields { bits, addresses, proto };
    let orig = |orig| Trial { orig, ..Trial::default() };
    let reply = |reply| Trial { reply, ..Trial::default() };
    let rest = |rest| Trial { rest, ..Trial::default() };
    let port = |kind, number: u16| be16(kind, number);
    let (proto_and_dst, proto_and_src) =
        (f::F_PROTO_NUM | f::F_PROTO_DST_PORT, f::F_PROTO_NUM | f::F_PROTO_SRC_PORT);
    let v4 = family == Family::Ipv4;
    Some(match criterion {
        C::Protocol => {
            (orig(fields(f::F_PROTO_NUM, vec![], vec![udp])), |e| e.protocol == Protocol::UDP)
        }
        C::Ports => {
            let proto = vec![udp, port(t::PROTO_DST_PORT, 54)];
            (orig(fields(proto_and_dst, vec![], proto)), |e| {
                e.protocol == Protocol::UDP && e.frontend.port() == 54
            })
        }
        C::OtherPorts => {
            let proto = vec![byte(t::PROTO_NUM, Protocol::SCTP.0), port(t::PROTO_DST_PORT, 54)];
            (orig(fields(proto_and_dst, vec![], proto)), |e| {
                e.protocol == Protocol::SCTP && e.frontend.port() == 54
            })
        }
        C::OrigIpv4 | C::OrigIpv6 if v4 == (criterion == C::OrigIpv4) => {
            let dst = address(t::IP_V4_DST, t::IP_V6_DST, table(family)[5].frontend.ip());
            (orig(fields(f::F_IP_DST, vec![dst], vec![])), |e| is_host(e.frontend, 11))
        }
        C::ReplyIpv4 | C::ReplyIpv6 if v4 == (criterion == C::ReplyIpv4) => {
            let src = address(t::IP_V4_SRC, t::IP_V6_SRC, table(family)[6].backend.ip());
            (reply(fields(f::F_IP_SRC, vec![src], vec![])), |e| is_host(e.backend, 21))
        }
        C::ReplyPorts => {
            let proto = vec![udp, port(t::PROTO_SRC_PORT, 5354)];
            (reply(fields(proto_and_src, vec![], proto)), |e| e.backend.port() == 5354)
        }
        C::Mark => {
            (rest(vec![be32(cta::MARK, 0x10), be32(cta::MARK_MASK, 0x10)]), |e| e.mark & 0x10 != 0)
        }
        C::Status => {
            let bits = Status::SEEN_REPLY.bits();
            (rest(vec![be32(cta::STATUS, bits), be32(cta::STATUS_MASK, bits)]), |e| {
                e.status.contains(Status::SEEN_REPLY)
            })
        }
        C::Zone => (rest(vec![be16(cta::ZONE, 7)]), |e| e.zone == 7),
        C::OrigIpv4 | C::OrigIpv6 | C::ReplyIpv4 | C::ReplyIpv6 => return None,
    })
}

fn is_host(address: SocketAddr, number: u8) -> bool {
    match address.ip() {
        IpAddr::V4(address) => address.octets()[3] == number,
        IpAddr::V6(address) => address.octets()[15] == number,
    }
}

type AllTrust = [(Trust, Trust); KernelCriterion::ALL.len()];

/// Runs in a scratch namespace, on a table of its own: tries every criterion in dumps and flushes.
/// Also says whether entries carry marks.
fn try_out() -> Result<(AllTrust, bool)> {
    let mut command = Command::new(Socket::open()?);
    let mut trust = [(Trust::Untested, Trust::Untested); KernelCriterion::ALL.len()];
    fill(&mut command)?;
    let marks = carries_marks(&mut command)?;
    for (criterion, slot) in KernelCriterion::ALL.into_iter().zip(&mut trust) {
        for family in Family::ALL {
            let Some((trial, expected)) = trial(criterion, family) else { continue };
            if criterion == KernelCriterion::Mark && !marks {
                *slot = (Trust::Refused(libc::EOPNOTSUPP), Trust::Refused(libc::EOPNOTSUPP));
                continue;
            }
            let dump = try_dump(&mut command, &trial, family, expected)?;
            let flush = try_flush(&mut command, &trial, family, expected)?;
            *slot = (both(slot.0, dump), both(slot.1, flush));
            fill(&mut command)?;
        }
    }
    Ok((trust, marks))
}

/// Right only if right in both families.
fn both(so_far: Trust, now: Trust) -> Trust {
    match (so_far, now) {
        (Trust::Untested | Trust::Proved, now) => now,
        (so_far, _) => so_far,
    }
}

/// Creates what is missing of both tables.
fn fill(command: &mut Command) -> Result<()> {
    for family in Family::ALL {
        for entry in table(family) {
            match refusal(command.request(OPERATION, entry.create()?, |_| Ok(())))? {
                None | Some(libc::EEXIST) => {}
                Some(errno) => return Err(Error::kernel(OPERATION, errno)),
            }
        }
    }
    Ok(())
}

/// A kernel without `CONFIG_NF_CONNTRACK_MARK` ignores a mark at creation, and shows none.
fn carries_marks(command: &mut Command) -> Result<bool> {
    let mut marks = false;
    let key = Key::orig(table(Family::Ipv4)[0].orig());
    command.request(OPERATION, entry::get(&key)?, |message| {
        marks = FlowRef::parse(message.payload).is_ok_and(|flow| flow.mark().is_some());
        Ok(())
    })?;
    Ok(marks)
}

fn try_dump(
    command: &mut Command,
    trial: &Trial,
    family: Family,
    expected: Selection,
) -> Result<Trust> {
    let mut dumped = Vec::new();
    let result = command.collect(OPERATION, trial.dump(family), |message| {
        let flow = FlowRef::parse(message.payload);
        dumped.push(*flow.map_err(|source| Error::decode(OPERATION, source))?.orig());
        Ok(())
    });
    if let Some(errno) = refusal(result)? {
        return Ok(Trust::Refused(errno));
    }
    let right = table(family).iter().all(|entry| dumped.contains(&entry.orig()) == expected(entry))
        && dumped.iter().all(|tuple| Family::of(tuple.src()) == family);
    Ok(if right { Trust::Proved } else { Trust::Wrong })
}

fn try_flush(
    command: &mut Command,
    trial: &Trial,
    family: Family,
    expected: Selection,
) -> Result<Trust> {
    let result = command.act(OPERATION, trial.flush(family));
    if let Some(errno) = refusal(result)? {
        return Ok(Trust::Refused(errno));
    }
    let mut right = true;
    for of in Family::ALL {
        for entry in table(of) {
            let key = Key { zone: Some(entry.zone), ..Key::orig(entry.orig()) };
            let found = command.request(OPERATION, entry::get(&key)?, |_| Ok(()));
            let survived = refusal(found)?.is_none();
            right &= survived != (of == family && expected(&entry));
        }
    }
    Ok(if right { Trust::Proved } else { Trust::Wrong })
}
