//! `dump`, `delete`, `capabilities`: what acts on the table as it is.

use std::process::Command;

use ctnetlink_testbed::netns::in_netns;
use ctnetlink_testbed::oracle;
use serde_json::Value;

use crate::{Run, example, insert_all};

#[test]
fn dump_lists_and_counts() {
    in_netns(|| {
        insert_all();
        let dump = |arguments: &[&str]| run("dump", arguments);
        assert_eq!(dump(&[]).stdout.lines().count(), 11);
        assert_eq!(dump(&["udp and orig", "dst port 53"]).stdout.lines().count(), 6);
        assert_eq!(dump(&["--count"]).stdout, "11\n");
        assert_eq!(dump(&["--count", "udp", "and", "orig", "dst", "port", "53"]).stdout, "6\n");
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

        let mut powerless = Command::new(example("dump"));
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
        let run = run("capabilities", &[]);
        assert_eq!(run.status, 0, "{}", run.all());
        assert!(run.stdout.lines().count() <= 24, "{}", run.all());
        assert!(run.stdout.contains("original IPv6 address"), "{}", run.all());
    });
}

fn run(name: &str, arguments: &[&str]) -> Run {
    Command::new(example(name)).args(arguments).output().unwrap().into()
}

fn delete(arguments: &[&str]) -> Run {
    run("delete", arguments)
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

        let kernel = delete(&["--in-kernel", "udp and orig dst port 53"]);
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
            ("", "expected a criterion"),
            ("udp and", "column 8: expected a criterion"),
        ] {
            let typo = delete(&[text]);
            assert_eq!(typo.status, 2, "{}", typo.all());
            assert!(typo.stderr.contains(words), "{words:?}: {}", typo.all());
        }
        assert_eq!(delete(&[]).status, 2, "no filter is not a filter");
        assert_eq!(delete(&["--dry-run", "--in-kernel", "udp"]).status, 2);
        assert_eq!(oracle::table().len(), 11);

        let mut powerless = Command::new(example("delete"));
        ctnetlink_testbed::netns::drop_capabilities_of(powerless.arg("udp"));
        let run: Run = powerless.output().unwrap().into();
        assert_eq!(run.status, 1, "{}", run.all());
        assert!(run.stderr.contains("Operation not permitted (EPERM"), "{}", run.all());
    });
}
