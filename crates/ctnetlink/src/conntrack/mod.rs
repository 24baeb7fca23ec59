//! The handle: what can be done with a conntrack table.

pub(crate) mod batch;
pub(crate) mod cancel;
pub(crate) mod delete_many;
pub(crate) mod delete_matching;
pub(crate) mod dump;
pub(crate) mod echo;
mod expectations;
mod named;
mod proofs;
pub(crate) mod stats;
pub(crate) mod sweep;
pub(crate) mod tally;
mod timeouts;
mod zero;

use std::fs::{self, File};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::{Arc, MutexGuard};
use std::time::{Duration, Instant};

use self::batch::{Batch, Outcome};
use self::cancel::{Canceller, Cancellers};
use self::dump::{Dump, Source};
use self::proofs::Proofs;
use self::stats::{CpuStats, Totals};
use crate::error::{Error, Operation, Result};
use crate::filter::Filter;
use crate::filter::plan::DumpPlan;
use crate::model::capability::Capabilities;
use crate::model::flow::Flow;
use crate::model::key::Key;
use crate::model::new_entry::{Change, NewEntry};
use crate::model::tuple::Family;
use crate::probe;
use crate::request::entry::{self, Update};
use crate::transport::command::Command;
use crate::transport::namespace::Namespace;
use crate::transport::process::PerProcess;

/// Where `ip netns add` puts the files of its namespaces.
const NAMES: &str = "/run/netns";
const MAX_FILE: &str = "/proc/sys/net/netfilter/nf_conntrack_max";

/// The conntrack table of one network namespace.
///
/// Every operation takes `&self`: a dump has a socket of its own, and commands share one behind a
/// lock. So you can delete while dumping, run two dumps at once, and share a handle between
/// threads. Opening needs no privilege; everything else needs `CAP_NET_ADMIN` in the user
/// namespace that owns the network namespace.
///
/// A handle also works in a child process after `fork(2)`: the child opens sockets of its own, with
/// receive buffers of the default size. A dump does not: it belongs to the process that started it.
///
/// ```no_run
/// use ctnetlink::{Conntrack, Filter, Protocol};
/// # fn f(dead: std::net::IpAddr) -> ctnetlink::Result<()> {
/// let ct = Conntrack::open()?;
/// println!("{} of {}", ct.count()?, ct.limit()?);
///
/// let dns = Filter::protocol(Protocol::UDP) & Filter::orig_dst_port(53);
/// let mut dump = ct.dump(&dns)?;
/// while let Some(flow) = dump.next()? {
///     if flow.reply().src() == dead {
///         match ct.delete(&flow) {
///             Err(error) if error.is_not_found() => {} // already gone
///             other => other?,
///         }
///     }
/// }
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct Conntrack {
    namespace: Arc<Namespace>,
    command: Arc<PerProcess<Command>>,
    proofs: Arc<Proofs>,
    cancellers: Cancellers,
}

impl Conntrack {
    /// Opens the network namespace of the calling thread.
    ///
    /// # Errors
    ///
    /// [`is_not_supported`](Error::is_not_supported) where the kernel has no netfilter netlink.
    pub fn open() -> Result<Conntrack> {
        Conntrack::in_namespace(Namespace::current()?)
    }

    /// Opens a given network namespace: an open `/run/netns/NAME`, `/proc/PID/ns/net` or the like.
    /// The calling thread stays where it is; a scratch thread enters the namespace.
    ///
    /// # Errors
    ///
    /// `EPERM` without `CAP_SYS_ADMIN` in the user namespace that owns the namespace and in the
    /// caller's own; `EINVAL` if the file is not a network namespace. A descriptor of a process
    /// (`pidfd_open(2)`) is refused: after the process has moved, it would refer to another namespace.
    ///
    /// ```no_run
    /// # fn f() -> Result<(), Box<dyn std::error::Error>> {
    /// let ct = ctnetlink::Conntrack::open_in(std::fs::File::open("/run/netns/blue")?)?;
    /// # Ok(()) }
    /// ```
    pub fn open_in(namespace: impl Into<OwnedFd>) -> Result<Conntrack> {
        Conntrack::in_namespace(Namespace::from_file(File::from(namespace.into()))?)
    }

    /// Opens a network namespace by its name, as `ip netns` knows it: `/run/netns/NAME`.
    ///
    /// # Errors
    ///
    /// Those of [`open_path`](Conntrack::open_path); a name that contains a slash, which is a path.
    pub fn open_named(name: &str) -> Result<Conntrack> {
        if name.is_empty() || name.contains('/') || name == "." || name == ".." {
            return Err(Error::Invalid(format!(
                "open: {name:?} is not the name of a network namespace; `ip netns` lists the names"
            )));
        }
        Conntrack::open_path(Path::new(NAMES).join(name))
    }

    /// Opens the network namespace bound to a path: `/run/netns/NAME`, `/proc/PID/ns/net`.
    ///
    /// # Errors
    ///
    /// Those of [`open_in`](Conntrack::open_in), and those of opening the file.
    pub fn open_path(path: impl AsRef<Path>) -> Result<Conntrack> {
        let path = path.as_ref();
        let file = File::open(path).map_err(|source| {
            Error::io(Operation::Open, path.to_string_lossy().into_owned(), source)
        })?;
        Conntrack::open_in(file)
    }

    /// Opens the network namespace of a process.
    ///
    /// # Errors
    ///
    /// Those of [`open_in`](Conntrack::open_in); `ENOENT` if there is no such process.
    pub fn open_pid(pid: u32) -> Result<Conntrack> {
        Conntrack::open_path(format!("/proc/{pid}/ns/net"))
    }

    fn in_namespace(namespace: Namespace) -> Result<Conntrack> {
        let command = PerProcess::new(Command::new(namespace.socket()?)?);
        Ok(Conntrack {
            namespace: Arc::new(namespace),
            command: Arc::new(command),
            proofs: Arc::default(),
            cancellers: Cancellers::default(),
        })
    }

    /// The same handle, with the same sockets and proofs, whose long operations end when the
    /// canceller cancels: dumps, counts, deletes, zeroing, batches, probes, and reconciliations with
    /// it. They look at the canceller between datagrams: a request that the kernel is working on is
    /// finished, and entries that were judged before are dealt with. A handle can have several
    /// cancellers.
    ///
    /// ```no_run
    /// # fn f(ct: &ctnetlink::Conntrack) -> ctnetlink::Result<()> {
    /// use ctnetlink::Canceller;
    /// let canceller = Canceller::new();
    /// let stopped_by_a_signal = canceller.clone();
    /// let count = ct.cancelled_by(&canceller).dump(None)?.count();
    /// # let _ = (stopped_by_a_signal, count);
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn cancelled_by(&self, canceller: &Canceller) -> Conntrack {
        Conntrack {
            namespace: Arc::clone(&self.namespace),
            command: Arc::clone(&self.command),
            proofs: Arc::clone(&self.proofs),
            cancellers: self.cancellers.with(canceller),
        }
    }

    /// Runs something in the handle's namespace, on a scratch thread if the caller is elsewhere.
    #[cfg(feature = "diagnose")]
    pub(crate) fn within<T: Send>(&self, body: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        self.namespace.run(body)
    }

    #[cfg(feature = "diagnose")]
    pub(crate) fn inode(&self) -> u64 {
        self.namespace.inode()
    }

    pub(crate) fn is_cancelled(&self) -> bool {
        self.cancellers.is_cancelled()
    }

    /// How many entries the namespace has. This includes dying entries, and expired entries that
    /// have not been reaped yet, so it can be more than a dump shows.
    ///
    /// # Errors
    ///
    /// [`is_permission_denied`](Error::is_permission_denied),
    /// [`is_not_supported`](Error::is_not_supported).
    pub fn count(&self) -> Result<u32> {
        Ok(stats::totals(&mut *self.command()?)?.entries)
    }

    /// How many entries the kernel lets each namespace have (`nf_conntrack_max`); 0 means
    /// unlimited.
    ///
    /// # Errors
    ///
    /// Those of [`count`](Conntrack::count). Before Linux 4.19 the limit is read from `/proc/sys`,
    /// which can fail too.
    pub fn limit(&self) -> Result<u32> {
        limit_of(stats::totals(&mut *self.command()?)?)
    }

    /// Finds out what the running kernel can filter by, flush by, count and timestamp.
    ///
    /// Some requests are sent in this namespace; none of them can change the table on any kernel.
    /// Whether filters select what they should is tried out in a scratch namespace with its own
    /// table, on a scratch thread. That needs `CAP_SYS_ADMIN`; if it is refused,
    /// [`Capabilities::untested`] says why.
    ///
    /// The scratch table is small, but the kernel keeps the tables of all namespaces in one hash
    /// table, and walks all of it for each dump and flush; other ctnetlink requests have to wait
    /// their turn. So several criteria are asked about at once: some 140 datagrams, and 0.3 s on an
    /// idle machine. On one with many entries it takes longer;
    /// [`capabilities_within`](Conntrack::capabilities_within) sets a limit.
    ///
    /// From then on this decides what the kernel filters by in this handle's dumps and flushes, and
    /// no request is [proved by itself](Conntrack::dump) any more. Criteria that this handle was told to [distrust](Capabilities::distrust) stay distrusted. A process
    /// with several handles probes once and passes the result to
    /// [`use_capabilities`](Conntrack::use_capabilities).
    ///
    /// Asking for timeout policies can make the kernel load `nfnetlink_cttimeout`: it tries to load
    /// the module of any subsystem that is absent.
    ///
    /// # Errors
    ///
    /// [`is_permission_denied`](Error::is_permission_denied),
    /// [`is_not_supported`](Error::is_not_supported).
    pub fn capabilities(&self) -> Result<Capabilities> {
        self.find_capabilities(None)
    }

    /// [`capabilities`](Conntrack::capabilities) with a limit to the time that trying out may take.
    /// What was not reached stays [`Untested`](crate::Trust::Untested), which is always safe, and
    /// [`Capabilities::untested`] says so. The question under way is finished, so it can take a
    /// little longer.
    ///
    /// # Errors
    ///
    /// As [`capabilities`](Conntrack::capabilities).
    pub fn capabilities_within(&self, limit: Duration) -> Result<Capabilities> {
        self.find_capabilities(Instant::now().checked_add(limit))
    }

    fn find_capabilities(&self, deadline: Option<Instant>) -> Result<Capabilities> {
        // The slow part first, without holding the command socket.
        let trial = probe::try_out(deadline, &|| self.is_cancelled());
        self.cancellers.check(Operation::Probe)?;
        let mut found = {
            let mut command = self.command()?;
            let totals = stats::totals(&mut command)?;
            let limit = limit_of(totals)?;
            probe::capabilities(&self.namespace, &mut command, (totals.entries, limit), trial)?
        };
        if let Some(before) = self.proofs.trusts() {
            found.trusts.keep_distrust(&before);
        }
        // If nothing could be tried out now, it may be possible later: remember nothing.
        if found.untested.is_none() {
            self.proofs.trust(found.trusts.clone());
        }
        Ok(found)
    }

    /// Trusts the kernel as far as these capabilities say. They may come from another handle on
    /// this machine since it was booted, from a file, or be narrowed by [`Capabilities::distrust`].
    ///
    /// # Errors
    ///
    /// Capabilities that were found at another boot: the kernel can be another one.
    pub fn use_capabilities(&self, capabilities: &Capabilities) -> Result<()> {
        let now = probe::boot_id();
        if capabilities.boot_id != now {
            let shown = |id: &Option<String>| id.clone().unwrap_or_else(|| "unknown".into());
            return Err(Error::Invalid(format!(
                "capabilities: found at boot {}, and this is boot {}: find them again with \
                 capabilities()",
                shown(&capabilities.boot_id),
                shown(&now)
            )));
        }
        self.proofs.trust(capabilities.trusts.clone());
        Ok(())
    }

    /// Starts a dump of the entries the filter matches, or of all entries (`None`).
    ///
    /// The kernel filters by the criteria it can be trusted with; every entry it sends is matched
    /// again here. [`Dump::count`] counts the matching entries.
    ///
    /// The first request of each shape (which fields it compares) is proved before that, in a
    /// scratch namespace on a scratch thread, by one walk over the machine's hash table; the handle
    /// remembers the result. Requests by family, protocol, TCP and UDP ports and original IPv4
    /// addresses need no proof, because no kernel hides an entry by them. Where no scratch namespace
    /// can be made (`CAP_SYS_ADMIN`), the kernel is asked for no more than that.
    ///
    /// # Errors
    ///
    /// [`is_permission_denied`](Error::is_permission_denied),
    /// [`is_not_supported`](Error::is_not_supported), or an invalid filter.
    pub fn dump<'f>(&self, filter: impl Into<Option<&'f Filter>>) -> Result<Dump> {
        // Before a plan, which can take a proof.
        self.cancellers.check(Operation::Dump)?;
        let filter = filter.into();
        let plan = filter.map_or_else(|| Ok(DumpPlan::everything()), |f| self.proofs.plan(f))?;
        let started = Dump::start(self.namespace.socket()?, self.cancellers.clone(), filter, plan);
        started.map_err(|error| self.explain(error))
    }

    /// Starts a dump of the dying list: entries that have left the table, but whose destroy event
    /// a reliable listener has not received yet. Before Linux 5.19 the list has all dying entries.
    ///
    /// # Errors
    ///
    /// As [`dump`](Conntrack::dump).
    pub fn dying(&self) -> Result<Dump> {
        let started = Dump::of(self.namespace.socket()?, self.cancellers.clone(), Source::Dying);
        started.map_err(|error| self.explain(error))
    }

    /// Fetches one entry.
    ///
    /// # Errors
    ///
    /// [`is_not_found`](Error::is_not_found).
    ///
    /// ```no_run
    /// use ctnetlink::{Conntrack, Key, Protocol, Tuple};
    /// # fn f() -> Result<(), Box<dyn std::error::Error>> {
    /// let (client, vip) = ("10.0.0.1:1001".parse()?, "10.96.0.10:53".parse()?);
    /// let flow = Conntrack::open()?.get(&Key::orig(Tuple::with_ports(Protocol::UDP, client, vip)))?;
    /// println!("answered by {}", flow.reply().source());
    /// # Ok(()) }
    /// ```
    pub fn get(&self, key: &Key) -> Result<Flow> {
        self.ask(|command| named::find(command, Operation::Get, key))
    }

    /// Creates an entry.
    ///
    /// # Errors
    ///
    /// `EEXIST` if either tuple collides with an entry of the zone, in either direction; `ENOMEM`
    /// if the table is full; `EBUSY`, `EOPNOTSUPP` and others, whose text says what to do.
    pub fn create(&self, new: &NewEntry) -> Result<()> {
        self.ask(|command| named::create(command, Operation::Create, new, Command::act))
    }

    /// Creates an entry, or updates the one that has its original tuple (and keeps its own reply
    /// tuple). An entry that has it as its *reply* tuple is in the way, and is left alone.
    ///
    /// # Errors
    ///
    /// As [`create`](Conntrack::create) and [`update`](Conntrack::update). `EOPNOTSUPP` if the
    /// entry exists and NAT or a master is asked for, which only a creation can set.
    pub fn create_or_update(&self, new: &NewEntry) -> Result<()> {
        self.ask(|command| named::create_or_update(command, Operation::Create, new, Command::act))
    }

    /// Changes an entry.
    ///
    /// The entry is fetched, compared with the key, and then named by its own reply tuple and zone.
    /// The kernel does not compare the id in an update. So an entry that took its place between the
    /// two requests is changed instead, if one of its tuples is this reply tuple: for instance one
    /// that the same client opened anew toward the same backend.
    ///
    /// # Errors
    ///
    /// [`is_not_found`](Error::is_not_found); `EBUSY` for a status that would clear bits that are
    /// set; `ENOSPC` for labels if no rule uses labels; `EPERM` for the timeout of an entry with
    /// [`FIXED_TIMEOUT`](crate::Status::FIXED_TIMEOUT).
    pub fn update(&self, key: &Key, change: &Change) -> Result<()> {
        let update = Update::of(change)?;
        self.ask(|command| named::update(command, Operation::Update, key, &update, Command::act))
    }

    /// Deletes exactly this entry, as it was dumped: by reply tuple, zone and id. What may have
    /// changed since (mark, status, state, counters) does not matter.
    ///
    /// An entry that the same client has re-created toward another backend in the meantime is not
    /// touched.
    ///
    /// # Errors
    ///
    /// [`is_not_found`](Error::is_not_found) if it was already gone (or replaced).
    pub fn delete<B: AsRef<[u8]>>(&self, flow: &Flow<B>) -> Result<()> {
        self.act(Operation::Delete, entry::delete(flow)?)
    }

    /// Deletes the entry that has this key now, which may not be the one you have seen. To delete
    /// exactly the entry you have seen, use [`delete`](Conntrack::delete).
    ///
    /// The entry is fetched, compared with the key, and then deleted as
    /// [`delete`](Conntrack::delete) does: no other entry can be deleted in its place.
    ///
    /// # Errors
    ///
    /// [`is_not_found`](Error::is_not_found), even if only the id differs from the key's.
    pub fn delete_key(&self, key: &Key) -> Result<()> {
        self.ask(|command| named::delete(command, Operation::Delete, key, Command::act))
    }

    fn act(&self, operation: Operation, request: Vec<u8>) -> Result<()> {
        self.ask(|command| command.act(operation, request))
    }

    /// Removes **every** entry of a family.
    ///
    /// There is no count, because the kernel does not report one. Entries inserted during the flush
    /// may survive. Kernels before 4.20 ignore the family and remove the entries of both families.
    ///
    /// # Errors
    ///
    /// [`is_permission_denied`](Error::is_permission_denied).
    pub fn flush(&self, family: Family) -> Result<()> {
        self.act(Operation::Flush, entry::flush(Some(family)))
    }

    /// Removes **every** entry of both families, as [`flush`](Conntrack::flush) does.
    ///
    /// # Errors
    ///
    /// [`is_permission_denied`](Error::is_permission_denied).
    pub fn flush_all(&self) -> Result<()> {
        self.act(Operation::Flush, entry::flush(None))
    }

    /// Statistics of each CPU for this namespace.
    ///
    /// # Errors
    ///
    /// [`is_permission_denied`](Error::is_permission_denied).
    pub fn stats_per_cpu(&self) -> Result<Vec<CpuStats>> {
        self.ask(stats::per_cpu)
    }

    /// Runs a batch and returns the outcome of each operation, in order. The batch is empty
    /// afterwards.
    ///
    /// # Errors
    ///
    /// Only if nothing could be done at all, for instance without privilege.
    pub fn execute(&self, batch: &mut Batch) -> Result<Vec<Outcome>> {
        let mut outcomes = Vec::with_capacity(batch.len());
        let check = || self.cancellers.check(Operation::Batch);
        self.ask(|command| batch.execute(command, check, |outcome| outcomes.push(outcome)))?;
        Ok(outcomes)
    }

    /// Like [`execute`](Conntrack::execute), but for entries that are already judged, so that a
    /// canceller does not stop it.
    pub(crate) fn execute_each(&self, batch: &mut Batch, each: impl FnMut(Outcome)) -> Result<()> {
        self.ask(|command| batch.execute(command, || Ok(()), each))
    }

    /// Sets the size of the receive buffer of the command socket and returns the resulting size:
    /// the kernel silently caps the figure at `net.core.rmem_max` and doubles it.
    ///
    /// The default holds the answers to any batch this crate sends. With a smaller buffer, lost
    /// answers are noticed and asked for again.
    ///
    /// # Errors
    ///
    /// The error of `setsockopt(2)`.
    pub fn set_receive_buffer(&self, bytes: i32) -> Result<usize> {
        self.command()?.socket().set_receive_buffer(bytes)
    }

    /// Runs an operation on the command socket. The lock is released before an error is explained,
    /// because that sends a request of its own.
    fn ask<T>(&self, operation: impl FnOnce(&mut Command) -> Result<T>) -> Result<T> {
        let result = operation(&mut *self.command()?);
        result.map_err(|error| self.explain(error))
    }

    /// The netlink port id of the command socket. Events that this handle's operations cause carry
    /// it (`nlmsg_pid`); those of packets and timers carry 0.
    ///
    /// # Errors
    ///
    /// The error of `getsockname(2)`.
    pub fn port_id(&self) -> Result<u32> {
        self.command()?.socket().port_id()
    }

    /// `EINVAL` can mean an invalid request or a kernel without ctnetlink: sends a request that is
    /// always valid, to find out which.
    fn explain(&self, error: Error) -> Error {
        if !matches!(error, Error::Kernel { errno: libc::EINVAL, .. }) {
            return error;
        }
        match self.count() {
            Err(missing @ Error::NotSupported { .. }) => missing,
            _ => error,
        }
    }

    pub(crate) fn command(&self) -> Result<MutexGuard<'_, Command>> {
        self.command.lock(|| Command::new(self.namespace.socket()?))
    }
}

/// The limit. Before Linux 4.19 the kernel does not report it over netlink.
fn limit_of(totals: Totals) -> Result<u32> {
    if let Some(limit) = totals.limit {
        return Ok(limit);
    }
    let text = fs::read_to_string(MAX_FILE)
        .map_err(|source| Error::io(Operation::Count, MAX_FILE, source))?;
    let limit = text.trim().parse();
    limit.map_err(|e| Error::Invalid(format!("count: {MAX_FILE} holds {text:?}: {e}")))
}
