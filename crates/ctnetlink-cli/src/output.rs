//! How commands print.

use std::fmt::Write as _;
use std::io::{self, BufWriter, IsTerminal, StdoutLock, Write};
use std::time::{Duration, SystemTime};

use serde_json::Value;

use crate::failure::{Done, Failure};

/// Standard output, for much.
pub(crate) fn stdout() -> BufWriter<StdoutLock<'static>> {
    BufWriter::with_capacity(64 * 1024, io::stdout().lock())
}

/// Prints text, with a newline if it has none at its end.
pub(crate) fn print(text: &str) -> Result<Done, Failure> {
    let mut out = stdout();
    out.write_all(text.as_bytes())?;
    if !text.ends_with('\n') {
        out.write_all(b"\n")?;
    }
    out.flush()?;
    Ok(Done::OK)
}

/// Prints one JSON value, on one line.
pub(crate) fn print_json(value: &Value) -> Result<Done, Failure> {
    print(&value.to_string())
}

pub(crate) fn note(text: impl std::fmt::Display) {
    eprintln!("note: {text}");
}

/// Replaces the line at the bottom of the terminal; an empty text removes it.
pub(crate) fn progress(text: &str) {
    let mut stderr = io::stderr().lock();
    // A terminal that is gone is not a reason to stop the work.
    let _ = write!(stderr, "\r\x1b[K{text}").and_then(|()| stderr.flush());
}

/// Whether progress is shown: on a terminal, if the output is for people.
pub(crate) fn shows_progress(json: bool) -> bool {
    !json && io::stderr().is_terminal()
}

pub(crate) fn clear_progress() {
    if io::stderr().is_terminal() {
        progress("");
    }
}

/// Asks on a terminal; anything but yes is no.
pub(crate) fn confirmed(question: &str) -> bool {
    eprint!("{question} [y/N] ");
    let mut answer = String::new();
    io::stdin().read_line(&mut answer).is_ok() && matches!(answer.trim(), "y" | "Y" | "yes")
}

/// Whether somebody can be asked.
pub(crate) fn is_interactive() -> bool {
    io::stdin().is_terminal() && io::stderr().is_terminal()
}

/// The time of day, UTC.
pub(crate) fn clock() -> String {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let second = now.as_secs() % 86_400;
    format!("{:02}:{:02}:{:02}Z", second / 3600, second / 60 % 60, second % 60)
}

/// A duration in the largest unit that fits, `3 min`.
pub(crate) fn rough(duration: Duration) -> String {
    match duration.as_secs() {
        seconds @ 0..120 => format!("{seconds} s"),
        seconds @ 120..7200 => format!("{} min", seconds / 60),
        seconds @ 7200..172_800 => format!("{} h", seconds / 3600),
        seconds => format!("{} days", seconds / 86_400),
    }
}

/// Draws something again and again; off a terminal, one block after another. It ends only with an
/// error: the reader has gone, or something failed.
pub(crate) fn watch(
    every: Duration,
    mut frame: impl FnMut() -> Result<String, Failure>,
) -> Result<Done, Failure> {
    let redraws = io::stdout().is_terminal();
    loop {
        let text = frame()?;
        match redraws {
            true => draw(&text)?,
            false => print(&text).map(drop)?,
        }
        std::thread::sleep(every);
    }
}

/// A screen over the one before, without flicker. What does not fit is cut at the end: the verdict is
/// at the top.
pub(crate) fn redrawn(text: &str) -> String {
    let rows = rustix::termios::tcgetwinsize(rustix::stdio::stdout()).map_or(0, |size| size.ws_row);
    let rows = if rows == 0 { usize::MAX } else { rows.into() };
    let count = text.lines().count();
    let mut screen = "\x1b[H".to_owned();
    for (row, line) in text.lines().take(rows).enumerate() {
        let more = row + 1 == rows && count > rows;
        let line = if more { " ... (more: without --watch)" } else { line };
        let end = if row + 1 == rows.min(count) { "" } else { "\r\n" };
        let _ = write!(screen, "{line}\x1b[K{end}");
    }
    screen + "\x1b[J"
}

/// Draws a screen.
pub(crate) fn draw(text: &str) -> Result<(), Failure> {
    let mut out = stdout();
    out.write_all(redrawn(text).as_bytes())?;
    Ok(out.flush()?)
}
