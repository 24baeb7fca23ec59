//! What the benches share.
#![deny(missing_docs)]
#![allow(clippy::unwrap_used, reason = "a measurement that cannot be made should stop")]

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::time::Duration;

/// Where the limit of entries is read and written.
pub const LIMIT: &str = "/proc/sys/net/netfilter/nf_conntrack_max";

/// A raised `nf_conntrack_max`, put back when dropped. It is one value for the whole machine, and its
/// file was opened in the initial namespace, where alone it can be written.
#[derive(Debug)]
pub struct Raised {
    file: File,
    before: String,
}

impl Raised {
    /// Makes room for this many entries, if there is not enough and `--raise-limit` was given. If it
    /// was not, says so and ends the process with status 2.
    ///
    /// # Panics
    ///
    /// If the limit cannot be read or written.
    pub fn for_entries(entries: u32) -> Option<Raised> {
        let before = fs::read_to_string(LIMIT).unwrap();
        let limit: u32 = before.trim().parse().unwrap();
        if limit == 0 || limit > entries {
            return None;
        }
        if !std::env::args().any(|argument| argument == "--raise-limit") {
            eprintln!(
                "nf_conntrack_max is {limit}: {entries} entries do not fit. Give --raise-limit to \
                 raise it for the time of the bench (as root in the initial namespace), or fewer \
                 --entries"
            );
            std::process::exit(2);
        }
        let file = OpenOptions::new().write(true).open(LIMIT).unwrap();
        let raised = Raised { file, before };
        raised.write(&(entries + 10_000).to_string());
        Some(raised)
    }

    /// At the start of the file: behind it the kernel takes a number without a word and drops it.
    fn write(&self, number: &str) {
        self.file.write_all_at(number.as_bytes(), 0).unwrap();
        // One value for all namespaces, so it can be read from this one.
        assert_eq!(fs::read_to_string(LIMIT).unwrap().trim(), number.trim(), "{LIMIT}");
    }
}

impl Drop for Raised {
    fn drop(&mut self) {
        self.write(&self.before);
    }
}

/// The value of a flag such as `--entries`.
///
/// # Panics
///
/// If it is not a number.
pub fn argument(name: &str, default: u32) -> u32 {
    let mut arguments = std::env::args().skip_while(|argument| argument != name);
    arguments.nth(1).map_or(default, |value| value.parse().unwrap())
}

/// The median, in seconds.
pub fn median(mut times: Vec<Duration>) -> f64 {
    times.sort_unstable();
    times[times.len() / 2].as_secs_f64()
}
