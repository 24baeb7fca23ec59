//! `reconcile`: the demo, and a real node's table.

use std::fs;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use ctnetlink::Conntrack;
use ctnetlink_testbed::fill::fill;
use ctnetlink_testbed::netns::in_netns;
use ctnetlink_testbed::oracle;
use ctnetlink_tests::{clients, udp};
use serde_json::{Value, json};

use crate::{Run, command, conntrack_insert, ctnetlink, example, insert_all};

/// The demonstration.
fn demo(arguments: &[&str]) -> Run {
    Command::new(example("reconcile")).args(arguments).output().unwrap().into()
}

fn reconcile(arguments: &[&str]) -> Run {
    ctnetlink(&[&["reconcile"], arguments].concat())
}

/// Runs with a document on standard input.
fn reconcile_stdin(arguments: &[&str], document: &str) -> Run {
    let mut child = Command::new(command())
        .arg("reconcile")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    match child.stdin.take().unwrap().write_all(document.as_bytes()) {
        // A usage error ends the command before it reads.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
        written => written.unwrap(),
    }
    child.wait_with_output().unwrap().into()
}

/// A file that goes away with the test.
struct File(PathBuf);

impl File {
    fn new(name: &str, contents: &str) -> File {
        let thread = format!("{:?}", std::thread::current().id()).replace(['(', ')'], "");
        let path = std::env::temp_dir().join(format!("ctn-{}-{thread}-{name}", std::process::id()));
        fs::write(&path, contents).unwrap();
        File(path)
    }

    fn path(&self) -> &str {
        self.0.to_str().unwrap()
    }
}

impl Drop for File {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

fn service(name: &str, spec: Value) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {"namespace": "kube-system", "name": name}, "spec": spec,
    })
}

fn dns() -> Value {
    service(
        "kube-dns",
        json!({
            "clusterIPs": ["10.96.0.10", "fd00:96::a"],
            "ports": [{"name": "dns", "port": 53, "protocol": "UDP", "nodePort": 30053}],
        }),
    )
}

fn slice(service: &str, kind: &str, endpoints: &[(&str, bool)]) -> Value {
    let endpoints = endpoints.iter().map(|(address, serving)| {
        json!({"addresses": [address], "conditions": {"ready": serving, "serving": serving}})
    });
    json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": kind,
        "metadata": {
            "namespace": "kube-system", "name": format!("{service}-{kind}"),
            "labels": {"kubernetes.io/service-name": service},
        },
        "endpoints": endpoints.collect::<Vec<_>>(),
        "ports": [{"name": "dns", "port": 5353, "protocol": "UDP"}],
    })
}

fn list(items: &[Value]) -> String {
    json!({"apiVersion": "v1", "kind": "List", "items": items}).to_string()
}

fn cluster() -> String {
    list(&[
        dns(),
        slice("kube-dns", "IPv4", &[("10.244.1.5", true), ("10.244.9.9", false)]),
        slice("kube-dns", "IPv6", &[("fd00:244::5", true)]),
    ])
}

/// Entries made by the conntrack program: client port, original destination, reply source.
const NODE: [&str; 2] = ["--node-address", "192.0.2.5"];

fn sums(report: &Value) -> [u64; 4] {
    ["stale", "deleted", "already_gone", "failed"].map(|field| {
        report["families"].as_array().unwrap().iter().map(|f| f[field].as_u64().unwrap()).sum()
    })
}

#[test]
fn a_cluster_is_reconciled_exactly() {
    in_netns(|| {
        insert_all();
        let file = File::new("cluster.json", &cluster());
        let arguments = [&["--cluster", file.path(), "--json"][..], &NODE].concat();

        let dry = reconcile(&[&arguments[..], &["--dry-run"]].concat());
        assert_eq!(dry.status, 0, "{}", dry.all());
        assert_eq!(oracle::table().len(), 11, "nothing deleted");
        let dry = dry.json();
        assert_eq!((sums(&dry), &dry["dry_run"]), ([5, 0, 0, 0], &json!(true)));

        let real = reconcile(&arguments);
        assert_eq!(real.status, 0, "{}", real.all());
        let real = real.json();
        assert_eq!(sums(&real), [5, 5, 0, 0]);
        for (dry, real) in [0, 1].map(|n| (&dry["families"][n], &real["families"][n])) {
            assert_eq!((&dry["stale"], &dry["reasons"]), (&real["stale"], &real["reasons"]));
        }
        assert_eq!(
            real["families"][0]["reasons"],
            json!({"backend_gone": 2, "backend_port_changed": 1, "not_translated": 1, "frontend_removed": 0})
        );
        assert_eq!(oracle::table().iter().filter(|s| s.orig_src.port() >= 100).count(), 0);
        assert_eq!(oracle::table().len(), 6);

        let again = reconcile(&arguments).json();
        assert_eq!(sums(&again), [0; 4]);
    });
}

#[test]
fn the_json_has_exactly_the_promised_members() {
    in_netns(|| {
        insert_all();
        let run = reconcile_stdin(&["--cluster", "-", "--json", "--node-address=::1"], &cluster());
        assert_eq!(run.status, 0, "{}", run.all());
        let report = run.json();
        let names =
            |value: &Value| -> Vec<String> { value.as_object().unwrap().keys().cloned().collect() };
        let expected = [
            "profile",
            "dry_run",
            "elapsed_ms",
            "peak_rss_kib",
            "node_ports_judged",
            "unknown_services",
            "in_quarantine",
            "comes_back",
            "families",
        ];
        assert_eq!(names(&report), expected);
        assert_eq!(
            names(&report["families"][0]),
            [
                "family",
                "received",
                "stale",
                "deleted",
                "already_gone",
                "unknown",
                "failed",
                "kept",
                "passes",
                "pushdown",
                "reasons",
            ]
        );
        assert_eq!(
            names(&report["families"][0]["reasons"]),
            ["backend_gone", "backend_port_changed", "not_translated", "frontend_removed",]
        );
        assert_eq!(
            [&report["families"][0]["family"], &report["families"][1]["family"]],
            ["ipv4", "ipv6",]
        );
        assert_eq!(run.stdout.lines().count(), 1, "one object and nothing else");
    });
}

#[test]
fn text_for_people() {
    in_netns(|| {
        insert_all();
        let run = reconcile_stdin(&["--cluster", "-"], &cluster());
        assert_eq!(run.status, 0, "{}", run.all());
        assert!(run.stdout.contains("reconcile, profile strict"), "{}", run.all());
        assert!(
            run.stdout.contains("1  udp 10.96.0.10:53 -> 10.244.9.9:5353  (backend gone)"),
            "{}",
            run.all()
        );
        assert!(run.stdout.lines().count() <= 24, "one screen: {}", run.all());
    });
}

#[test]
fn node_ports_without_a_node_address_are_said() {
    in_netns(|| {
        insert_all();
        let run = reconcile_stdin(&["--cluster", "-", "--json"], &cluster());
        assert_eq!(run.json()["node_ports_judged"], json!(false));
        let notes: Vec<_> = run.stderr.lines().collect();
        assert_eq!(
            notes,
            ["note: node ports are not judged, no ipv4 and ipv6 --node-address was given"]
        );
        assert!(clients(&Conntrack::open().unwrap(), None).contains(&"10.9.0.1:103".into()));

        let run =
            reconcile_stdin(&["--cluster", "-", "--json", "--profile=kube-proxy"], &cluster());
        assert_eq!((&run.json()["node_ports_judged"], run.stderr.as_str()), (&json!(true), ""));
        let left = clients(&Conntrack::open().unwrap(), None);
        assert!(!left.contains(&"10.9.0.1:103".into()), "{left:?}");
        assert!(!left.contains(&"10.9.0.1:3".into()), "it does not look at the address: {left:?}");
    });
}

#[test]
fn frontends_of_the_previous_document_are_cleaned() {
    in_netns(|| {
        conntrack_insert("udp", 1, ("10.96.0.99", 53), ("10.244.1.5", 5353));
        let old = service(
            "old",
            json!({
                "clusterIP": "10.96.0.99", "ports": [{"port": 53, "protocol": "UDP"}],
            }),
        );
        let previous = File::new("previous.json", &list(&[old]));
        let now = File::new("now.json", &cluster());
        let without = reconcile(&["--cluster", now.path(), "--json"]);
        assert_eq!(sums(&without.json()), [0; 4]);
        let run = reconcile(&["--cluster", now.path(), "--previous", previous.path(), "--json"]);
        assert_eq!(run.json()["families"][0]["reasons"]["frontend_removed"], json!(1));
        assert!(oracle::table().is_empty());
    });
}

#[test]
fn zones_and_protocols_can_be_chosen() {
    in_netns(|| {
        let stale = udp("10.9.0.1:1", "10.96.0.10:53", "10.244.9.9:5353");
        fill(&[0, 7].map(|zone| ctnetlink_testbed::fill::Entry { zone, ..stale }));
        let run = reconcile_stdin(&["--cluster", "-", "--json", "--dry-run"], &cluster());
        assert_eq!(run.json()["families"][0]["kept"]["other_zones"], json!(1), "{}", run.all());
        assert_eq!(sums(&run.json())[0], 1);
        let run =
            reconcile_stdin(&["--cluster=-", "--json", "--dry-run", "--zone=all"], &cluster());
        assert_eq!(sums(&run.json())[0], 2, "{}", run.all());
        let run = reconcile_stdin(&["--cluster", "-", "--json", "--zone", "7"], &cluster());
        assert_eq!(sums(&run.json()), [1, 1, 0, 0]);
        let run =
            reconcile_stdin(&["--cluster", "-", "--json", "--protocol", "tcp,sctp"], &cluster());
        assert_eq!((run.status, sums(&run.json())), (0, [0; 4]));
        assert_eq!(run.stderr, "note: no usable tcp or sctp service in the document\n");
        let run = reconcile_stdin(&["--cluster=-", "--protocol", "icmp"], &cluster());
        assert_eq!(run.status, 2, "{}", run.all());
    });
}

#[test]
fn bad_input_exits_2_and_deletes_nothing() {
    in_netns(|| {
        insert_all();
        let whole = cluster();
        let services_only = list(&[dns()]);
        let slices_only = list(&[slice("kube-dns", "IPv4", &[("10.244.1.5", true)])]);
        for (document, expected) in [
            ("", "standard input: the document is empty"),
            (&whole[..whole.len() / 2], "standard input: the document is not valid JSON: EOF"),
            (r#"{"kind":"Pod"}"#, "its kind is \"Pod\""),
            ("[1,2]", "the document is not a v1 List"),
            (&services_only, "not one EndpointSlice in the document"),
            (&slices_only, "not one Service in the document (1 EndpointSlices)"),
            (&list(&[]), "not one Service in the document (0 EndpointSlices)"),
            (&list(&[dns(), slice("web", "IPv4", &[])]), "but not the Service of any of them"),
        ] {
            for json in [&["--cluster", "-"][..], &["--cluster", "-", "--json"]] {
                let run = reconcile_stdin(json, document);
                assert_eq!(run.status, 2, "{}", run.all());
                assert!(run.stderr.contains(expected), "{expected}: {}", run.all());
                assert!(!run.stderr.contains("panicked"), "{}", run.all());
                assert_eq!(run.stdout, "");
            }
        }
        for arguments in [
            &["--cluster", "/nonexistent/cluster.json"][..],
            &["--cluster", "-", "--previous", "-"],
            &["--cluster", "-", "--node-address", "here"],
            &["--cluster", "-", "--profile", "lax"],
            &["--cluster", "-", "--entries", "5"],
            &["--previous", "x"],
            &["--entries", "0"],
            &["--nonsense"],
        ] {
            let run = reconcile_stdin(arguments, "");
            assert_eq!(run.status, 2, "{arguments:?}: {}", run.all());
            assert!(!run.stderr.is_empty());
        }
        assert_eq!(oracle::table().len(), 11);

        let run =
            reconcile_stdin(&["--cluster", "-", "--no-endpoints-ok", "--json"], &services_only);
        assert_eq!(run.status, 0, "{}", run.all());
        assert_eq!(sums(&run.json())[1], 6, "everything toward a frontend is stale: {}", run.all());
    });
}

/// `--cluster slices-only.json --previous good.json` must not mean that everything is gone.
#[test]
fn half_a_picture_deletes_nothing() {
    in_netns(|| {
        insert_all();
        let good = File::new("good.json", &cluster());
        let slices = [slice("kube-dns", "IPv4", &[("10.244.1.5", true)])];
        for half in [list(&slices), list(&[])] {
            let half = File::new("half.json", &half);
            let run = reconcile(&["--cluster", half.path(), "--previous", good.path()]);
            assert_eq!(run.status, 2, "{}", run.all());
            assert!(run.stderr.contains("--no-services-ok"), "{}", run.all());
        }
        assert_eq!(oracle::table().len(), 11);
        // Who means it says so.
        let half = File::new("half.json", &list(&slices));
        let meant = ["--cluster", half.path(), "--previous", good.path(), "--no-services-ok"];
        let run = reconcile(&[&meant[..], &["--json"]].concat());
        assert_eq!(run.status, 0, "{}", run.all());
        assert!(sums(&run.json())[1] > 0, "{}", run.all());
    });
}

/// One odd object of one tenant does not stop the node: it is named, and its Service is not judged.
#[test]
fn one_odd_object_does_not_stop_a_node() {
    for (good, odd, note) in [
        (
            "\"port\":5353",
            "\"port\":\"dns\"",
            "EndpointSlice kube-system/kube-dns-IPv4: ports[0].port: invalid type: string",
        ),
        (
            "10.96.0.10",
            "10.96.0",
            "Service kube-system/kube-dns: spec.clusterIPs[0]: \"10.96.0\" is not an IP address",
        ),
    ] {
        in_netns(move || {
            conntrack_insert("udp", 1, ("10.96.0.10", 53), ("10.244.9.9", 5353));
            conntrack_insert("udp", 2, ("10.96.0.99", 53), ("10.244.9.9", 5353));
            let web = service(
                "web",
                json!({"clusterIP": "10.96.0.99", "ports": [{"name": "dns", "port": 53, "protocol": "UDP"}]}),
            );
            let items = [
                dns(),
                slice("kube-dns", "IPv4", &[("10.244.1.5", true)]),
                web,
                slice("web", "IPv4", &[("10.244.1.7", true)]),
            ];
            // The odd object is the first one's.
            let document = list(&items).replacen(good, odd, 1);
            let before = File::new("before.json", &list(&items));
            let arguments = ["--cluster", "-", "--previous", before.path(), "--json"];
            let run = reconcile_stdin(&arguments, &document);
            assert_eq!(run.status, 0, "{}", run.all());
            assert!(run.stderr.contains(note), "{note}: {}", run.all());
            assert!(run.stderr.contains("Service kube-system/kube-dns is not judged"));
            assert_eq!(run.json()["unknown_services"], json!(1));
            let left = clients(&Conntrack::open().unwrap(), None);
            assert_eq!(left, ["10.9.0.1:1"], "the other service is judged: {}", run.all());
        });
    }
}

/// A process that has one descriptor left walks the families one after the other.
#[test]
fn one_free_descriptor_is_enough() {
    in_netns(|| {
        insert_all();
        let file = File::new("cluster.json", &cluster());
        let program = command();
        // Standard input, output and error, the namespace, the command socket, and one more.
        let script = format!(
            "ulimit -n 6; exec {} reconcile --cluster {} --json --node-address 192.0.2.5",
            program.display(),
            file.path()
        );
        let run: Run = Command::new("sh").args(["-c", &script]).output().unwrap().into();
        assert_eq!(run.status, 0, "{}", run.all());
        assert_eq!(sums(&run.json()), [5, 5, 0, 0], "{}", run.all());
        assert_eq!(run.json()["families"][1]["passes"], json!(2));
    });
}

#[test]
fn an_old_document_is_refused() {
    in_netns(|| {
        insert_all();
        let file = File::new("cluster.json", &cluster());
        let old = std::time::SystemTime::now() - std::time::Duration::from_secs(700);
        fs::File::options().write(true).open(&file.0).unwrap().set_modified(old).unwrap();
        let run = reconcile(&["--cluster", file.path()]);
        assert_eq!(run.status, 2, "{}", run.all());
        assert!(run.stderr.contains("written 700 s ago") || run.stderr.contains("written 701 s"));
        assert_eq!(oracle::table().len(), 11);
        // As standard input it is no younger.
        let mut command = Command::new(command());
        command.arg("reconcile");
        let stdin = fs::File::open(file.path()).unwrap();
        let run: Run = command.args(["--cluster", "-"]).stdin(stdin).output().unwrap().into();
        assert_eq!(run.status, 2, "{}", run.all());
        let run = reconcile(&["--cluster", file.path(), "--max-age", "3600"]);
        assert_eq!(run.status, 0, "{}", run.all());
        assert!(run.stderr.contains("s ago"), "{}", run.all());
    });
}

/// The rules may know a backend that the document does not have yet: it is fetched a second time.
#[test]
fn a_command_is_asked_again_about_backends_that_nobody_knows() {
    in_netns(|| {
        conntrack_insert("udp", 1, ("10.96.0.10", 53), ("10.244.1.5", 5353));
        conntrack_insert("udp", 2, ("10.96.0.10", 53), ("10.244.2.7", 5353));
        conntrack_insert("udp", 3, ("10.96.0.10", 53), ("10.244.9.9", 5353));
        let first = File::new("first.json", &cluster());
        let both = [("10.244.1.5", true), ("10.244.2.7", true)];
        let second = File::new("second.json", &list(&[dns(), slice("kube-dns", "IPv4", &both)]));
        let asked = File::new("asked", "");
        fs::remove_file(asked.path()).unwrap();
        let (asked, first, second) = (asked.path(), first.path(), second.path());
        let command =
            format!("if [ -e {asked} ]; then cat {second}; else touch {asked}; cat {first}; fi");
        let run = reconcile(&["--cluster-command", &command, "--dry-run", "--json"]);
        assert_eq!((run.status, sums(&run.json())[..2].to_vec()), (0, vec![1, 0]), "{}", run.all());
        assert_eq!(oracle::table().len(), 3);
        fs::remove_file(asked).unwrap();
        let run = reconcile(&["--cluster-command", &command, "--json"]);
        assert_eq!((run.status, sums(&run.json())[..2].to_vec()), (0, vec![1, 1]), "{}", run.all());
        let left = clients(&Conntrack::open().unwrap(), None);
        assert_eq!(left, ["10.9.0.1:1", "10.9.0.1:2"], "{}", run.all());
        let run = reconcile(&["--cluster-command", &format!("cat {first}; false")]);
        assert_eq!(run.status, 2, "{}", run.all());
        for bad in [["--cluster", first], ["--max-age", "5"]] {
            let run = reconcile(&[&["--cluster-command", "true"][..], &bad].concat());
            assert_eq!(run.status, 2, "{}", run.all());
        }
    });
}

#[test]
fn extra_backends_and_addresses_of_node_ports() {
    in_netns(|| {
        conntrack_insert("udp", 1, ("10.96.0.10", 53), ("169.254.20.10", 53));
        conntrack_insert("udp", 2, ("192.0.2.5", 30053), ("10.244.9.9", 5353));
        let arguments = [
            "--cluster=-",
            "--json",
            "--extra-backend=udp/10.96.0.10:53=169.254.20.0/24",
            "--node-address=192.0.2.5",
            "--node-port-address=192.0.2.6",
        ];
        let run = reconcile_stdin(&arguments, &cluster());
        assert_eq!(sums(&run.json()), [0; 4], "{}", run.all());
        // Nothing that was asked for is ignored in silence.
        let typo = "--extra-backend=udp/10.96.0.10:5353=169.254.20.10";
        let run = reconcile_stdin(&["--cluster=-", "--dry-run", typo], &cluster());
        assert!(run.stderr.contains("udp 10.96.0.10:5353: no service has it"), "{}", run.all());
        let kube_proxy = ["--cluster=-", "--dry-run", "--profile=kube-proxy", arguments[2]];
        let run = reconcile_stdin(&kube_proxy, &cluster());
        assert!(run.stderr.contains("no effect on the profile kube-proxy"), "{}", run.all());
        let run = reconcile_stdin(&[arguments[0], arguments[1], arguments[3]], &cluster());
        assert_eq!(sums(&run.json())[1], 2, "{}", run.all());
        for bad in ["--extra-backend=10.96.0.10:53", "--zone=some"] {
            assert_eq!(reconcile_stdin(&["--cluster=-", bad], &cluster()).status, 2, "{bad}");
        }
    });
}

#[test]
fn nothing_to_do_is_done() {
    in_netns(|| {
        // A namespace without entries.
        let run = reconcile_stdin(&["--cluster", "-", "--json"], &cluster());
        assert_eq!((run.status, sums(&run.json())), (0, [0; 4]), "{}", run.all());
        // No usable service: nothing that counts.
        insert_all();
        let headless = service("h", json!({"clusterIP": "None", "ports": [{"port": 53}]}));
        let run = reconcile_stdin(&["--cluster", "-", "--json"], &list(&[headless]));
        assert_eq!((run.status, sums(&run.json())), (0, [0; 4]), "{}", run.all());
        assert_eq!(run.stderr, "note: no usable udp service in the document\n");
        assert_eq!(oracle::table().len(), 11);
    });
}

#[test]
fn without_privilege_the_remedy_is_named() {
    in_netns(|| {
        insert_all();
        let document = File::new("cluster.json", &cluster());
        let mut powerless = Command::new(command());
        powerless.args(["reconcile", "--cluster", document.path()]);
        ctnetlink_testbed::netns::drop_capabilities_of(&mut powerless);
        let run: Run = powerless.output().unwrap().into();
        assert_eq!(run.status, 1, "{}", run.all());
        assert!(
            run.stderr.contains("EPERM") && run.stderr.contains("CAP_NET_ADMIN"),
            "{}",
            run.all()
        );
        assert!(run.stderr.contains("run as root"), "{}", run.all());
        assert_eq!(oracle::table().len(), 11);
    });
}

/// A kernel without nfnetlink answers socket(2) with EPROTONOSUPPORT. This kernel has it, so a
/// seccomp filter makes that one call answer so.
#[test]
fn a_kernel_without_netfilter_netlink_is_named() {
    use seccompiler::{
        SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
    };
    in_netns(|| {
        let eq = |argument, value| {
            SeccompCondition::new(argument, SeccompCmpArgLen::Dword, SeccompCmpOp::Eq, value)
                .unwrap()
        };
        let netlink_netfilter = SeccompRule::new(vec![
            eq(0, libc::AF_NETLINK as u64),
            eq(2, libc::NETLINK_NETFILTER as u64),
        ]);
        let filter = SeccompFilter::new(
            [(libc::SYS_socket, vec![netlink_netfilter.unwrap()])].into(),
            SeccompAction::Allow,
            SeccompAction::Errno(libc::EPROTONOSUPPORT as u32),
            std::env::consts::ARCH.try_into().unwrap(),
        );
        let program: seccompiler::BpfProgram = filter.unwrap().try_into().unwrap();
        let document = File::new("cluster.json", &cluster());
        let path = command();
        // The filter is inherited by children, and this thread ends with the test.
        let run: Run = std::thread::scope(|scope| {
            let filtered = scope.spawn(|| {
                seccompiler::apply_filter(&program).unwrap();
                Command::new(&path)
                    .args(["reconcile", "--cluster", document.path()])
                    .output()
                    .unwrap()
            });
            filtered.join().unwrap().into()
        });
        assert_eq!(run.status, 1, "{}", run.all());
        assert!(run.stderr.contains("this kernel does not offer ctnetlink"), "{}", run.all());
        assert!(run.stderr.contains("modprobe nf_conntrack_netlink"), "{}", run.all());
        assert!(!run.stderr.contains("panicked"), "{}", run.all());
    });
}

#[test]
fn the_demo_audits_itself() {
    in_netns(|| {
        for profile in ["strict", "kube-proxy"] {
            let run = demo(&["--entries", "20000", "--json", "--profile", profile]);
            assert_eq!(run.status, 0, "{}", run.all());
            let report = run.json();
            assert_eq!(
                (&report["healthy_lost"], &report["stale_left"], &report["entries"]),
                (&json!(0), &json!(0), &json!(20000))
            );
            assert_eq!(sums(&report), [200, 200, 0, 0]);
        }
        let run = demo(&["--entries", "3000"]);
        assert!(run.status == 0 && run.stdout.ends_with("OK\n"), "{}", run.all());
        let dry = demo(&["--entries", "3000", "--dry-run", "--json"]);
        assert_eq!((dry.status, &dry.json()["stale_left"]), (0, &json!(30)), "{}", dry.all());
    });
}

#[test]
fn more_entries_than_the_kernel_takes() {
    in_netns(|| {
        let limit = Conntrack::open().unwrap().limit().unwrap();
        let entries = (u64::from(limit) + 1).to_string();
        let run = demo(&["--entries", &entries]);
        assert_eq!(run.status, 1, "{}", run.all());
        assert!(run.stderr.contains(&format!("nf_conntrack_max is {limit}")), "{}", run.all());
    });
}

/// Memory does not depend on the size of the table. The build with debug information needs more
/// than the released one, and keeps the limit too.
#[test]
fn memory_is_constant() {
    in_netns(|| {
        let [large, small] = ["200000", "20000"].map(|entries| {
            let run = demo(&["--entries", entries, "--json"]);
            assert_eq!(run.status, 0, "{}", run.all());
            let report = run.json();
            assert_eq!((&report["healthy_lost"], &report["stale_left"]), (&json!(0), &json!(0)));
            report["peak_rss_kib"].as_u64().unwrap()
        });
        assert!(large < 8192 && large.abs_diff(small) < 1024, "{large} KiB and {small} KiB");
    });
}

#[test]
fn a_host_service_at_an_external_address_needs_the_node_address() {
    in_netns(|| {
        let mut external = dns();
        external["spec"]["externalIPs"] = json!(["192.0.2.5"]);
        external["spec"]["ports"][0]["nodePort"] = json!(0);
        let document = list(&[external, slice("kube-dns", "IPv4", &[("10.244.1.5", true)])]);
        conntrack_insert("udp", 1, ("192.0.2.5", 53), ("192.0.2.5", 53));
        let dry = reconcile_stdin(&["--cluster", "-", "--dry-run", "--json"], &document);
        assert!(
            dry.stderr.contains("without an ipv4 --node-address, a host service"),
            "{}",
            dry.all()
        );
        assert_eq!(sums(&dry.json())[0], 1);
        let run = reconcile_stdin(
            &["--cluster", "-", "--json", "--node-address", "192.0.2.5"],
            &document,
        );
        assert_eq!((run.stderr.as_str(), sums(&run.json())), ("", [0; 4]));
        let none = reconcile_stdin(&["--cluster", "-", "--node-address", "0.0.0.0"], &document);
        assert_eq!(none.status, 2, "{}", none.all());
    });
}
