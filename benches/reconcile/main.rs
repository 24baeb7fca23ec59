//! One reconciliation of a Kubernetes-like table, and the storm: ours against a bare loop, against
//! kube-proxy's own code, the netlink library below it, and `conntrack -D`.
//!
//! `make bench-peers` builds and installs what this needs and runs it at three sizes. By hand:
//! `cargo bench --bench reconcile [-- --entries N[,M...] --rounds R --changes C --without-peers
//! --raise-limit --svg FILE]`; 100,000 entries (90 % TCP, 10 % UDP of which one in ten is stale) and
//! 20 endpoint changes by default, in a private network namespace. Up to 200,000 entries everybody
//! has 9 interleaved rounds; beyond, the bare loop and ours have 3, the slow ones 1.
//!
//! Everybody but the bare loop is a process of its own that reads the same Services and
//! EndpointSlices, says how long it took and what it used, and is audited: after each run the table
//! is compared with its recipe and restored. The bare loop receives the same filtered dumps as ours,
//! looks at nothing, and sends deletes that were made beforehand. Nobody is told what was before, so
//! entries of a removed service stay.
#![allow(clippy::unwrap_used, reason = "a measurement that cannot be made should stop")]

mod contender;
mod floor;
mod ours;
mod picture;
#[path = "../peers/program.rs"]
mod program;
mod requests;
mod state;
mod storm;

use std::time::{Duration, Instant};

use contender::{Contender, Cost};
use ctnetlink::{Conntrack, DesiredState, Profile, Reason, Reconciler};
use ctnetlink_benches::{Raised, argument, flag, median, text_argument};
use ctnetlink_testbed::kube::{Fate, KubeTable, Recount};
use ctnetlink_testbed::netns;
use floor::Floor;
use picture::Bar;
use requests::Requests;
use state::State;

const NEWEST: &str = "v1.37.2";
/// Up to here everything is quick.
const SMALL: u32 = 200_000;
/// Beyond, no storm and no system calls are counted.
const LARGE: u32 = 1_000_000;

/// Who has run at a size, and what of it is shown.
struct Row {
    name: String,
    is_exact: bool,
    costs: Vec<Cost>,
    requests: Option<Requests>,
    audit: Recount,
}

impl Row {
    fn new(name: &str, is_exact: bool) -> Row {
        let (costs, audit) = (Vec::new(), Recount::default());
        Row { name: name.into(), is_exact, costs, requests: None, audit }
    }

    fn note(&mut self, cost: Cost, audit: Recount) {
        self.costs.push(cost);
        self.audit.healthy_lost = self.audit.healthy_lost.max(audit.healthy_lost);
        self.audit.stale_left = self.audit.stale_left.max(audit.stale_left);
    }

    fn wall(&self) -> f64 {
        median(self.costs.iter().map(|cost| cost.wall).collect())
    }

    /// The median of the ratios of the rounds both have taken part in.
    fn ratio_to(&self, other: &Row) -> f64 {
        let pairs = self.costs.iter().zip(&other.costs);
        median(pairs.map(|(mine, theirs)| mine.wall / theirs.wall).collect())
    }

    fn peak_kib(&self) -> u64 {
        self.costs.iter().map(|cost| cost.peak_kib).max().unwrap_or(0)
    }

    fn print(&self, ratio: &str) {
        let cpu = median(self.costs.iter().map(|cost| cost.cpu).collect());
        let peak = memory(self.peak_kib());
        let (sends, sockets) = match self.requests {
            Some(Requests { sends, sockets }) => (sends.to_string(), sockets.to_string()),
            None => (String::new(), String::new()),
        };
        println!(
            "| {} | {} | {ratio} | {} | {peak} | {sends} | {sockets} | {} | {} |",
            self.name,
            seconds(self.wall()),
            seconds(cpu),
            self.audit.healthy_lost,
            self.audit.stale_left
        );
    }
}

fn seconds(seconds: f64) -> String {
    match seconds {
        ..1.0 => format!("{:.1} ms", seconds * 1e3),
        ..100.0 => format!("{seconds:.2} s"),
        _ => format!("{seconds:.0} s"),
    }
}

fn memory(kib: u64) -> String {
    match kib {
        0 => String::new(),
        1..10_240 => format!("{kib} KiB"),
        _ => format!("{} MiB", kib / 1024),
    }
}

/// The contenders of a size in the order they are shown, the bare loop's two first.
struct Size {
    entries: u32,
    rows: Vec<Row>,
}

fn measure(ct: &Conntrack, table: &KubeTable, rounds: u32, contenders: &mut [Contender]) -> Size {
    let state = State::of(table);
    let restore = || {
        let audit = table.restore().unwrap();
        // Those of a removed service, of which nobody is told.
        let unknown = |i: &u32| table.entry(*i).1 == Fate::Stale(Reason::FrontendRemoved);
        let unknown = (0..table.entries).step_by(10).filter(unknown).count() as u64;
        Recount { stale_left: audit.stale_left - unknown, ..audit }
    };
    let mut floors =
        ["bare loop, one pass", "bare loop, two passes"].map(|name| Row::new(name, true));
    let mut rows: Vec<_> = contenders.iter().map(|c| Row::new(&c.name, c.is_exact)).collect();
    for round in 0..rounds {
        for (row, passes) in floors.iter_mut().zip(1..) {
            let cost = Floor::prepare(ct, &state).run(passes);
            row.note(cost, restore());
        }
        for (contender, row) in contenders.iter_mut().zip(&mut rows) {
            let takes_part = round == 0 || table.entries <= SMALL || contender.is_ours;
            if takes_part && table.entries <= contender.up_to {
                let cost = contender.clean(&state).cost;
                row.note(cost, restore());
            }
        }
    }
    if table.entries <= LARGE {
        for (contender, row) in contenders.iter_mut().zip(&mut rows) {
            if table.entries <= contender.up_to {
                row.requests = Some(contender.requests(&state));
                table.restore().unwrap();
            }
        }
    }
    rows.retain(|row| !row.costs.is_empty());
    Size { entries: table.entries, rows: floors.into_iter().chain(rows).collect() }
}

impl Size {
    fn print(&self, rounds: u32) {
        let read = |file: &str| std::fs::read_to_string(file).unwrap_or_default();
        println!(
            "\n{} entries, {rounds} rounds of the bare loop and ours; Linux {}, {} CPUs, {} buckets\n",
            self.entries,
            read("/proc/sys/kernel/osrelease").trim(),
            std::thread::available_parallelism().map_or(0, usize::from),
            read("/proc/sys/net/netfilter/nf_conntrack_buckets").trim()
        );
        println!(
            "| who | wall | ratio | CPU | peak memory | datagrams sent | sockets | healthy lost | stale left |"
        );
        println!("| --- | --- | --- | --- | --- | --- | --- | --- | --- |");
        let [floor_one, floor_two, one, two, ..] = &self.rows[..] else { return };
        floor_one.print("");
        floor_two.print("");
        one.print(&format!("{:.2} times the bare loop", one.ratio_to(floor_one)));
        two.print(&format!("{:.2} times the bare loop", two.ratio_to(floor_two)));
        for row in &self.rows[4..] {
            row.print(&format!("{:.1} times ours", row.ratio_to(one)));
        }
    }

    /// Whoever has the right rule leaves no stale entry it was told of, and takes no healthy one.
    fn check(&self) {
        for row in self.rows.iter().filter(|row| row.is_exact) {
            let left = (row.audit.healthy_lost, row.audit.stale_left);
            assert_eq!(left, (0, 0), "{}: healthy lost, stale left", row.name);
        }
    }

    fn bars(&self, figure: impl Fn(&Row) -> (f64, String)) -> Vec<Bar> {
        let rows = self.rows.iter().filter(|row| !row.name.contains("two passes"));
        rows.filter_map(|row| {
            let colour = match &row.name {
                name if name.starts_with("bare") => "#888",
                name if name.starts_with("ours") => "#2a7",
                _ => "#c63",
            };
            let (value, text) = figure(row);
            (value > 0.0).then(|| Bar { name: row.name.clone(), value, text, colour })
        })
        .collect()
    }

    fn picture(&self) -> String {
        let millions = f64::from(self.entries) / 1e6;
        let title = |what| format!("One reconciliation of {millions} million entries: {what}");
        picture::svg(&[
            (title("wall time"), self.bars(|row| (row.wall(), seconds(row.wall())))),
            (
                title("peak memory"),
                self.bars(|row| {
                    let mib = row.peak_kib() as f64 / 1024.0;
                    (mib, format!("{mib:.1} MiB"))
                }),
            ),
        ])
    }
}

/// How the time grows with the table.
fn print_exponents(first: &Size, last: &Size) {
    let growth = (f64::from(last.entries) / f64::from(first.entries)).ln();
    println!(
        "\nfrom {} to {} entries the time grows with the exponent",
        first.entries, last.entries
    );
    for (small, large) in first.rows.iter().zip(&last.rows).take(4) {
        println!("  {:<24} {:.2}", small.name, (large.wall() / small.wall()).ln() / growth);
    }
}

/// A few services against ten thousand, on the same table with the same pushdown.
fn services(ct: &Conntrack, table: &KubeTable, rounds: u32) {
    let few_services = State::of(table).desired;
    let many_services = state::many_services(&few_services, 10_000);
    let run = |desired: &DesiredState| {
        let started = Instant::now();
        let mut reconciler = Reconciler::new(Profile::Strict).recheck(None);
        let report = reconciler.run(ct, desired).unwrap();
        let elapsed = started.elapsed().as_secs_f64();
        assert_eq!(report.families[0].pushdown, "ip and udp and orig dst port 53");
        table.restore().unwrap();
        elapsed
    };
    let (mut few, mut many, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..rounds {
        few.push(run(&few_services));
        many.push(run(&many_services));
        ratios.push(many[many.len() - 1] / few[few.len() - 1]);
    }
    println!(
        "\n{} UDP services {}; and 10,000 more of ten endpoints {}: {:.3} times",
        few_services.services().len(),
        seconds(median(few)),
        seconds(median(many)),
        median(ratios)
    );
}

fn storms(table: &KubeTable, changes: u32, contenders: &mut [Contender]) {
    for (how, apart) in [("back to back", 0), ("one a second", 1)] {
        println!(
            "\n{} entries, {changes} endpoint changes of one UDP service, {how}\n",
            table.entries
        );
        println!(
            "| who | CPU | ratio | wall of the runs | runs | of them silent | behind | peak memory |"
        );
        println!("| --- | --- | --- | --- | --- | --- | --- | --- |");
        let mut ours = None;
        for contender in contenders.iter_mut() {
            let outcome = storm::storm(contender, table, changes, Duration::from_secs(apart));
            let cost = outcome.cost;
            let ours = *ours.get_or_insert(cost.cpu);
            println!(
                "| {} | {} | {:.1} times | {} | {} | {} | {} | {} |",
                contender.name,
                seconds(cost.cpu),
                cost.cpu / ours,
                seconds(cost.wall),
                outcome.runs,
                outcome.silent,
                if apart == 0 { String::new() } else { seconds(outcome.behind) },
                memory(cost.peak_kib)
            );
        }
    }
}

fn main() {
    if let Some(mode) = std::env::args().find(|argument| argument.starts_with("--ours-")) {
        return ours::serve(&mode);
    }
    let sizes = text_argument("--entries").unwrap_or_else(|| "100000".into());
    let mut sizes: Vec<u32> = sizes.split(',').map(|size| size.parse().unwrap()).collect();
    sizes.sort_unstable();
    let raised = Raised::for_entries(sizes[sizes.len() - 1]);
    netns::enter_private().unwrap();
    let ct = Conntrack::open().unwrap();

    let mut contenders = vec![
        Contender::ours("ours, one pass", ours::ONE_PASS),
        Contender::ours("ours, with re-check", ours::RECHECK),
    ];
    let mut stormers = vec![Contender::daemon()];
    if !flag("--without-peers") {
        contenders.extend([
            Contender::kube_proxy(NEWEST),
            Contender::old_kube_proxy("v1.32.13", u32::MAX),
            // One filter for each stale entry, asked for each entry of the table.
            Contender::old_kube_proxy("v1.32.0", LARGE),
            Contender::library(NEWEST),
            Contender::conntrack_tool(),
        ]);
        stormers.extend([
            Contender::kube_proxy(NEWEST),
            Contender::library(NEWEST),
            Contender::conntrack_tool(),
        ]);
    }
    let mut measured: Vec<Size> = Vec::new();
    for entries in sizes {
        let table = KubeTable { entries };
        if let Some(raised) = &raised {
            raised.buckets_for(entries);
        }
        table.fill_from(measured.last().map_or(0, |size| size.entries), |_| ()).unwrap();
        let rounds = argument("--rounds", if entries <= SMALL { 9 } else { 3 });
        let size = measure(&ct, &table, rounds, &mut contenders);
        size.print(rounds);
        size.check();
        measured.push(size);
        if entries <= LARGE {
            services(&ct, &table, rounds);
            storms(&table, argument("--changes", 20), &mut stormers);
        }
    }
    let (first, last) = (&measured[0], &measured[measured.len() - 1]);
    if last.entries > first.entries {
        print_exponents(first, last);
    }
    if let Some(file) = text_argument("--svg") {
        let shown = measured.iter().rfind(|size| size.entries <= LARGE).unwrap_or(first);
        std::fs::write(&file, shown.picture()).unwrap_or_else(|e| panic!("{file}: {e}"));
    }
    drop(raised);
}
