//! The settings in force in a namespace, and how they are changed.

use std::fs;
use std::io;

use super::setting::Setting;
use crate::conntrack::Conntrack;
use crate::error::{Error, Result};

const COUNT: &str = "/proc/sys/net/netfilter/nf_conntrack_count";

/// The settings in force: limits, timeouts, modes. One that this kernel does not have is `None`.
///
/// ```no_run
/// # fn f(ct: &ctnetlink::Conntrack) -> ctnetlink::Result<()> {
/// use ctnetlink::diagnose::Setting;
/// let limits = ct.limits()?;
/// println!("{:?} entries, {:?} buckets", limits.get(Setting::Max), limits.get(Setting::Buckets));
/// # Ok(()) }
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Limits {
    values: Vec<Option<u32>>,
    initial_namespace: Option<bool>,
}

impl Limits {
    /// The value of a setting, in its [`unit`](Setting::unit). A limit of 0 entries means none
    /// (up to Linux 6.16).
    pub fn get(&self, setting: Setting) -> Option<u32> {
        self.values.get(setting.index()).copied().flatten()
    }

    /// Every setting that this kernel has, with its value.
    pub fn iter(&self) -> impl Iterator<Item = (Setting, u32)> + '_ {
        Setting::ALL.iter().filter_map(|setting| Some((*setting, self.get(*setting)?)))
    }

    /// Whether this is the initial network namespace, the host's: there alone the file of
    /// [`Buckets`](Setting::Buckets) is writable. `None` if the file is not there.
    pub fn is_initial_namespace(&self) -> Option<bool> {
        self.initial_namespace
    }

    /// The same with a value for a setting, such as one that was saved with a table.
    ///
    /// ```
    /// use ctnetlink::diagnose::{Limits, Setting};
    /// let limits = Limits::default().with(Setting::Udp, 30);
    /// assert_eq!(limits.get(Setting::Udp), Some(30));
    /// ```
    #[must_use]
    pub fn with(mut self, setting: Setting, value: u32) -> Limits {
        self.values.resize(Setting::ALL.len(), None);
        self.values[setting.index()] = Some(value);
        self
    }

    /// Whether no setting is known.
    pub(super) fn is_empty(&self) -> bool {
        self.iter().next().is_none()
    }

    /// Reads what the thread's namespace has. `/proc/sys/net` follows the thread that opens a file.
    fn read() -> Limits {
        let number =
            |setting: &Setting| fs::read_to_string(setting.path()).ok()?.trim().parse().ok();
        Limits {
            values: Setting::ALL.iter().map(number).collect(),
            // The limit's file was writable everywhere before 5.13, and may be again one day.
            initial_namespace: fs::metadata(Setting::Buckets.path())
                .ok()
                .map(|file| !file.permissions().readonly()),
        }
    }
}

#[cfg(feature = "serde")]
impl serde::Serialize for Limits {
    /// A map of the names of the files.
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.iter().map(|(setting, value)| (setting.name(), value)))
    }
}

impl Conntrack {
    /// Reads the settings of the handle's network namespace from `/proc/sys`, wherever the calling
    /// thread is. It needs no privilege. Where `/proc` is not mounted, all are absent.
    ///
    /// # Errors
    ///
    /// Those of entering another namespace ([`open_in`](Conntrack::open_in)).
    pub fn limits(&self) -> Result<Limits> {
        self.within(|| Ok(Limits::read()))
    }

    /// Changes a setting of the handle's network namespace. It lasts until the next boot.
    ///
    /// A timeout applies from the next packet of each connection on: entries that are there keep
    /// what they have. The maximum is one for all namespaces; raise
    /// [`Buckets`](Setting::Buckets) with it, or chains become long and packets are lost there.
    ///
    /// # Errors
    ///
    /// [`Error::Setting`], with the file, the value and the reason: `EACCES` for a
    /// [global](Setting::is_global) setting outside the initial namespace, `EROFS` where `/proc/sys`
    /// is mounted read-only (containers), `EINVAL` for a value out of range, `ENOENT` where the
    /// kernel does not have it. A value above `i32::MAX` is refused here: for some settings the kernel
    /// would take it as -1.
    ///
    /// ```no_run
    /// # fn f(ct: &ctnetlink::Conntrack) -> ctnetlink::Result<()> {
    /// ct.set_limit(ctnetlink::diagnose::Setting::TcpTimeWait, 30)?;
    /// # Ok(()) }
    /// ```
    pub fn set_limit(&self, setting: Setting, value: u32) -> Result<()> {
        let refused = |source| Error::Setting { path: setting.path(), value, source };
        if value > setting.largest_value() {
            return Err(refused(io::Error::from_raw_os_error(libc::EINVAL)));
        }
        self.within(|| fs::write(setting.path(), value.to_string()).map_err(refused))
    }

    /// The number of entries. Without `CAP_NET_ADMIN` netlink refuses to say it, and `/proc/sys` does
    /// not.
    pub(super) fn entries_now(&self) -> Result<u32> {
        self.count().or_else(|error| {
            let read =
                || Ok(fs::read_to_string(COUNT).ok().and_then(|text| text.trim().parse().ok()));
            self.within(read)?.ok_or(error)
        })
    }

    /// Fills in the limit, which netlink knows too, where `/proc` is not mounted.
    pub(super) fn limits_or_totals(&self) -> Result<Limits> {
        let limits = self.limits()?;
        if limits.get(Setting::Max).is_some() {
            return Ok(limits);
        }
        Ok(match self.limit() {
            Ok(limit) => limits.with(Setting::Max, limit),
            Err(_) => limits,
        })
    }
}
