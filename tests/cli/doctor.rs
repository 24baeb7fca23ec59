//! `doctor` and `top`: words, exit codes, and a screen that fits.

use std::process::Command;

use ctnetlink::Conntrack;
use ctnetlink_testbed::fill::{Entry, Filler};
use ctnetlink_testbed::netns::{Namespace, drop_capabilities_of, in_netns};
use ctnetlink_tests::at;
use serde_json::Value;

use crate::{Run, command, ctnetlink, insert_all};

const QUICKLY: [&str; 3] = ["doctor", "--interval", "0.1"];

fn doctor(arguments: &[&str]) -> Run {
    ctnetlink(&[&QUICKLY, arguments].concat())
}

/// Fills the table with so many entries of TCP in a state, all ASSURED.
fn fill_tcp(entries: u32, state: impl Fn(u32) -> u8) {
    let mut filler = Filler::open().unwrap();
    for n in 0..entries {
        let client = std::net::Ipv4Addr::from(0x0a00_0000 + n);
        let client = std::net::SocketAddr::new(client.into(), 1024);
        let entry = Entry::tcp(client, at("10.96.0.11:80"), at("10.244.0.2:80"));
        filler.create(&Entry { tcp_state: state(n), ..entry }).unwrap();
    }
    filler.flush().unwrap();
}

fn fits(run: &Run) {
    for line in run.stdout.lines() {
        assert!(line.chars().count() <= 80, "{line:?} in {}", run.all());
        assert!(!line.contains('\x1b'), "{line:?}");
    }
}

#[test]
fn a_full_table_is_a_warning_then_critical() {
    in_netns(|| {
        let ct = Conntrack::open().unwrap();
        let limit = ct.limit().unwrap();
        for (percent, level, status) in [(80, "warning", 1), (95, "critical", 2)] {
            ct.flush_all().unwrap();
            fill_tcp(u32::try_from(u64::from(limit) * percent / 100).unwrap(), |_| 3);
            let run = doctor(&["--json"]);
            assert_eq!(run.status, status, "{}", run.all());
            assert_eq!(run.json()["complete"], true);
            assert!(run.json()["verdict"].as_str().unwrap().starts_with(&level.to_uppercase()));
            assert!(run.json()["time"].as_u64().unwrap() > 1_700_000_000);
            assert_eq!(
                (&run.json()["level"], run.json()["is_host"].as_bool()),
                (&Value::from(level), Some(false))
            );
            let shown = doctor(&[]);
            fits(&shown);
            assert_eq!(shown.status, status, "{}", shown.all());
            let verdict = shown.stdout.lines().nth(1).unwrap().to_owned();
            assert!(
                verdict.starts_with(&format!(" {}  ", level.to_uppercase())),
                "{}",
                shown.all()
            );
        }
    });
}

/// The printed command, run as it is printed.
#[test]
fn the_first_aid_is_printed_and_works() {
    in_netns(|| {
        let ct = Conntrack::open().unwrap();
        fill_tcp(ct.limit().unwrap(), |n| if n % 10 < 3 { 7 } else { 3 });
        let shown = doctor(&[]);
        assert_eq!(shown.status, 2, "{}", shown.all());
        fits(&shown);
        let now = shown.stdout.lines().skip_while(|line| *line != " NOW").nth(1).unwrap();
        let (printed, entries) = now.trim().split_once("   (").unwrap();
        let entries = entries.split(' ').next().unwrap();
        let expected = ct
            .dump(&"tcp-state TIME_WAIT".parse::<ctnetlink::Filter>().unwrap())
            .unwrap()
            .count()
            .unwrap();
        // The garbage collector may have evicted some meanwhile (gc_worker_can_early_drop).
        let printed_entries: u64 = entries.replace(',', "").parse().unwrap();
        assert!(printed_entries.abs_diff(expected) < 5000, "{entries}, {expected}");
        let path = command();
        let for_shell = printed.replacen("ctnetlink", path.to_str().unwrap(), 1);
        let run = |script: &str| -> Run {
            Command::new("sh").args(["-c", script]).output().unwrap().into()
        };
        let dry = run(&format!("{for_shell} --dry-run"));
        assert!(dry.stdout.contains("nothing deleted"), "{}", dry.all());
        let done = run(&for_shell);
        assert_eq!(done.status, 0, "{}", done.all());
        let left = u64::from(ct.count().unwrap());
        let established = u64::from(ct.limit().unwrap()) * 7 / 10;
        assert!(left.abs_diff(established) < 100, "{left}");
        // One frontend has it all, which is still said.
        assert_eq!(doctor(&["--json"]).json()["level"], "warning");
    });
}

#[test]
fn it_never_says_that_all_is_well_when_it_did_not_look() {
    in_netns(|| {
        let other = Namespace::new();
        let path = other.path();
        insert_all();
        // Empty, and not the host's.
        let empty = doctor(&["--netns", &path]);
        assert_eq!(empty.status, 0, "{}", empty.all());
        let first = empty.stdout.lines().nth(1).unwrap();
        assert!(first.starts_with(" NOTHING FOUND IN THIS NAMESPACE"), "{}", empty.all());
        for words in ["the host's: --host", "NOT CHECKED HERE", "conntrack_allowance"] {
            assert!(empty.stdout.contains(words), "{}", empty.all());
        }
        fits(&empty);
        // Without privilege: the count is in /proc/sys, the rest is named.
        let mut powerless = Command::new(command());
        drop_capabilities_of(powerless.args(QUICKLY));
        let run: Run = powerless.output().unwrap().into();
        assert_eq!(run.status, 0, "{}", run.all());
        let first = run.stdout.lines().nth(1).unwrap();
        // Where the kernel has the file, anybody may read the counters.
        let in_proc = std::path::Path::new("/proc/thread-self/net/stat/nf_conntrack").exists();
        let lost =
            if in_proc { "no packet is being lost" } else { "lost packets could not be seen" };
        let words = format!(" NOTHING FOUND AS FAR AS SEEN  {lost}");
        assert!(first.starts_with(&words), "{}", run.all());
        let mut powerless = Command::new(command());
        drop_capabilities_of(powerless.args(QUICKLY).arg("--json"));
        let json = Run::from(powerless.output().unwrap()).json();
        assert_eq!(json["complete"], false);
        for words in ["entries  11 / ", "NOT SEEN", "what holds the table: ", "CAP_NET_ADMIN"] {
            assert!(run.stdout.contains(words), "{}", run.all());
        }
        // Nothing at all.
        let script = format!(
            "mount -t tmpfs none /proc/sys/net/netfilter && exec setpriv --bounding-set=-net_admin --inh-caps=-net_admin {} doctor --interval 0",
            command().display()
        );
        let blind: Run =
            Command::new("unshare").args(["--mount", "sh", "-c", &script]).output().unwrap().into();
        assert_eq!(blind.status, 3, "{}", blind.all());
        assert!(blind.stdout.contains(" COULD NOT LOOK"), "{}", blind.all());
        // A wrong option, a namespace that is not there: no warning, no critical.
        for wrong in [&["--nonsense"][..], &["--netns", "no-such"]] {
            let run = doctor(wrong);
            assert_eq!(run.status, 3, "{}", run.all());
        }
        // Names are a help, and no condition.
        let nameless = doctor(&["--cluster", "/nonexistent"]);
        assert_eq!(nameless.status, 0, "{}", nameless.all());
        assert!(nameless.stderr.contains("numbers instead of names"), "{}", nameless.all());
        // Settings that cannot be read are named.
        let script = format!(
            "mount -t tmpfs none /proc/sys/net/netfilter && exec {} doctor --interval 0",
            command().display()
        );
        let hidden: Run =
            Command::new("unshare").args(["--mount", "sh", "-c", &script]).output().unwrap().into();
        for words in ["NOTHING FOUND AS FAR AS SEEN", "settings: limits, timeouts"] {
            assert!(hidden.stdout.contains(words), "{}", hidden.all());
        }
        // Process 1 of a container is not the host's.
        let script = format!("{} doctor --host --interval 0", command().display());
        let inside: Run = Command::new("unshare")
            .args(["--pid", "--fork", "--mount-proc", "sh", "-c", &script])
            .output()
            .unwrap()
            .into();
        assert!(inside.stdout.contains("--host needs"), "{}", inside.all());
    });
}

#[test]
fn names_come_from_the_cluster() {
    in_netns(|| {
        insert_all();
        let pod = r#"{"apiVersion":"v1","kind":"Pod","metadata":{"namespace":"shop","name":"web-0"},
            "status":{"podIPs":[{"ip":"10.9.0.1"}]}}"#;
        let service = r#"{"apiVersion":"v1","kind":"Service","metadata":{"namespace":"kube-system","name":"kube-dns"},
            "spec":{"clusterIP":"10.96.0.10","ports":[{"name":"dns","protocol":"UDP","port":53}]}}"#;
        let slice = r#"{"apiVersion":"discovery.k8s.io/v1","kind":"EndpointSlice","addressType":"IPv4",
            "metadata":{"namespace":"kube-system","name":"s","labels":{"kubernetes.io/service-name":"kube-dns"}},
            "ports":[{"name":"dns","protocol":"UDP","port":5353}],
            "endpoints":[{"addresses":["10.244.1.5"],"conditions":{"ready":true}}]}"#;
        let document =
            format!(r#"{{"kind":"List","apiVersion":"v1","items":[{service},{slice},{pod}]}}"#);
        let file = std::env::temp_dir().join(format!("ctn-{}-names.json", std::process::id()));
        std::fs::write(&file, document).unwrap();
        let shown = doctor(&["--cluster", file.to_str().unwrap()]);
        for words in ["kube-s…/kube-dns:dns", "shop/web-0", "stale-entries"] {
            assert!(shown.stdout.contains(words), "{}", shown.all());
        }
        fits(&shown);
        let top = ctnetlink(&["top", "--by", "source", "--cluster", file.to_str().unwrap()]);
        assert!(top.stdout.contains("shop/web-0"), "{}", top.all());
        fits(&top);
        std::fs::remove_file(&file).unwrap();
    });
}

#[test]
fn top_shows_each_kind_and_what_is_not_a_terminal_gets_text() {
    in_netns(|| {
        insert_all();
        for (by, row) in [
            ("frontend", "10.96.0.10:53/udp"),
            ("source", "10.9.0.1"),
            ("backend", "10.244.1.5:5353/udp"),
        ] {
            let shown = ctnetlink(&["top", "--by", by]);
            assert!(shown.status == 0 && shown.stdout.contains(row), "{}", shown.all());
            fits(&shown);
        }
        let json = ctnetlink(&["top", "--json"]).json();
        assert_eq!(json["frontends"]["maximum_error"], 0);
        assert_eq!(json["entries"], 11);
        // One block after another, until it is killed.
        let script = format!(
            "timeout 1 {} top --watch=0.2 | head -n 40 | grep -c FRONTENDS",
            command().display()
        );
        let watched: Run = Command::new("sh").args(["-c", &script]).output().unwrap().into();
        assert!(watched.stdout.trim().parse::<u32>().unwrap() >= 2, "{}", watched.all());
    });
}
