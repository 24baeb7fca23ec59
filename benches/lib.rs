//! What the benches share.
#![deny(missing_docs)]
#![allow(clippy::unwrap_used, reason = "a measurement that cannot be made should stop")]

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::process::{Child, Command, Stdio};

const LIMIT: &str = "/proc/sys/net/netfilter/nf_conntrack_max";
const BUCKETS: &str = "/proc/sys/net/netfilter/nf_conntrack_buckets";

/// A setting of the whole machine, and a keeper who puts it back: a shell in the initial namespace,
/// where alone it can be written, that waits for this process to end, however it does.
#[derive(Debug)]
struct Setting {
    path: &'static str,
    file: File,
    keeper: Child,
}

impl Setting {
    fn open(path: &'static str) -> Setting {
        let file = OpenOptions::new().write(true).open(path).unwrap();
        let script = format!("trap '' INT TERM HUP; cat >/dev/null; echo {} >{path}", number(path));
        let keeper = Command::new("sh").args(["-c", &script]).stdin(Stdio::piped()).spawn();
        Setting { path, file, keeper: keeper.unwrap() }
    }

    /// At the start of the file: behind it the kernel takes a number without a word and drops it.
    fn write(&self, value: u32) {
        self.file.write_all_at(value.to_string().as_bytes(), 0).unwrap();
        // One value for all namespaces, so it can be read from this one.
        assert_eq!(number(self.path), value, "{}", self.path);
    }
}

impl Drop for Setting {
    fn drop(&mut self) {
        drop(self.keeper.stdin.take());
        let kept = self.keeper.wait().is_ok_and(|status| status.success());
        if !kept {
            eprintln!("{}: not put back", self.path);
        }
    }
}

fn number(path: &str) -> u32 {
    fs::read_to_string(path).unwrap().trim().parse().unwrap()
}

/// Room for more entries than the machine allows, for the time of a bench.
#[derive(Debug)]
pub struct Raised {
    /// Held for its drop.
    _limit: Setting,
    buckets: Setting,
}

impl Raised {
    /// Makes room for this many entries, if there is not enough and `--raise-limit` was given. If it
    /// was not, says so and ends the process with status 2.
    ///
    /// # Panics
    ///
    /// If the limit cannot be read or written.
    pub fn for_entries(entries: u32) -> Option<Raised> {
        let limit = number(LIMIT);
        if limit == 0 || limit > entries {
            return None;
        }
        if !flag("--raise-limit") {
            eprintln!(
                "nf_conntrack_max is {limit}: {entries} entries do not fit. Give --raise-limit to \
                 raise it for the time of the bench (as root in the initial namespace), or fewer \
                 --entries"
            );
            std::process::exit(2);
        }
        let (limit, buckets) = (Setting::open(LIMIT), Setting::open(BUCKETS));
        limit.write(entries + 10_000);
        Some(Raised { _limit: limit, buckets })
    }

    /// Hash buckets for a table of this size, if there are fewer: one for four entries, which is
    /// how kube-proxy sets up a node. With chains of more than 50 the kernel refuses entries.
    ///
    /// # Panics
    ///
    /// If the number cannot be written.
    pub fn buckets_for(&self, entries: u32) {
        let wanted = (entries / 4).next_power_of_two();
        if wanted > number(BUCKETS) {
            self.buckets.write(wanted);
        }
    }
}

/// The number behind a flag such as `--entries`.
///
/// # Panics
///
/// If it is not a number.
pub fn argument(name: &str, default: u32) -> u32 {
    text_argument(name).map_or(default, |value| value.parse().unwrap())
}

/// What stands behind a flag.
pub fn text_argument(name: &str) -> Option<String> {
    std::env::args().skip_while(|argument| argument != name).nth(1)
}

/// Whether a flag was given.
pub fn flag(name: &str) -> bool {
    std::env::args().any(|argument| argument == name)
}

/// The median.
///
/// # Panics
///
/// If there are no figures.
pub fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_unstable_by(f64::total_cmp);
    figures[figures.len() / 2]
}
