//! One reconciliation of a Kubernetes-like table, and the storm: ours against a bare loop, against
//! kube-proxy's own code, the netlink library below it, and `conntrack -D`.
//!
//! `make bench-peers` builds and installs what this needs and runs it at three sizes. By hand:
//! `cargo bench --bench reconcile [-- --entries N[,M...] --rounds R --changes C --without-peers
//! --no-trace --raise-limit --svg FILE]`; 100,000 entries (90 % TCP, 10 % UDP of which one in ten is
//! stale) and 20 endpoint changes by default, in a private network namespace. Up to 200,000 entries
//! everybody has 9 interleaved rounds; beyond, the bare loop and ours have 3, the slow ones 1.
//!
//! Everybody but the bare loop is a process of its own that reads the same Services and
//! EndpointSlices, walks both families at once (but `conntrack -D`, which is started once for each
//! dead backend and told of it), says how long it took and what it used, and is audited: after each
//! run the table is compared with its recipe and restored. The bare loop receives the same filtered
//! dumps as ours, looks at nothing, and sends deletes that were made beforehand. Nobody is told what
//! was before, so a quarter of the stale entries, those of a removed service, stays.
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

use std::process::Command;
use std::time::{Duration, Instant};

use contender::{Contender, Cost, Faults};
use ctnetlink::{Conntrack, DesiredState, Profile, Reason, Reconciler};
use ctnetlink_benches::{Raised, argument, flag, median, text_argument};
use ctnetlink_testbed::fill::Entry;
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
    faults: Faults,
    costs: Vec<Cost>,
    requests: Option<Requests>,
    audit: Recount,
}

impl Row {
    fn new(name: &str, faults: Faults) -> Row {
        let (costs, audit) = (Vec::new(), Recount::default());
        Row { name: name.into(), faults, costs, requests: None, audit }
    }

    fn note(&mut self, cost: Cost, audit: Recount) {
        self.costs.push(cost);
        self.note_audit(audit);
    }

    fn note_audit(&mut self, audit: Recount) {
        self.audit.healthy_lost = self.audit.healthy_lost.max(audit.healthy_lost);
        self.audit.stale_left = self.audit.stale_left.max(audit.stale_left);
    }

    fn wall(&self) -> f64 {
        median(self.costs.iter().map(|cost| cost.wall).collect())
    }

    /// The median of the ratios of the rounds both have taken part in.
    fn ratio_to(&self, other: &Row, figure: fn(&Cost) -> f64) -> f64 {
        let pairs = self.costs.iter().zip(&other.costs);
        median(pairs.map(|(mine, theirs)| figure(mine) / figure(theirs)).collect())
    }

    fn peak_kib(&self) -> u64 {
        self.costs.iter().map(|cost| cost.peak_kib).max().unwrap_or(0)
    }

    fn print(&self, base: Option<&Row>) {
        let cpu = median(self.costs.iter().map(|cost| cost.cpu).collect());
        let ratio =
            |figure| base.map_or(String::new(), |b| format!("{:.2}", self.ratio_to(b, figure)));
        let (sends, sockets) = match self.requests {
            Some(Requests { sends, sockets }) => (sends.to_string(), sockets.to_string()),
            None => (String::new(), String::new()),
        };
        println!(
            "| {} | {} | {} | {} | {} | {} | {} | {sends} | {sockets} | {} | {} |",
            self.name,
            self.costs.len(),
            seconds(self.wall()),
            ratio(|cost| cost.wall),
            seconds(cpu),
            ratio(|cost| cost.cpu),
            memory(self.peak_kib()),
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

/// Puts everything back, and says what had been there of what somebody was told of.
fn restore(table: &KubeTable) -> Recount {
    let audit = table.restore().unwrap();
    let unknown = count(table, |_, fate| fate == Fate::Stale(Reason::FrontendRemoved));
    Recount { stale_left: audit.stale_left.checked_sub(unknown).unwrap(), ..audit }
}

fn count(table: &KubeTable, is_one: impl Fn(&Entry, Fate) -> bool) -> u64 {
    // All of interest are UDP.
    let all = (0..table.entries).step_by(10).map(|i| table.entry(i));
    all.filter(|(entry, fate)| is_one(entry, *fate)).count() as u64
}

/// What a rule with these faults makes of the table: healthy entries lost, stale ones left.
fn expected(table: &KubeTable, faults: Faults) -> (u64, u64) {
    let port_changed = |_: &Entry, fate| fate == Fate::Stale(Reason::BackendPortChanged);
    let other_port = |entry: &Entry, _| entry.frontend.port() == 9153;
    match faults {
        Faults::None => (0, 0),
        Faults::BackendPort => (0, count(table, port_changed)),
        Faults::AllPorts => (count(table, other_port), count(table, port_changed)),
    }
}

fn measure(ct: &Conntrack, table: &KubeTable, rounds: u32, contenders: &mut [Contender]) -> Size {
    let state = State::of(table);
    let floors = ["bare loop, one pass", "bare loop, two passes"];
    let mut floors = floors.map(|name| Row::new(name, Faults::None));
    let mut rows: Vec<_> = contenders.iter().map(|c| Row::new(&c.name, c.faults)).collect();
    let is_small = table.entries <= SMALL;
    for round in 0..rounds {
        for (row, passes) in floors.iter_mut().zip(1..) {
            let cost = Floor::prepare(ct, &state).run(passes);
            row.note(cost, restore(table));
        }
        for (contender, row) in contenders.iter_mut().zip(&mut rows) {
            let takes_part = round == 0 || is_small || contender.is_ours;
            if takes_part && table.entries <= contender.up_to {
                let cost = contender.clean(&state).cost;
                row.note(cost, restore(table));
            }
            if !is_small && !contender.is_ours {
                contender.rest();
            }
        }
    }
    for (contender, row) in contenders.iter_mut().zip(&mut rows) {
        if table.entries <= LARGE.min(contender.up_to) && !flag("--no-trace") {
            row.requests = Some(contender.requests(&state));
            row.note_audit(restore(table));
        }
        contender.rest();
    }
    rows.retain(|row| !row.costs.is_empty());
    let size = Size { entries: table.entries, rows: floors.into_iter().chain(rows).collect() };
    for row in &size.rows {
        let audit = (row.audit.healthy_lost, row.audit.stale_left);
        assert_eq!(audit, expected(table, row.faults), "{}: healthy lost, stale left", row.name);
    }
    size
}

impl Size {
    fn print(&self) {
        let read = |file: &str| std::fs::read_to_string(file).unwrap_or_default();
        println!(
            "\n{} entries; Linux {}, {} CPUs, {} hash buckets\n",
            self.entries,
            read("/proc/sys/kernel/osrelease").trim(),
            std::thread::available_parallelism().map_or(0, usize::from),
            read("/proc/sys/net/netfilter/nf_conntrack_buckets").trim()
        );
        println!(
            "| who | rounds | wall | ratio | CPU | ratio | peak memory | datagrams sent | sockets \
             | healthy lost | stale left |"
        );
        println!("|{}", " --- |".repeat(11));
        let [floor_one, floor_two, one, two, others @ ..] = &self.rows[..] else { return };
        floor_one.print(None);
        floor_two.print(None);
        one.print(Some(floor_one));
        two.print(Some(floor_two));
        others.iter().for_each(|row| row.print(Some(one)));
        println!(
            "\nratios: ours to the bare loop of as many passes, the others to ours in one pass"
        );
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
        let title =
            |what| format!("One reconciliation of {millions} million entries, 1 % stale: {what}");
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
        assert!(report.succeeded(), "{report}");
        assert_eq!(report.families[0].pushdown, "ip and udp and orig dst port 53");
        let audit = restore(table);
        assert_eq!((audit.healthy_lost, audit.stale_left), (0, 0));
        elapsed
    };
    let (mut few, mut many) = (Vec::new(), Vec::new());
    for round in 0..rounds {
        // Who is first takes turns.
        if round % 2 == 0 {
            few.push(run(&few_services));
        }
        many.push(run(&many_services));
        if round % 2 == 1 {
            few.push(run(&few_services));
        }
    }
    let ratios = many.iter().zip(&few).map(|(many, few)| many / few).collect();
    println!(
        "\n{} UDP services {}; and 10,000 more of ten endpoints {}: {:.3} times",
        few_services.services().len(),
        seconds(median(few)),
        seconds(median(many)),
        median(ratios)
    );
}

fn storms(table: &KubeTable, changes: u32, contenders: &mut [Contender]) {
    for (how, apart) in [("each one run, back to back", 0), ("one a second", 1)] {
        println!(
            "\n{} entries, {changes} endpoint changes of one UDP service, {how}\n",
            table.entries
        );
        println!(
            "| who | CPU | ratio to ours | wall of the runs | runs | of them silent | peak memory | done after the last change |"
        );
        println!("|{}", " --- |".repeat(8));
        let mut ours = None;
        for contender in contenders.iter_mut() {
            let outcome = storm::storm(contender, table, changes, Duration::from_secs(apart));
            contender.rest();
            let cost = outcome.cost;
            let ours = *ours.get_or_insert(cost.cpu);
            println!(
                "| {} | {} | {:.1} | {} | {} | {} | {} | {} |",
                contender.name,
                seconds(cost.cpu),
                cost.cpu / ours,
                seconds(cost.wall),
                outcome.runs,
                outcome.silent,
                memory(cost.peak_kib),
                if apart == 0 { String::new() } else { seconds(outcome.behind) }
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
    let needed = [("strace", "--no-trace"), ("conntrack", "--without-peers")];
    for (program, _) in needed.into_iter().filter(|(_, without)| !flag(without)) {
        let found = Command::new(program).arg("--version").output();
        assert!(found.is_ok(), "{program} is missing; `make bench-peers` installs it");
    }
    let raised = Raised::for_entries(sizes[sizes.len() - 1]);
    netns::enter_private().unwrap();
    let ct = Conntrack::open().unwrap();

    let mut contenders = vec![
        Contender::ours("ours, one pass", ours::ONE_PASS),
        Contender::ours("ours, with re-check", ours::RECHECK),
    ];
    let mut stormers = vec![Contender::ours("ours", ours::DAEMON)];
    if !flag("--without-peers") {
        contenders.extend([
            Contender::kube_proxy(NEWEST),
            // Both make one filter for each stale entry, and ask all of them for each entry.
            Contender::old_kube_proxy("v1.32.13", Faults::BackendPort, u32::MAX),
            Contender::old_kube_proxy("v1.32.0", Faults::AllPorts, LARGE),
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
        size.print();
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
