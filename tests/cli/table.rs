//! `list`, `count`, `get`, `delete` and others: what acts on the table as it is.

use std::process::Command;

use ctnetlink_testbed::netns::in_netns;
use ctnetlink_testbed::oracle;
use serde_json::Value;

use crate::{Run, command, ctnetlink, insert_all};

#[test]
fn list_and_count() {
    in_netns(|| {
        insert_all();
        let dump = |arguments: &[&str]| ctnetlink(&[&["list"], arguments].concat());
        let count = |arguments: &[&str]| ctnetlink(&[&["count"], arguments].concat());
        assert_eq!(dump(&[]).stdout.lines().count(), 11);
        assert_eq!(dump(&["udp and orig", "dst port 53"]).stdout.lines().count(), 6);
        assert_eq!(count(&[]).stdout, "11\n");
        assert_eq!(count(&["udp", "and", "orig", "dst", "port", "53"]).stdout, "6\n");
        let typo = dump(&["udp and orig dest port 53"]);
        assert_eq!(typo.status, 2);
        assert!(typo.stderr.contains("column 14: expected \"src\", \"dst\""), "{}", typo.all());

        let nothing = dump(&["udp and tcp"]);
        assert_eq!((nothing.status, nothing.stdout.as_str()), (0, ""));
        assert!(
            nothing.stderr.starts_with("note: the filter matches nothing: tcp: "),
            "{}",
            nothing.all()
        );

        let timeless = |line: &str| {
            let mut words: Vec<_> = line.split_whitespace().map(str::to_owned).collect();
            words.remove(4);
            words.join(" ")
        };
        let sorted = |lines: Vec<String>| {
            let mut lines: Vec<_> = lines.iter().map(|line| timeless(line)).collect();
            lines.sort_unstable();
            lines
        };
        let ours = dump(&["--extended"]).stdout.lines().map(str::to_owned).collect();
        assert_eq!(sorted(ours), sorted(oracle::conntrack_list(&["-o", "extended,id"])));

        let json = dump(&["--json", "udp and orig dst port 53"]).stdout;
        let objects: Vec<Value> = json.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
        assert_eq!(objects.len(), 6);
        assert!(objects.iter().all(|o| o["orig"]["dst_port"] == 53 && o["protocol"] == "udp"));

        let mut powerless = Command::new(command());
        powerless.arg("list");
        ctnetlink_testbed::netns::drop_capabilities_of(&mut powerless);
        let run: Run = powerless.output().unwrap().into();
        assert_eq!(run.status, 1);
        assert!(
            run.stderr.starts_with("error: dump: Operation not permitted (EPERM"),
            "{}",
            run.all()
        );
    });
}

#[test]
fn capabilities_fit_one_screen() {
    in_netns(|| {
        let run = ctnetlink(&["capabilities"]);
        assert_eq!(run.status, 0, "{}", run.all());
        assert!(run.stdout.lines().count() <= 24, "{}", run.all());
        assert!(run.stdout.contains("original IPv6 address"), "{}", run.all());
    });
}

fn delete(arguments: &[&str]) -> Run {
    ctnetlink(&[&["delete"], arguments].concat())
}

#[test]
fn delete_does_what_the_filter_says_and_no_more() {
    in_netns(|| {
        insert_all();
        let before = oracle::table();
        let text = "udp and orig dst port 53 and reply src 10.244.9.9";
        let dry = delete(&["--dry-run", "--verbose", text]);
        assert_eq!(dry.status, 0, "{}", dry.all());
        assert!(
            dry.stdout.starts_with("udp ") && dry.stdout.contains(" sport=100 "),
            "{}",
            dry.all()
        );
        assert!(dry.stdout.ends_with("matched 1\n"), "{}", dry.all());

        let explained = delete(&["--explain", "ip6 and orig dst fd00:96::a"]);
        assert_eq!(explained.status, 0, "{}", explained.all());
        for words in [
            "kernel     sends ip6\n",
            "here only  orig dst fd00:96::a: this kernel selects the wrong entries by original",
            "in_kernel  no: orig dst fd00:96::a: this kernel",
        ] {
            assert!(explained.stdout.contains(words), "{words:?}: {}", explained.all());
        }
        let refused = delete(&["--in-kernel", "ip6", "and", "orig", "dst", "fd00:96::a"]);
        assert_eq!(refused.status, 1, "{}", refused.all());
        assert!(
            refused.stderr.contains("not in the kernel: ip6 and orig dst fd00:96::a: this kernel"),
            "{}",
            refused.all()
        );
        assert_eq!(oracle::table(), before, "nothing was deleted so far");

        let done = delete(&[text]);
        assert_eq!(done.status, 0, "{}", done.all());
        let counts = "matched 1, deleted 1, already gone 0, failed 0\n";
        assert!(done.stdout.ends_with(counts), "{}", done.all());
        let left: Vec<_> =
            before.iter().filter(|seen| seen.orig_src.port() != 100).copied().collect();
        assert_eq!(oracle::table(), left);

        let none = delete(&[text]);
        assert!(none.status == 0 && none.stdout.contains("matched 0, deleted 0"), "{}", none.all());
        assert_eq!(oracle::table(), left);

        let kernel = delete(&["--in-kernel", "--yes", "udp and orig dst port 53"]);
        assert_eq!(kernel.status, 0, "{}", kernel.all());
        assert!(
            oracle::table().iter().all(|seen| seen.protocol != 17 || seen.orig_dst.port() != 53)
        );
        assert_eq!(oracle::table().len(), 5, "tcp to the same port is there");
    });
}

#[test]
fn a_filter_with_a_typo_deletes_nothing_and_is_pointed_at() {
    in_netns(|| {
        insert_all();
        for (text, words) in [
            (
                "udp and orig dest port 53",
                r#"column 14: expected "src", "dst", "zone", "packets" or "bytes""#,
            ),
            ("udp and orig dest port 53", "  udp and orig dest port 53\n               ^\n"),
            ("mark 0/0", "a mark filter with an empty mask compares no bits"),
            ("", "the filter is empty; `ctnetlink flush --all` deletes everything"),
            ("udp and", "column 8: expected a criterion"),
        ] {
            let typo = delete(&[text]);
            assert_eq!(typo.status, 2, "{}", typo.all());
            assert!(typo.stderr.contains(words), "{words:?}: {}", typo.all());
        }
        assert_eq!(delete(&[]).status, 2, "no filter is not a filter");
        assert_eq!(delete(&["--dry-run", "--in-kernel", "udp"]).status, 2);
        assert_eq!(oracle::table().len(), 11);

        let mut powerless = Command::new(command());
        powerless.arg("delete");
        ctnetlink_testbed::netns::drop_capabilities_of(powerless.arg("udp"));
        let run: Run = powerless.output().unwrap().into();
        assert_eq!(run.status, 1, "{}", run.all());
        assert!(run.stderr.contains("Operation not permitted (EPERM"), "{}", run.all());
    });
}

#[test]
fn more_than_was_meant_is_not_deleted() {
    in_netns(|| {
        insert_all();
        let before = oracle::table();
        let most = delete(&["udp"]);
        assert_eq!(most.status, 1, "{}", most.all());
        let refused =
            "10 of 11 entries match, more than half of the table: nothing was deleted; --yes";
        assert!(most.stderr.contains(refused), "{}", most.all());
        let many = delete(&["--max", "5", "--yes", "udp and orig dst port 53"]);
        assert_eq!(many.status, 1, "{}", many.all());
        let refused = "6 entries match, more than --max 5: nothing was deleted";
        assert!(many.stderr.contains(refused), "{}", many.all());
        let dry = delete(&["--dry-run", "--max", "5", "udp and orig dst port 53"]);
        assert!(dry.status == 0 && dry.stderr.contains("would be refused: more than --max 5"));
        assert!(delete(&["--dry-run", "udp"]).stderr.contains("needs --yes"));
        for words in [&["flush"][..], &["flush", "--all"], &["flush", "--family", "ipv4"]] {
            let run = ctnetlink(words);
            assert_eq!(run.status, 2, "{}", run.all());
        }
        assert!(ctnetlink(&["flush", "--all"]).stderr.contains("--yes"));
        assert_eq!(oracle::table(), before);
        let some = delete(&["--max", "6", "--yes", "--json", "udp and orig dst port 53"]);
        assert_eq!((some.status, &some.json()["deleted"]), (0, &Value::from(6)), "{}", some.all());
        let flushed = ctnetlink(&["flush", "--family", "ipv4", "--yes"]);
        assert_eq!(flushed.status, 0, "{}", flushed.all());
        assert!(oracle::table().iter().all(|seen| seen.orig_src.is_ipv6()));
        assert_eq!(
            ctnetlink(&["flush", "--all", "--yes"]).stdout,
            "deleted all entries; 0 are left\n"
        );
    });
}

#[test]
fn single_entries_and_counters() {
    in_netns(|| {
        insert_all();
        let got = ctnetlink(&["get", "udp", "10.9.0.1:1", "10.96.0.10:53"]);
        assert!(got.stdout.contains("src=10.244.1.5 dst=10.9.0.1"), "{}", got.all());
        let reply = ["get", "udp", "[fd00:244::5]:5353", "[fd00:9::1]:5", "--reply", "--json"];
        assert_eq!(ctnetlink(&reply).json()["orig"]["dst"], "fd00:96::a");
        let gone = ctnetlink(&["get", "udp", "10.9.0.1:1", "10.96.0.10:54"]);
        assert_eq!(gone.status, 1);
        assert!(gone.stderr.contains("ENOENT"), "{}", gone.all());
        assert!(gone.stderr.contains("no such entry: src=10.9.0.1"), "{}", gone.all());
        for wrong in [
            &["udp", "10.9.0.1", "10.96.0.10:54"][..],
            &["udp", "10.9.0.1", "10.96.0.10"],
            &["udp", "10.9.0.1:1", "[fd00::1]:1"],
            &["udp", "10.9.0.1", "10.96.0.10", "--icmp", "8/0/1"],
            &["icmp", "10.9.0.1", "10.96.0.10"],
            &["icmp", "10.9.0.1:1", "10.96.0.10:1"],
        ] {
            let run = ctnetlink(&[&["get"], wrong].concat());
            assert_eq!(run.status, 2, "{}", run.all());
        }
        let zeroed = ctnetlink(&["zero", "udp and orig dst port 9153"]);
        assert_eq!((zeroed.status, zeroed.stdout.lines().count()), (0, 1), "{}", zeroed.all());
        assert_eq!(zeroed.stderr, "1 entries zeroed\n");
        let stats = ctnetlink(&["stats", "--json"]).json();
        assert_eq!(stats["losses"]["full"], 0);
        assert_eq!(stats["statistics"]["insert"], 11);
        assert!(ctnetlink(&["stats", "--per-cpu"]).stdout.contains("cpu=0 "));
        let counted = ctnetlink(&["count", "--json"]).json();
        assert_eq!(counted["entries"], 11);
        assert!(ctnetlink(&["capabilities", "--json"]).json().is_object());
    });
}

#[test]
fn limits_are_shown_and_set() {
    in_netns(|| {
        let shown = ctnetlink(&["limits"]).stdout;
        assert!(
            shown.contains("nf_conntrack_udp_timeout ") && shown.contains(" 30 s\n"),
            "{shown}"
        );
        let dry = ctnetlink(&["limits", "set", "udp_timeout=10", "--dry-run"]);
        assert_eq!(dry.status, 0, "{}", dry.all());
        for words in ["30 s -> 10 s", "at the next boot", "keep the timeout", "nothing was set"] {
            assert!(dry.stdout.contains(words), "{}", dry.all());
        }
        assert_eq!(ctnetlink(&["limits", "--json"]).json()["nf_conntrack_udp_timeout"], 30);
        let set = ctnetlink(&["limits", "set", "udp_timeout=10", "tcp_timeout_time_wait=30"]);
        assert!(set.status == 0 && set.stdout.ends_with("set\n"), "{}", set.all());
        let now = ctnetlink(&["limits", "--json"]).json();
        assert_eq!(
            (&now["nf_conntrack_udp_timeout"], &now["nf_conntrack_tcp_timeout_time_wait"]),
            (&Value::from(10), &Value::from(30))
        );
        for global in [&["max=524288"][..], &["max=524288", "--dry-run"]] {
            let refused = ctnetlink(&[&["limits", "set", "udp_timeout=20"], global].concat());
            assert_eq!(refused.status, 1, "{}", refused.all());
            assert!(refused.stderr.contains("whole machine's"), "{}", refused.all());
        }
        let now = ctnetlink(&["limits", "--json"]).json();
        assert_eq!(now["nf_conntrack_udp_timeout"], 10, "half of it was not set");
        for wrong in ["udp_timeout", "udp_timeout=-1", "udp_time=3", "udp_timeout=4294967296"] {
            let run = ctnetlink(&["limits", "set", wrong]);
            assert_eq!(run.status, 2, "{}", run.all());
        }
        assert_eq!(ctnetlink(&["limits", "set", "udp_timeout=4294967295", "--dry-run"]).status, 2);
        // The kernel refuses more than fits its clock.
        let kernel =
            ctnetlink(&["limits", "set", "--json", "udp_timeout=1", "icmp_timeout=2000000000"]);
        assert_eq!(kernel.status, 1, "{}", kernel.all());
        assert!(
            kernel.stderr.contains("set before that: nf_conntrack_udp_timeout"),
            "{}",
            kernel.all()
        );
    });
}

/// Whoever reads can stop at any time, without a word on the terminal.
#[test]
fn a_reader_that_goes_is_no_error() {
    in_netns(|| {
        let entries: Vec<_> = (0..20_000u32)
            .map(|n| {
                let client = std::net::Ipv4Addr::from(0x0a00_0000 + n);
                ctnetlink_tests::udp(&format!("{client}:1000"), "10.96.0.10:53", "10.244.0.1:53")
            })
            .collect();
        ctnetlink_testbed::fill::fill(&entries);
        for words in ["list", "list --json", "delete --dry-run --verbose udp"] {
            let script = format!("{} {words} | head -n 1", command().display());
            let run: Run = Command::new("sh").args(["-c", &script]).output().unwrap().into();
            assert_eq!((run.stdout.lines().count(), run.stderr.as_str()), (1, ""), "{}", run.all());
        }
        assert_eq!(ctnetlink(&["count"]).stdout, "20000\n");
    });
}

#[test]
fn other_namespaces_can_be_named() {
    in_netns(|| {
        insert_all();
        let other = ctnetlink_testbed::netns::Namespace::new();
        let path = other.path();
        assert_eq!(ctnetlink(&["count", "--netns", &path]).stdout, "0\n");
        let own = std::process::id().to_string();
        assert!(ctnetlink(&["--pid", &own, "count"]).status == 0);
        let missing = ctnetlink(&["count", "--netns", "no-such-name"]);
        assert_eq!(missing.status, 1);
        assert!(missing.stderr.contains("/run/netns/no-such-name"), "{}", missing.all());
        assert_eq!(ctnetlink(&["count", "--host", "--pid", "1"]).status, 2);
    });
}

#[test]
fn completions_and_manual_pages() {
    for shell in ["bash", "zsh", "fish"] {
        assert!(ctnetlink(&["completions", shell]).stdout.contains("reconcile"), "{shell}");
    }
    let page = ctnetlink(&["man"]).stdout;
    assert!(page.contains(".TH ctnetlink") && page.contains("doctor"), "{page}");
}

/// A container mounts `/proc/sys` read-only.
#[test]
fn a_read_only_proc_sys_is_named() {
    in_netns(|| {
        let path = command();
        let script = format!(
            "mount --bind /proc/sys /proc/sys && mount -o remount,ro,bind /proc/sys && exec {} limits set \
             udp_timeout=10",
            path.display()
        );
        let run: Run =
            Command::new("unshare").args(["--mount", "sh", "-c", &script]).output().unwrap().into();
        assert_eq!(run.status, 1, "{}", run.all());
        for words in
            ["10 in /proc/sys/net/netfilter/nf_conntrack_udp_timeout", "EROFS", "container"]
        {
            assert!(run.stderr.contains(words), "{}", run.all());
        }
    });
}

/// `--host` is the namespace of process 1, wherever this runs.
#[test]
fn the_host_is_process_1() {
    in_netns(|| {
        insert_all();
        let path = command();
        let path = path.display();
        // Process 1 of the new process namespace stays here; the command runs in yet another one.
        let script = format!("unshare --net sh -c '{path} count; {path} count --host'");
        let run: Run = Command::new("unshare")
            .args(["--pid", "--fork", "--mount-proc", "sh", "-c", &script])
            .output()
            .unwrap()
            .into();
        assert_eq!(run.stdout, "0\n11\n", "{}", run.all());
    });
}
