//! The handle: what can be done with a conntrack table.

use std::fs::{self, File};
use std::os::fd::OwnedFd;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::batch::{DeleteBatch, Outcome};
use crate::command::Command;
use crate::dump::Dump;
use crate::error::{Error, Operation, Result};
use crate::filter::Filter;
use crate::flow::Flow;
use crate::socket::Namespace;
use crate::stats;

const MAX_FILE: &str = "/proc/sys/net/netfilter/nf_conntrack_max";

/// The conntrack table of one network namespace.
///
/// Every operation takes `&self`: a dump has a socket of its own, and commands share one behind a
/// lock. So one can delete while dumping, run two dumps at once, and share a handle between
/// threads. Opening needs no privilege; everything else needs `CAP_NET_ADMIN` in the user
/// namespace that owns the network namespace.
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
///         ct.delete(&flow)?;
///     }
/// }
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct Conntrack {
    namespace: Namespace,
    command: Mutex<Command>,
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
    /// `EPERM` without `CAP_SYS_ADMIN` in the namespace's user namespace and one's own, `EINVAL`
    /// if the file is not a network namespace.
    ///
    /// ```no_run
    /// # fn f() -> Result<(), Box<dyn std::error::Error>> {
    /// let ct = ctnetlink::Conntrack::open_in(std::fs::File::open("/run/netns/blue")?)?;
    /// # Ok(()) }
    /// ```
    pub fn open_in(namespace: impl Into<OwnedFd>) -> Result<Conntrack> {
        Conntrack::in_namespace(Namespace::from_file(File::from(namespace.into()))?)
    }

    fn in_namespace(namespace: Namespace) -> Result<Conntrack> {
        let command = Mutex::new(Command::new(namespace.socket()?));
        Ok(Conntrack { namespace, command })
    }

    /// How many entries the namespace has. Includes expired entries nobody has reaped yet and
    /// dying ones, so it can be more than a dump shows.
    ///
    /// # Errors
    ///
    /// [`is_permission_denied`](Error::is_permission_denied),
    /// [`is_not_supported`](Error::is_not_supported).
    pub fn count(&self) -> Result<u32> {
        Ok(stats::totals(&mut self.command())?.entries)
    }

    /// How many entries the kernel lets each namespace have (`nf_conntrack_max`); 0 means
    /// unlimited.
    ///
    /// # Errors
    ///
    /// As [`count`](Conntrack::count). Before Linux 4.19 it is read from `/proc/sys`.
    pub fn limit(&self) -> Result<u32> {
        if let Some(limit) = stats::totals(&mut self.command())?.limit {
            return Ok(limit);
        }
        let text = fs::read_to_string(MAX_FILE)
            .map_err(|source| Error::io(Operation::Count, MAX_FILE, source))?;
        text.trim()
            .parse()
            .map_err(|e| Error::Invalid(format!("count: {MAX_FILE} says {text:?}: {e}")))
    }

    /// Starts a dump of what the filter matches, or of everything (`None`).
    ///
    /// What the kernel can be trusted to filter, it filters; what it sends is matched again here.
    ///
    /// # Errors
    ///
    /// [`is_permission_denied`](Error::is_permission_denied),
    /// [`is_not_supported`](Error::is_not_supported), or an invalid filter.
    pub fn dump<'f>(&self, filter: impl Into<Option<&'f Filter>>) -> Result<Dump> {
        let started = Dump::start(self.namespace.socket()?, filter.into());
        started.map_err(|error| self.diagnose(error))
    }

    /// Deletes exactly this entry, as it was dumped: by reply tuple, zone and id. What may have
    /// changed since (mark, status, state, counters) does not matter.
    ///
    /// An entry that the same client has re-created toward another backend meanwhile is not
    /// touched.
    ///
    /// # Errors
    ///
    /// [`is_not_found`](Error::is_not_found) if it had gone already (or was replaced).
    pub fn delete<B: AsRef<[u8]>>(&self, flow: &Flow<B>) -> Result<()> {
        let mut batch = DeleteBatch::default();
        batch.push(flow)?;
        let mut outcome = Outcome::Deleted;
        self.execute(&mut batch, |only| outcome = only)?;
        match outcome {
            Outcome::Deleted => Ok(()),
            Outcome::AlreadyGone => Err(Error::kernel(Operation::Delete, libc::ENOENT)),
            Outcome::Failed(errno) => Err(Error::kernel(Operation::Delete, errno)),
        }
    }

    /// Deletes many entries, each pinned as in [`delete`](Conntrack::delete), 200 to a datagram.
    /// One that fails does not stop the others.
    ///
    /// # Errors
    ///
    /// Only what concerns all of them, such as a missing privilege; what concerns one is in the
    /// result.
    ///
    /// ```no_run
    /// # fn f(ct: &ctnetlink::Conntrack, flows: Vec<ctnetlink::Flow>) -> ctnetlink::Result<()> {
    /// let done = ct.delete_all(&flows)?;
    /// println!("{} deleted, {} already gone", done.deleted, done.already_gone);
    /// for (at, errno) in done.failed {
    ///     eprintln!("{}: errno {errno}", flows[at]);
    /// }
    /// # Ok(()) }
    /// ```
    pub fn delete_all<'f, B: AsRef<[u8]> + 'f>(
        &self,
        flows: impl IntoIterator<Item = &'f Flow<B>>,
    ) -> Result<Deletions> {
        let mut done = Deletions::default();
        let mut batch = DeleteBatch::default();
        let mut flows = flows.into_iter().peekable();
        while let Some(flow) = flows.next() {
            batch.push(flow)?;
            if batch.is_full() || flows.peek().is_none() {
                self.execute(&mut batch, |outcome| done.add(outcome))?;
            }
        }
        Ok(done)
    }

    pub(crate) fn execute(&self, batch: &mut DeleteBatch, each: impl FnMut(Outcome)) -> Result<()> {
        batch.execute(&mut self.command(), each)
    }

    /// Sizes the receive buffer of the command socket and says what came of it: the kernel doubles
    /// the figure and caps it at `net.core.rmem_max`, without a word.
    ///
    /// The default holds the answers to any batch this crate sends. With a smaller one, lost
    /// answers are noticed and asked for again.
    ///
    /// # Errors
    ///
    /// What `setsockopt(2)` says.
    pub fn set_receive_buffer(&self, bytes: i32) -> Result<usize> {
        self.command().socket().set_receive_buffer(bytes)
    }

    /// `EINVAL` for a request that may be at fault itself: asks one that cannot be.
    fn diagnose(&self, error: Error) -> Error {
        if let Error::Kernel { errno: libc::EINVAL, .. } = error
            && let Err(missing @ Error::NotSupported { .. }) = self.count()
        {
            return missing;
        }
        error
    }

    fn command(&self) -> MutexGuard<'_, Command> {
        // A panic in the middle of an exchange leaves answers queued, which the next exchange
        // skips by their sequence numbers.
        self.command.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What became of [`Conntrack::delete_all`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Deletions {
    /// Deleted.
    pub deleted: u64,
    /// Gone already, or replaced.
    pub already_gone: u64,
    /// Position and errno of each entry that could not be deleted.
    pub failed: Vec<(usize, i32)>,
}

impl Deletions {
    fn add(&mut self, outcome: Outcome) {
        match outcome {
            Outcome::Deleted => self.deleted += 1,
            Outcome::AlreadyGone => self.already_gone += 1,
            Outcome::Failed(errno) => {
                let before = self.deleted + self.already_gone;
                let at = usize::try_from(before).unwrap_or(usize::MAX) + self.failed.len();
                self.failed.push((at, errno));
            }
        }
    }
}
