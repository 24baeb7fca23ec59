//! The public API of each published crate, recorded in its `api.txt`.

use std::path::PathBuf;
use std::process::Command;

use crate::{read, root};

/// Crates with a record.
const CRATES: [&str; 4] = ["ctnetlink", "ctnetlink-kube", "ctnetlink-metrics", "ctnetlink-cli"];

/// What rustdoc says of a crate with all features, in its own target folder, so that it does not
/// wait for the build that runs this test.
fn rustdoc_json(name: &str) -> PathBuf {
    let target = root().join("target/api");
    let mut cargo = Command::new(env!("CARGO"));
    cargo.current_dir(root()).args(["rustdoc", "--locked", "--lib", "--all-features", "-p", name]);
    // `k8s-openapi` wants a version; it is the application's choice, and the API is the same.
    if matches!(name, "ctnetlink-kube" | "ctnetlink-cli") {
        cargo.args(["--features", "k8s-openapi/latest"]);
    }
    cargo.arg("--target-dir").arg(&target);
    cargo.args(["--", "-Z", "unstable-options", "--output-format", "json", "--cap-lints", "allow"]);
    // The JSON format is not stable. This lets the installed toolchain write it.
    let output = cargo.env("RUSTC_BOOTSTRAP", "1").output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    target.join("doc").join(name.replace('-', "_")).with_extension("json")
}

/// A change of the public API is seen in review: it changes the record. `make api` writes it.
#[test]
fn the_public_api_is_the_recorded_one() {
    for name in CRATES {
        let api = public_api::Builder::from_rustdoc_json(rustdoc_json(name))
            .omit_blanket_impls(true)
            .omit_auto_trait_impls(true)
            .omit_auto_derived_impls(true)
            .build()
            .unwrap_or_else(|e| {
                panic!(
                    "{name}: {e}; tests/Cargo.toml has to name the version of \
                                        public-api that reads this toolchain's rustdoc"
                )
            });
        let record = format!("crates/{name}/api.txt");
        let now = api.to_string();
        if std::env::var_os("CTNETLINK_WRITE_API").is_some() {
            std::fs::write(root().join(&record), &now).unwrap();
        }
        let before = read(&record);
        let gone = before.lines().filter(|line| !now.lines().any(|l| l == *line));
        let new = now.lines().filter(|line| !before.lines().any(|l| l == *line));
        let changes: Vec<_> =
            gone.map(|l| format!("-{l}")).chain(new.map(|l| format!("+{l}"))).collect();
        assert!(before == now, "{record} is out of date (make api):\n{}", changes.join("\n"));
    }
}
