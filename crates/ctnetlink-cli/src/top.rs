//! `top`.

use std::collections::HashMap;
use std::fmt::Write;
use std::io::{self, IsTerminal};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::{Args, ValueEnum};
use ctnetlink::diagnose::{Diagnosis, Grouped, Summary, Top, Trend};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::termios::{self, LocalModes, OptionalActions, SpecialCodeIndex, Termios};

use crate::doctor::Look;
use crate::failure::{Done, Failure};
use crate::list::interval;
use crate::options::Namespace;
use crate::{names, output, screen};

/// Who has the most entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, ValueEnum)]
enum By {
    /// Original destinations: services, and what is dialled elsewhere
    Frontend,
    /// Original sources
    Source,
    /// Who answers
    Backend,
}

/// Show who has the most entries
///
/// On a terminal it looks again every two seconds; f, s and b choose frontends, sources or backends,
/// d shows what holds the table, q quits.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// What is counted
    #[arg(long, value_enum, default_value = "frontend")]
    by: By,

    /// Rows
    #[arg(long, short = 'n', value_name = "N", default_value_t = 15)]
    rows: usize,

    /// Services and pods by name: the output of
    /// `kubectl get services,endpointslices,pods -A -o json` (`-` = standard input)
    #[arg(long, value_name = "FILE")]
    cluster: Option<PathBuf>,

    /// Print one JSON object
    #[arg(long)]
    json: bool,

    /// Look once, on a terminal too
    #[arg(long, conflicts_with = "watch")]
    once: bool,

    /// Look again and again, by default every 2 s
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, require_equals = true, default_missing_value = "2")]
    watch: Option<f64>,
}

/// Ctrl-C.
const INTERRUPT: u8 = 3;
/// The status that a shell shows for a program which `SIGINT` has ended.
const INTERRUPTED: u8 = 130;

/// What is shown, and what was before.
struct View {
    by: By,
    details: bool,
    before: HashMap<(By, String), u64>,
    trend: Trend,
    start: Instant,
}

impl View {
    fn new(by: By) -> View {
        let (before, trend) = (HashMap::new(), Trend::default());
        View { by, details: false, before, trend, start: Instant::now() }
    }

    /// Looks, and remembers how the table grows.
    fn look(&mut self, look: &Look) -> Result<Diagnosis, Failure> {
        let mut found = seen(look)?;
        let churn = found.summary.as_ref().and_then(|summary| summary.churn.new_per_second());
        if let Some(pressure) = &mut found.pressure {
            self.trend.add(self.start.elapsed(), pressure.entries);
            pressure.growth = self.trend.growth(churn);
        }
        Ok(found)
    }
}

pub(crate) fn run(namespace: &Namespace, arguments: &Arguments) -> Result<Done, Failure> {
    let known = arguments.cluster.as_deref().map(names::load).transpose()?;
    let names = known.map(|known| known.names).unwrap_or_default();
    let ct = namespace.open()?;
    let look = Look { ct, names, desired: None, rows: arguments.rows, summary: true };
    let mut view = View::new(arguments.by);
    let interactive = io::stdout().is_terminal() && io::stdin().is_terminal();
    let every = match arguments.watch {
        Some(seconds) => Some(interval(seconds)?),
        None if interactive && !arguments.json && !arguments.once => Some(Duration::from_secs(2)),
        None => None,
    };
    let Some(every) = every else {
        let found = view.look(&look)?;
        return output::print(&match (&found.summary, arguments.json) {
            (Some(summary), true) => serde_json::to_string(summary)?,
            _ => draw(&mut view, &found, None),
        });
    };
    if arguments.json || !interactive {
        return output::watch(every, || {
            let found = view.look(&look)?;
            Ok(match (&found.summary, arguments.json) {
                (Some(summary), true) => serde_json::to_string(summary)?,
                _ => draw(&mut view, &found, None),
            })
        });
    }
    let keys = Keys::new()?;
    loop {
        let found = view.look(&look)?;
        output::draw(&draw(&mut view, &found, Some(every)))?;
        let shown = Instant::now();
        // A key draws the same figures anew.
        while let Some(left) = every.checked_sub(shown.elapsed()) {
            match keys.next(left)? {
                None => break,
                Some(b'q') => return Ok(Done::OK),
                Some(INTERRUPT) => return Ok(Done(INTERRUPTED)),
                Some(b'f') => view.by = By::Frontend,
                Some(b's') => view.by = By::Source,
                Some(b'b') => view.by = By::Backend,
                Some(b'd') => view.details = !view.details,
                Some(_) => continue,
            }
            output::draw(&draw(&mut view, &found, Some(every)))?;
        }
    }
}

/// A look that has a summary, or the reason why not.
fn seen(look: &Look) -> Result<Diagnosis, Failure> {
    let found = look.now(Duration::ZERO)?;
    match (&found.summary, found.unseen.iter().find(|unseen| unseen.what.contains("holds"))) {
        (None, Some(unseen)) => Err(Failure::Failed(unseen.why.clone())),
        _ => Ok(found),
    }
}

fn draw(view: &mut View, found: &Diagnosis, every: Option<Duration>) -> String {
    let mut text = String::new();
    screen::header(&mut text, found);
    screen::state(&mut text, found);
    let Some(summary) = &found.summary else { return text };
    let (title, top): (&str, &Top) = match view.by {
        By::Frontend => ("TOP FRONTENDS", &summary.frontends),
        By::Source => ("TOP SOURCES", &summary.sources),
        By::Backend => ("TOP BACKENDS", &summary.backends),
    };
    // Writing to a string cannot fail.
    let _ = writeln!(
        text,
        " {title:<43}{:>11} {:>6} {:>9} {:>7}",
        "entries", "share", "change", "new/s"
    );
    for row in &top.rows {
        let name = row.to_string();
        let key = (view.by, name.clone());
        let change =
            view.before.get(&key).map(|before| i128::from(row.at_most) - i128::from(*before));
        let change =
            change.filter(|change| *change != 0).map_or(String::new(), |c| format!("{c:+}"));
        let new = row.new_per_second.map_or(String::new(), |new| format!("{new:.0}"));
        let entries = screen::entries(row);
        let row_text = format!(
            " {:<43}{entries:>11} {:>6} {change:>9} {new:>7}",
            screen::clipped(&name, 43),
            screen::share(row.at_most, summary.entries)
        );
        let _ = writeln!(text, "{}", row_text.trim_end());
        view.before.insert(key, row.at_most);
    }
    if top.other > 0 {
        let other = Grouped(top.other).to_string();
        let _ = writeln!(
            text,
            " {:<43}{other:>11} {:>6}",
            "others",
            screen::share(top.other, summary.entries)
        );
    }
    if top.maximum_error > 0 {
        let _ = writeln!(
            text,
            " more than 49,152 different: counts are at most {} too high",
            top.maximum_error
        );
    }
    if view.details {
        details(&mut text, summary);
    }
    if let Some(every) = every {
        let _ = writeln!(
            text,
            " every {:.0} s   f frontends  s sources  b backends  d details  q quit",
            every.as_secs_f64()
        );
    }
    text
}

fn details(text: &mut String, summary: &Summary) {
    for group in &summary.groups {
        let name = format!("{} {} {}", group.family, group.protocol, group.state);
        let _ = writeln!(text, " {name:<43}{:>11}", Grouped(group.entries).to_string());
    }
}

/// The terminal without line editing, so that single keys are read. It is put back at the end.
struct Keys {
    before: Termios,
}

impl Keys {
    fn new() -> Result<Keys, Failure> {
        let failed = |e: rustix::io::Errno| Failure::Failed(format!("terminal: {e}"));
        let before = termios::tcgetattr(rustix::stdio::stdin()).map_err(failed)?;
        let mut raw = before.clone();
        // Ctrl-C is read as a key, so that the terminal is put back.
        raw.local_modes.remove(LocalModes::ICANON | LocalModes::ECHO | LocalModes::ISIG);
        raw.special_codes[SpecialCodeIndex::VMIN] = 0;
        raw.special_codes[SpecialCodeIndex::VTIME] = 0;
        termios::tcsetattr(rustix::stdio::stdin(), OptionalActions::Now, &raw).map_err(failed)?;
        Ok(Keys { before })
    }

    /// The next key within a time.
    fn next(&self, within: Duration) -> Result<Option<u8>, Failure> {
        let failed = |e: rustix::io::Errno| Failure::Failed(format!("terminal: {e}"));
        let stdin = rustix::stdio::stdin();
        let mut ready = [PollFd::new(&stdin, PollFlags::IN)];
        let timeout = Timespec::try_from(within).ok();
        if poll(&mut ready, timeout.as_ref()).map_err(failed)? == 0 {
            return Ok(None);
        }
        let mut key = [0];
        match rustix::io::read(stdin, &mut key).map_err(failed)? {
            0 => Ok(None),
            _ => Ok(Some(key[0])),
        }
    }
}

impl Drop for Keys {
    fn drop(&mut self) {
        // The terminal may be gone.
        let _ = termios::tcsetattr(rustix::stdio::stdin(), OptionalActions::Now, &self.before);
    }
}
