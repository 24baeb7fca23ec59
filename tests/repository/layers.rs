//! The layers of `crates/ctnetlink/src`: who imports from whom.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use crate::{files, read};

const SOURCE: &str = "crates/ctnetlink/src";
/// Test code may look up: oracles and samples come from anywhere.
const TEST_FILES: [&str; 3] = ["tests.rs", "naive.rs", "sample.rs"];

/// A program that embeds the core with its default features gets none of these.
#[test]
fn the_default_core_is_small() {
    let mut cargo = std::process::Command::new(env!("CARGO"));
    cargo.args([
        "tree",
        "--locked",
        "--offline",
        "-p",
        "ctnetlink",
        "-e",
        "normal",
        "--prefix",
        "none",
    ]);
    let output = cargo.current_dir(env!("CARGO_MANIFEST_DIR")).output().unwrap();
    let tree = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let names: BTreeSet<_> = tree.lines().filter_map(|line| line.split(' ').next()).collect();
    assert!(names.contains("netlink-sys"), "{tree}");
    for heavy in ["tokio", "serde", "clap", "arrow", "hyper", "kube", "k8s-openapi", "futures"] {
        assert!(!names.contains(heavy), "{heavy} in\n{tree}");
    }
}

/// The order of the layers, from the top, as the front page of the documentation gives it.
fn layers() -> Vec<String> {
    let page = read(format!("{SOURCE}/lib.rs"));
    let named = |line: &str| {
        let name = line.strip_prefix("//! * **`")?.split('`').next()?;
        Some(name.to_owned())
    };
    let mut layers: Vec<_> = page.lines().filter_map(named).collect();
    assert!(layers.len() > 5, "lib.rs lists the folders as `//! * **`name`**`: {layers:?}");
    layers.extend(["wire", "uapi", "error"].map(String::from));
    layers
}

/// A file as a path of modules: `["filter", "plan"]` for `filter/plan/mod.rs`.
fn module(path: &Path) -> Vec<String> {
    let inside = path.strip_prefix(SOURCE).unwrap().with_extension("");
    let parts = inside.iter().map(|part| part.to_string_lossy().into_owned());
    parts.filter(|part| part != "mod").collect()
}

/// The code of a file without comments and tests.
fn code(path: &Path) -> String {
    let text = read(path);
    let end =
        text.find("#[cfg(test)]\nmod tests").or(text.find("#[cfg(test)]\n#[cfg(target_endian"));
    let lines = text[..end.unwrap_or(text.len())].lines();
    lines.filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
}

/// Every module that a file names by a path from the crate, itself or its parent.
fn named(own: &[String], is_folder: bool, code: &str) -> BTreeSet<Vec<String>> {
    let parent = if is_folder { own } else { &own[..own.len().saturating_sub(1)] };
    let mut found = BTreeSet::new();
    for (start, base) in [("crate::", None), ("super::", Some(1)), ("self::", Some(0))] {
        for (at, _) in code.match_indices(start) {
            let before = code[..at].chars().next_back();
            if before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == ':') {
                continue;
            }
            let path = code[at + start.len()..]
                .split(|c: char| !c.is_alphanumeric() && c != '_' && c != ':')
                .next()
                .unwrap_or_default();
            let mut module: Vec<String> = match base {
                None => Vec::new(),
                // `super` of a folder's mod.rs is the folder above it.
                Some(1) if is_folder => own[..own.len() - 1].to_vec(),
                Some(1) => parent.to_vec(),
                _ => own.to_vec(),
            };
            for part in path.split("::").filter(|part| !part.is_empty()) {
                if part == "super" {
                    module.pop();
                } else {
                    module.push(part.to_owned());
                }
            }
            found.insert(module);
        }
    }
    found
}

/// The modules of the library with those they import, tests left out.
fn imports() -> BTreeMap<Vec<String>, BTreeSet<Vec<String>>> {
    let paths = files(SOURCE, &[".rs"]);
    let modules: BTreeSet<_> = paths.iter().map(|path| module(path)).collect();
    let mut all = BTreeMap::new();
    for path in &paths {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if TEST_FILES.contains(&name.as_str()) || matches!(&*name, "lib.rs" | "fuzzing.rs") {
            continue;
        }
        let own = module(path);
        let longest = |mut path: Vec<String>| {
            while !path.is_empty() && !modules.contains(&path) {
                path.pop();
            }
            path
        };
        let named = named(&own, name == "mod.rs", &code(path));
        let imported = named.into_iter().map(longest).filter(|path| *path != own).collect();
        all.insert(own, imported);
    }
    all
}

#[test]
fn a_folder_imports_only_from_those_below_it() {
    let layers = layers();
    let rank = |folder: &String| {
        let found = layers.iter().position(|layer| layer == folder);
        found.unwrap_or_else(|| panic!("{folder} is in no layer of {SOURCE}/lib.rs"))
    };
    let mut edges = 0;
    for (own, imported) in imports() {
        for other in imported {
            assert!(!other.is_empty(), "{own:?} imports from the crate's top: name the module");
            assert!(
                rank(&own[0]) <= rank(&other[0]),
                "{} imports from {}, which is above it",
                own.join("::"),
                other.join("::"),
            );
            edges += 1;
        }
    }
    assert!(edges > 100, "the walk finds imports: {edges}");
    for layer in &layers {
        let folder = format!("{SOURCE}/{layer}");
        let there = |path: String| crate::root().join(path).exists();
        assert!(there(format!("{folder}/mod.rs")) || there(format!("{folder}.rs")), "{layer}");
    }
}

/// Siblings, too: a parent and its child belong together, two neighbours do not.
#[test]
fn no_two_modules_import_each_other() {
    let imports = imports();
    for (own, imported) in &imports {
        for other in imported {
            let family = own.starts_with(other) || other.starts_with(own);
            let back = imports.get(other).is_some_and(|theirs| theirs.contains(own));
            assert!(family || !back, "{} and {}", own.join("::"), other.join("::"));
        }
    }
}

/// What is pure never sees a socket, so that a blocking handle, an asynchronous one and a fuzz
/// target share every line of it.
#[test]
fn what_is_pure_names_no_socket() {
    const PURE: [&str; 6] =
        ["reconcile/rules/", "reconcile/memory/", "request/", "filter/", "model/", "wire.rs"];
    let mut seen = 0;
    for path in files(SOURCE, &[".rs"]) {
        let inside = path.strip_prefix(SOURCE).unwrap().to_string_lossy().into_owned();
        if !PURE.iter().any(|pure| inside.starts_with(pure)) || inside.ends_with("tests.rs") {
            continue;
        }
        seen += 1;
        let code = code(&path);
        for word in [
            "crate::transport",
            "crate::conntrack",
            "crate::probe",
            "netlink_sys",
            "std::fs",
            "std::thread",
            "Instant::now",
        ] {
            assert!(!code.contains(word), "{inside} names {word}");
        }
    }
    assert!(seen > 25, "{seen} files");
}

/// `unsafe` stands in the transport only.
#[test]
fn unsafe_code_is_in_the_transport() {
    for path in files(SOURCE, &[".rs"]) {
        let inside = path.strip_prefix(SOURCE).unwrap().to_string_lossy().into_owned();
        let code = code(&path);
        let has = code.contains("unsafe {") || code.contains("allow(\n    unsafe_code");
        assert!(!has || inside.starts_with("transport/"), "{inside}");
    }
}
