//! `stats`.

use std::fmt::Write;
use std::time::Instant;

use clap::Args;
use ctnetlink::diagnose::{Accumulator, Grouped, Losses, Statistics};
use serde_json::{Value, json};

use crate::failure::{Done, Failure};
use crate::list::interval;
use crate::options::Namespace;
use crate::output;

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// One line for each CPU, too
    #[arg(long)]
    per_cpu: bool,

    /// Print one JSON object
    #[arg(long)]
    json: bool,

    /// Show what is counted between two looks, by default every 2 s
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, require_equals = true, default_missing_value = "2")]
    watch: Option<f64>,
}

/// Names, values, and what they mean in a few words.
fn rows(statistics: &Statistics) -> [(&'static str, Option<u64>, &'static str); 10] {
    let s = statistics;
    [
        ("drop", s.drop, "packets: no entry could be made, or a clash was lost"),
        ("early_drop", s.early_drop, "entries evicted because the table was full"),
        ("insert_failed", s.insert_failed, "packets: clash lost, or chain too long"),
        ("chain_toolong", s.chain_toolong, "hash chain too long"),
        ("clash_resolve", s.clash_resolve, "clashes resolved: nothing was lost"),
        ("found", s.found, "NAT: wanted tuples that were taken"),
        ("invalid", s.invalid, "packets that could not be tracked"),
        ("error", s.error, "ICMP errors of no known connection"),
        ("insert", s.insert, "entries made over netlink or BPF"),
        ("search_restart", s.search_restart, "lookups restarted: harmless"),
    ]
}

pub(crate) fn run(namespace: &Namespace, arguments: &Arguments) -> Result<Done, Failure> {
    let ct = namespace.open()?;
    let (start, mut counters) = (Instant::now(), Accumulator::default());
    let mut look = |watched: bool| -> Result<String, Failure> {
        let cpus = ct.stats_per_cpu()?;
        let change = counters.add(start.elapsed(), &cpus);
        let (shown, losses) = match (&change, watched) {
            (Some(change), true) => (change.statistics, change.losses),
            _ => (*counters.total(), counters.losses()),
        };
        if arguments.json {
            return Ok(match change.as_ref().filter(|_| watched) {
                Some(change) => serde_json::to_string(change)?,
                None => json(&shown, losses, &cpus).to_string(),
            });
        }
        let mut text = String::new();
        let since = match (&change, watched) {
            (Some(change), true) => format!("in {:.1} s", change.elapsed.as_secs_f64()),
            _ => "since the namespace exists".into(),
        };
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "lost {}: {} packets (full {}, clash {}, chain {})",
            since,
            Grouped(losses.total()),
            Grouped(losses.full),
            Grouped(losses.clash),
            Grouped(losses.chain)
        );
        for (name, value, meaning) in rows(&shown) {
            let value = value.map_or("-".into(), |value| Grouped(value).to_string());
            let _ = writeln!(text, "{name:<16}{value:>14}  {meaning}");
        }
        if arguments.per_cpu {
            for cpu in &cpus {
                let mut one = Accumulator::default();
                one.add(start.elapsed(), std::slice::from_ref(cpu));
                let _ = write!(text, "cpu={:<6}", cpu.cpu);
                for (name, value, _) in rows(one.total()) {
                    if let Some(value) = value {
                        let _ = write!(text, " {name}={value}");
                    }
                }
                text.push('\n');
            }
        }
        Ok(text)
    };
    match arguments.watch {
        Some(seconds) => {
            let every = interval(seconds)?;
            look(true)?;
            std::thread::sleep(every);
            output::watch(every, || look(true))
        }
        None => output::print(&look(false)?),
    }
}

fn json(statistics: &Statistics, losses: Losses, cpus: &[ctnetlink::CpuStats]) -> Value {
    let each = cpus.iter().map(|cpu| {
        let mut one = Accumulator::default();
        one.add(std::time::Duration::ZERO, std::slice::from_ref(cpu));
        json!({ "cpu": cpu.cpu, "statistics": one.total(), "losses": one.losses() })
    });
    json!({ "statistics": statistics, "losses": losses, "cpus": each.collect::<Vec<_>>() })
}
