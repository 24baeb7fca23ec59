//! All of these tests once more, without any privilege.

use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::{env, fs};

/// Set in the run without privilege, so that it does not start another.
const MARK: &str = "CTNETLINK_TEST_ROOTLESS";
/// The overflow uid, which owns nothing.
const NOBODY: u32 = 65534;

/// As root: runs this binary as a user who has no privilege, where each test makes a user
/// namespace for itself. As anybody else the whole run is rootless already.
#[test]
fn the_suite_passes_without_privilege() {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let uids = status.lines().find_map(|line| line.strip_prefix("Uid:")).unwrap();
    let is_root = uids.split_whitespace().nth(1) == Some("0");
    if !is_root || env::var_os(MARK).is_some() {
        return;
    }
    // The build directory may be closed to others.
    let directory = env::temp_dir().join(format!("ctnetlink-rootless-{}", std::process::id()));
    fs::create_dir_all(&directory).unwrap();
    fs::set_permissions(&directory, fs::Permissions::from_mode(0o755)).unwrap();
    let program = directory.join("kernel");
    fs::copy(env::current_exe().unwrap(), &program).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();

    let output = Command::new(&program)
        .env(MARK, "1")
        .env("TMPDIR", "/tmp")
        .current_dir("/")
        .gid(NOBODY)
        .uid(NOBODY)
        .output();
    fs::remove_dir_all(&directory).unwrap();
    let output = output.unwrap();
    let stdout = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{stdout}\n{}", String::from_utf8_lossy(&output.stderr));
    assert!(!stdout.contains("running 0 tests"), "{stdout}");
}
