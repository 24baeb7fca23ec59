//! Who is measured, and what it costs them.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::program::Program;
use crate::requests::{self, Requests};
use crate::state::State;

/// What a piece of work took.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Cost {
    /// Seconds.
    pub(crate) wall: f64,
    /// Seconds of CPU, the kernel's on behalf of the process included.
    pub(crate) cpu: f64,
    /// Most memory the process has had until then, KiB; 0 where it was not looked at.
    pub(crate) peak_kib: u64,
}

impl Cost {
    /// Of work in this process.
    pub(crate) fn of(work: impl FnOnce()) -> Cost {
        let cpu = || {
            let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
            Duration::try_from(time).unwrap().as_secs_f64()
        };
        let (started, before) = (Instant::now(), cpu());
        work();
        Cost { wall: started.elapsed().as_secs_f64(), cpu: cpu() - before, peak_kib: 0 }
    }

    pub(crate) fn add(&mut self, more: Cost) {
        self.wall += more.wall;
        self.cpu += more.cpu;
        self.peak_kib = self.peak_kib.max(more.peak_kib);
    }
}

pub(crate) struct Contender {
    pub(crate) name: String,
    /// More entries than this are not put before it.
    pub(crate) up_to: u32,
    pub(crate) is_ours: bool,
    /// What it does wrong by its rule.
    pub(crate) faults: Faults,
    how: How,
}

/// What is wrong with the rule of a version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Faults {
    /// No healthy entry goes, no stale one stays.
    None,
    /// A backend's port is not looked at.
    BackendPort,
    /// No port is looked at.
    AllPorts,
}

type Start = Box<dyn Fn() -> Program>;

enum How {
    /// How it is started, and where it runs.
    Program(Start, Option<Program>),
    /// One `conntrack -D` for each dead backend of a frontend, which somebody else has to know.
    ConntrackTool,
}

/// What came of a run.
#[derive(Default)]
pub(crate) struct Run {
    pub(crate) cost: Cost,
    /// Sent nothing.
    pub(crate) silent: bool,
    /// Seconds until it wants to run again.
    pub(crate) due: Option<f64>,
}

impl Contender {
    fn new(name: impl Into<String>, how: How) -> Contender {
        let (up_to, faults) = (u32::MAX, Faults::None);
        Contender { name: name.into(), up_to, is_ours: false, faults, how }
    }

    fn program(name: impl Into<String>, start: impl Fn() -> Program + 'static) -> Contender {
        Contender::new(name, How::Program(Box::new(start), None))
    }

    pub(crate) fn kube_proxy(version: &'static str) -> Contender {
        let name = format!("kube-proxy {}", version.trim_start_matches('v'));
        Contender::program(name, move || Program::kube_proxy(version, &[]))
    }

    /// A version whose rule is known to be wrong, for tables up to a size.
    pub(crate) fn old_kube_proxy(version: &'static str, faults: Faults, up_to: u32) -> Contender {
        Contender { up_to, faults, ..Contender::kube_proxy(version) }
    }

    /// The netlink library below kube-proxy, with the whole rule as one filter.
    pub(crate) fn library(version: &'static str) -> Contender {
        Contender::program("vishvananda `ConntrackDeleteFilters`", move || {
            Program::kube_proxy(version, &["-library"])
        })
    }

    pub(crate) fn conntrack_tool() -> Contender {
        Contender::new("`conntrack -D`", How::ConntrackTool)
    }

    pub(crate) fn ours(name: &'static str, mode: &'static str) -> Contender {
        let contender = Contender::program(name, move || {
            Program::start(Command::new(std::env::current_exe().unwrap()).arg(mode), name)
        });
        Contender { is_ours: true, ..contender }
    }

    /// Whether it can pass over states: it compares the table with the newest one, and does not
    /// follow events.
    pub(crate) fn is_level_triggered(&self) -> bool {
        matches!(self.how, How::Program(..))
    }

    /// Ends its process, so that its memory is in nobody's way. The next run starts another.
    pub(crate) fn rest(&mut self) {
        if let How::Program(_, running) = &mut self.how {
            *running = None;
        }
    }

    pub(crate) fn clean(&mut self, state: &State) -> Run {
        match &mut self.how {
            How::Program(start, running) => {
                run_of(&running.get_or_insert_with(start).clean(&state.document))
            }
            How::ConntrackTool => {
                let mut run = Run { silent: state.dead.is_empty(), ..Run::default() };
                for dead in &state.dead {
                    run.cost.add(tool(&mut delete_command("conntrack", dead)));
                }
                run
            }
        }
    }

    /// The same, with its system calls counted, which slows it down.
    pub(crate) fn requests(&mut self, state: &State) -> Requests {
        match &mut self.how {
            How::Program(start, running) => {
                let program = running.get_or_insert_with(start);
                let trace = requests::attach(program.id());
                program.clean(&state.document);
                trace.detach()
            }
            How::ConntrackTool => {
                let mut all = Requests::default();
                for dead in &state.dead {
                    all.add(requests::trace(&mut delete_command("strace", dead)));
                }
                all
            }
        }
    }
}

fn run_of(answer: &Value) -> Run {
    let seconds = |name: &str| answer[name].as_f64();
    Run {
        cost: Cost {
            wall: seconds("wall_s").unwrap(),
            cpu: seconds("cpu_s").unwrap(),
            peak_kib: answer["peak_kib"].as_u64().unwrap(),
        },
        silent: answer["silent"].as_bool().unwrap_or(false),
        due: seconds("due_s"),
    }
}

/// `conntrack -D`, or a tracer of it whose own arguments come first.
fn delete_command(
    program: &str,
    (frontend, backend): &(std::net::SocketAddr, std::net::SocketAddr),
) -> Command {
    let mut command = Command::new(program);
    if program == "strace" {
        command.args(requests::ARGUMENTS).arg("conntrack");
    }
    let family = if frontend.is_ipv4() { "ipv4" } else { "ipv6" };
    command
        .args(["-D", "-f", family, "-p", "udp"])
        .args(["--orig-dst", &frontend.ip().to_string()])
        .args(["--orig-port-dst", &frontend.port().to_string()])
        .args(["--reply-src", &backend.ip().to_string()])
        .args(["--reply-port-src", &backend.port().to_string()])
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command
}

/// Runs a program to its end, with its CPU as the kernel books it to this process and its memory as
/// it is seen while it runs.
fn tool(command: &mut Command) -> Cost {
    let (started, before) = (Instant::now(), children_cpu());
    let mut child: Child = command.spawn().unwrap();
    let mut peak_kib = 0;
    let status = format!("/proc/{}/status", child.id());
    // It exits with 1 if nothing matched.
    while child.try_wait().unwrap().is_none() {
        peak_kib = peak_kib.max(peak_rss_kib(&status).unwrap_or(0));
        std::thread::sleep(Duration::from_millis(2));
    }
    Cost { wall: started.elapsed().as_secs_f64(), cpu: children_cpu() - before, peak_kib }
}

/// Most memory a process has had until now, by its `status` in `/proc`; none if it has ended.
pub(crate) fn peak_rss_kib(status: &str) -> Option<u64> {
    let text = std::fs::read_to_string(status).ok()?;
    let peak = text.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    peak.split_whitespace().next()?.parse().ok()
}

/// Seconds of CPU of the children that have been waited for.
fn children_cpu() -> f64 {
    let text = std::fs::read_to_string("/proc/self/stat").unwrap();
    // Behind the name in parentheses; cutime and cstime are fields 16 and 17, in ticks of 10 ms.
    let fields: Vec<_> = text.rsplit(')').next().unwrap().split_whitespace().collect();
    let ticks = |at: usize| fields[at].parse::<u32>().map_or(0.0, f64::from);
    (ticks(13) + ticks(14)) / 100.0
}
