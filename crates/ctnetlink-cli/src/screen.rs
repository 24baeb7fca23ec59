//! The text of a diagnosis: 80 columns, the verdict first, no colour needed.

use std::fmt::Write;

use ctnetlink::Protocol;
use ctnetlink::diagnose::{Diagnosis, Finding, Grouped, Level, Setting, Summary, Top, TopRow};

use crate::output::{clock, rough};

const WIDTH: usize = 80;
const BAR: u32 = 30;
/// Columns of one of two tables beside each other.
const HALF: usize = 39;

/// Other counters and limits that lose packets and look like conntrack, with the command for each.
pub(crate) const NOT_CHECKED: [&str; 5] = [
    "cloud allowance: ethtool -S eth0 | grep conntrack_allowance (ENA)",
    "Cilium's own tables: cilium-dbg bpf ct list global | wc -l",
    "reverse path filter: nstat -az TcpExtIPReversePathFilter",
    "listen queues: nstat -az TcpExtListenOverflows TcpExtListenDrops",
    "kube-proxy: kubectl top pod -n kube-system -l k8s-app=kube-proxy",
];

/// The whole screen.
pub(crate) fn diagnosis(found: &Diagnosis, namespace: &str) -> String {
    let mut text = String::new();
    header(&mut text, found);
    wrapped(&mut text, &verdict(found, namespace), 1);
    state(&mut text, found);
    if let Some(summary) = found.summary.as_ref().filter(|summary| summary.entries > 0) {
        groups(&mut text, summary);
        tables(
            &mut text,
            ("TOP FRONTENDS", &summary.frontends),
            ("TOP SOURCES", &summary.sources),
            summary.entries,
        );
    }
    findings(&mut text, found, namespace);
    if !found.unseen.is_empty() {
        line(&mut text, " NOT SEEN");
        for unseen in &found.unseen {
            wrapped(&mut text, &format!("{}: {}", unseen.what, unseen.why), 3);
        }
    }
    if found.level == Some(Level::Ok) {
        line(&mut text, " NOT CHECKED HERE");
        for other in NOT_CHECKED {
            line(&mut text, &format!("   {other}"));
        }
    }
    text
}

fn line(text: &mut String, words: &str) {
    text.push_str(words.trim_end());
    text.push('\n');
}

pub(crate) fn header(text: &mut String, found: &Diagnosis) {
    let kernel = found.kernel.as_deref().unwrap_or("?");
    let which = match found.is_host {
        Some(true) => "host namespace",
        Some(false) => "a namespace of its own",
        None => "unknown namespace",
    };
    let left = format!("conntrack on {}  Linux {kernel}  {which}", node());
    let clock = clock();
    let room = WIDTH.saturating_sub(left.chars().count() + clock.len());
    line(text, &format!("{left}{:1$}{clock}", "", room.max(1)));
}

/// The name of this machine.
pub(crate) fn node() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// Whether everything was seen that can be wrong.
pub(crate) fn is_complete(found: &Diagnosis) -> bool {
    let counted = found.losses.is_some() && found.pressure.is_some();
    found.summary.is_some() && counted && found.limits.get(Setting::Buckets).is_some()
}

/// One line that says it. Outside the host's namespace it never says that all is well.
pub(crate) fn verdict(found: &Diagnosis, namespace: &str) -> String {
    let Some(level) = found.level else {
        return "COULD NOT LOOK  see NOT SEEN below".into();
    };
    if let Some(delta) = found.delta.as_ref().filter(|delta| delta.losses.total() > 0) {
        let losses = delta.losses;
        let rate = delta.per_second(losses.total());
        return format!(
            "CRITICAL  packets are being lost: {rate:.0}/s  (full {}, clash {}, chain {})",
            losses.full, losses.clash, losses.chain
        );
    }
    let worst = found.findings.first().filter(|finding| finding.level >= Level::Warning);
    if let Some(worst) = worst {
        let level = level.to_string().to_uppercase();
        return format!("{level}  {}", worst.says);
    }
    let before = found.losses.map_or(0, |losses| losses.total());
    let lost = match (found.delta.is_some(), found.losses.is_some(), before) {
        (true, _, 0) => "no packet is being lost".to_owned(),
        (true, _, lost) => format!("no packet is being lost now; {} were before", Grouped(lost)),
        (false, true, _) => "no packet was lost".to_owned(),
        (false, false, _) => "lost packets could not be seen".to_owned(),
    };
    let words = match (found.is_host, is_complete(found)) {
        (Some(true), true) => "OK",
        (Some(true), false) => "OK AS FAR AS SEEN",
        (_, true) => "NOTHING FOUND IN THIS NAMESPACE",
        (_, false) => "NOTHING FOUND AS FAR AS SEEN",
    };
    match (found.is_host, namespace) {
        (Some(true), _) => format!("{words}  {lost}"),
        (_, " --host") => format!(
            "{words}  {lost}. Process 1 is not in the host's namespace: in a container, --host needs \
             hostPID"
        ),
        _ => format!("{words}  {lost}; the host's: --host"),
    }
}

/// Entries, growth, what a full table would do.
pub(crate) fn state(text: &mut String, found: &Diagnosis) {
    let Some(pressure) = &found.pressure else { return };
    let entries = Grouped(pressure.entries.into());
    match pressure.limit {
        Some(0) => line(text, &format!(" entries  {entries}, without a limit")),
        Some(limit) => {
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to 30")]
            let full = (pressure.usage().min(1.0) * f64::from(BAR)).round() as usize;
            let bar = "█".repeat(full) + &"░".repeat(BAR as usize - full);
            let usage = pressure.usage() * 100.0;
            line(
                text,
                &format!(" entries  {entries} / {}  {bar} {usage:.0} %", Grouped(limit.into())),
            );
        }
        None => line(text, &format!(" entries  {entries}, the limit is not known")),
    }
    if let Some(full) = &found.table_full {
        wrapped(text, &format!("log      {} ago: {}", rough(full.ago), full.text), 1);
    }
    let mut growth = match pressure.growth {
        Some(growth) if growth.significant => format!("{:+.0}/s", growth.per_second),
        Some(growth) => match growth.error {
            Some(error) => format!("steady ({:+.0} ± {error:.0}/s)", growth.per_second),
            None => format!("{:+.0}/s, from two looks", growth.per_second),
        },
        None => "not known from one look".into(),
    };
    if let Some(left) = pressure.time_to_full() {
        let _ = write!(growth, ", full in {}", rough(left));
    }
    let churn = found.summary.as_ref().map(|summary| summary.churn);
    let rate = |name, rate: Option<f64>| rate.map(|rate| format!("   {name} {rate:.0}/s"));
    let churn = churn.and_then(|churn| {
        let parts = [rate("udp new", churn.udp), rate("tcp closed", churn.tcp_closed)];
        Some(parts.into_iter().flatten().collect::<String>()).filter(|text| !text.is_empty())
    });
    line(text, &format!(" growth   {growth}{}", churn.unwrap_or_default()));
    if let (Some(evictable), Some(loss)) = (pressure.evictable, pressure.loss_when_full()) {
        let chain = found.chain_length_mean().map(|mean| format!("   chains {mean:.1} long"));
        line(
            text,
            &format!(
                " {}  {:.1} % of new flows lost   evictable {}{}",
                if pressure.usage() < 0.75 { "if full " } else { "when full" },
                loss * 100.0,
                Grouped(evictable),
                chain.unwrap_or_default()
            ),
        );
    }
}

/// Entries by protocol and state, the most first, in two lines.
fn groups(text: &mut String, summary: &Summary) {
    let mut by_name: Vec<(String, u64)> = Vec::new();
    for group in &summary.groups {
        let name = format!("{} {}", group.protocol, group.state);
        match by_name.iter_mut().find(|(known, _)| *known == name) {
            Some((_, entries)) => *entries += group.entries,
            None => by_name.push((name, group.entries)),
        }
    }
    by_name.sort_by_key(|(_, entries)| std::cmp::Reverse(*entries));
    let mut words: Vec<_> =
        by_name.iter().map(|(name, entries)| format!("{name} {}", Grouped(*entries))).collect();
    if summary.dns > 0 {
        words.push(format!("(dns {})", Grouped(summary.dns)));
    }
    let mut lines: Vec<String> = Vec::new();
    for word in words {
        match lines.last_mut() {
            Some(last) if char_count(last) + char_count(&word) + 3 <= WIDTH => {
                *last = format!("{last}   {word}");
            }
            _ => lines.push(format!(" {word}")),
        }
    }
    let shown = lines.len().min(3);
    lines[..shown].iter().for_each(|words| line(text, words));
}

fn char_count(text: &str) -> usize {
    text.chars().count()
}

/// Two tables beside each other.
pub(crate) fn tables(text: &mut String, left: (&str, &Top), right: (&str, &Top), all: u64) {
    let (left, right) = (table(left.0, left.1, all), table(right.0, right.1, all));
    for row in 0..left.len().max(right.len()) {
        let cell = |rows: &Vec<String>| rows.get(row).cloned().unwrap_or_default();
        let (left, right) = (cell(&left), cell(&right));
        let pad = HALF.saturating_sub(char_count(&left));
        line(text, &format!(" {left}{:pad$} {right}", ""));
    }
}

fn table(title: &str, top: &Top, all: u64) -> Vec<String> {
    let mut rows = vec![format!("{title:<20}{:>11} {:>6}", "entries", "share")];
    for row in &top.rows {
        let entries = entries(row);
        rows.push(format!(
            "{:<20}{entries:>11} {:>6}",
            clipped(&row.to_string(), 20 - usize::from(entries.len() > 10)),
            share(row.at_most, all)
        ));
    }
    rows
}

/// The entries of a row. A count that is not exact is an upper bound.
pub(crate) fn entries(row: &TopRow) -> String {
    let mark = if row.at_least == row.at_most { "" } else { "≤" };
    format!("{mark}{}", Grouped(row.at_most))
}

/// A part of the whole, in percent.
pub(crate) fn share(part: u64, all: u64) -> String {
    #[allow(clippy::cast_precision_loss, reason = "no decimal is shown")]
    let percent = part as f64 * 100.0 / all.max(1) as f64;
    format!("{percent:.0} %")
}

/// Cuts text that does not fit in its middle: the end of an address and the port tell most.
pub(crate) fn clipped(text: &str, width: usize) -> String {
    let length = char_count(text);
    if length <= width {
        return text.to_owned();
    }
    let first = width.saturating_sub(1) / 3;
    let last = width.saturating_sub(1) - first;
    let start: String = text.chars().take(first).collect();
    let end: String = text.chars().skip(length - last).collect();
    format!("{start}…{end}")
}

fn findings(text: &mut String, found: &Diagnosis, namespace: &str) {
    let shown = &found.findings;
    if shown.is_empty() {
        return;
    }
    line(text, " FINDINGS");
    for finding in shown {
        let mark = match finding.level {
            Level::Critical => 'C',
            Level::Warning => 'W',
            _ => 'i',
        };
        wrapped(text, &format!("{mark} {:<18} {}", finding.id, finding.says), 1);
    }
    let first = shown.iter().find_map(|finding| Some((finding, finding.now.as_ref()?)));
    if let Some((finding, command)) = first {
        line(text, " NOW");
        let command = command.replacen("ctnetlink", &format!("ctnetlink{namespace}"), 1);
        line(text, &format!("   {command}{}", hint(found, finding)));
    }
    let remedies: Vec<_> = shown.iter().filter(|f| f.level >= Level::Warning).collect();
    if !remedies.is_empty() {
        line(text, " THEN");
        for finding in remedies {
            wrapped(text, &format!("{}: {}", finding.id, finding.remedy), 3);
        }
    }
}

/// How many entries the first aid concerns.
fn hint(found: &Diagnosis, finding: &Finding) -> String {
    let is_delete = finding.now.as_ref().is_some_and(|now| now.contains(" delete "));
    let summary = found.summary.as_ref().filter(|_| is_delete);
    summary.map_or(String::new(), |summary| {
        let entries = summary.in_state(Protocol::TCP, "TIME_WAIT");
        format!("   ({} entries; --dry-run first)", Grouped(entries))
    })
}

/// Text in lines of at most 80 columns, those after the first indented by two more.
fn wrapped(text: &mut String, words: &str, indent: usize) {
    let mut current = " ".repeat(indent);
    let mut is_first = true;
    for word in words.split(' ') {
        let empty = current.trim().is_empty();
        if !empty && char_count(&current) + 1 + char_count(word) > WIDTH {
            line(text, &current);
            is_first = false;
            current = " ".repeat(indent + 2);
        }
        if !current.trim().is_empty() || (is_first && word.is_empty()) {
            current.push(' ');
        }
        current.push_str(word);
    }
    line(text, &current);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_fit_the_screen() {
        let mut text = String::new();
        wrapped(&mut text, &"word ".repeat(40), 3);
        assert!(text.lines().count() > 2);
        for line in text.lines() {
            assert!(char_count(line) <= WIDTH && line.starts_with("   "), "{line:?}");
        }
        assert_eq!(clipped("10.96.118.4:8080/tcp", 13), "10.9…8080/tcp");
    }
}
