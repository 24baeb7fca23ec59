"""Builds the wheels, looks at what they need, and tries the one of this machine.

The linker is zig, from PyPI, so that a wheel asks for an old C library whatever this machine has.
With ``--here``, only the wheel of this machine is built.
A target whose Rust standard library is not installed is named and left out
(`rustup target add aarch64-unknown-linux-gnu`); that of this machine must be there.
"""

import platform
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

PACKAGE = Path(__file__).parent.parent
DIST = PACKAGE.parent / "target" / "wheels"

#: Rust's name of a target, and the oldest C library that its wheel asks for.
TARGETS = {
    "x86_64-unknown-linux-gnu": "manylinux_2_17",
    "aarch64-unknown-linux-gnu": "manylinux_2_17",
    "x86_64-unknown-linux-musl": "musllinux_1_2",
    "aarch64-unknown-linux-musl": "musllinux_1_2",
}
VERSIONS = ("3.11", "3.12", "3.13")

#: What a wheel has to do where it was installed: as nobody, in namespaces of its own.
TRIAL = """
import ctnetlink
from ctnetlink import Conntrack, NewEntry, Tuple
with Conntrack() as ct:
    ct.create(NewEntry(Tuple("udp", "10.0.0.1", "10.96.0.10", 1001, 53), 300))
    (flow,) = ct.dump("udp and orig dst port 53")
    assert flow.orig.src_port == 1001 and ct.count() == 1
    print("  created and read:", flow)
"""


def run(*command: str | Path, **options: object) -> None:
    """Run a command; end with its status if it fails."""
    done = subprocess.run([str(word) for word in command], check=False, **options)  # type: ignore[call-overload]
    if done.returncode:
        sys.exit(f"wheels: {command[0]} ended with {done.returncode}")


def installed_targets() -> set[str]:
    """Return the targets whose standard library this Rust has."""
    sysroot = subprocess.run(
        ["rustc", "--print", "sysroot"], check=True, capture_output=True, text=True
    ).stdout.strip()
    return {
        target
        for target in TARGETS
        if (Path(sysroot) / "lib" / "rustlib" / target / "lib").is_dir()
    }


def build(target: str) -> Path:
    """Build the wheel of a target."""
    # maturin refuses a wheel whose symbols are younger than the tag says.
    run(
        *(sys.executable, "-m", "maturin", "build", "--release", "--locked", "--zig", "--quiet"),
        *("--target", target, "--compatibility", TARGETS[target], "--out", DIST),
        cwd=PACKAGE,
    )
    machine, libc = target.split("-")[0], TARGETS[target].split("_")[0]
    (wheel,) = DIST.glob(f"*{libc}*_{machine}.whl")
    return wheel


def interpreters() -> dict[str, str]:
    """Return the Pythons of this machine, one of each version that the package supports."""
    found = {}
    for version in VERSIONS:
        pyenv = sorted(Path.home().glob(f".pyenv/versions/{version}.*/bin/python3"))
        path = str(pyenv[-1]) if pyenv else shutil.which(f"python{version}")
        if path is None:
            continue
        trial = subprocess.run([path, "-c", ""], check=False, capture_output=True)
        if trial.returncode == 0:  # a shim of pyenv may stand for a version that is not there
            found[version] = path
    return found


def try_out(wheel: Path) -> None:
    """Install the wheel, without Rust, in fresh environments, and use it without privileges."""
    pythons = interpreters()
    if not pythons:
        sys.exit(f"wheels: there is no Python of {', '.join(VERSIONS)} to try {wheel.name} with")
    for version, python in pythons.items():
        with tempfile.TemporaryDirectory() as folder:
            fresh = Path(folder, "venv", "bin", "python")
            bare = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": folder}
            run(python, "-m", "venv", fresh.parent.parent)
            run(
                *(fresh, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"),
                *("--no-index", wheel),
                env=bare,
            )
            print(f"  Python {version}", flush=True)
            alone = ("unshare", "--user", "--map-root-user", "--net")
            run(*alone, fresh, "-c", TRIAL, env=bare, cwd=folder)


def main() -> None:
    """Build, look, try."""
    shutil.rmtree(DIST, ignore_errors=True)
    here = f"{platform.machine()}-unknown-linux-gnu"
    targets = installed_targets()
    if here not in targets:
        sys.exit(f"wheels: Rust has no standard library for {here}")
    only_here = "--here" in sys.argv[1:]
    for target in [here] if only_here else TARGETS:
        if target not in targets:
            print(f"{target}: not built: `rustup target add {target}` installs what it needs")
            continue
        wheel = build(target)
        print(f"{wheel.name}: {wheel.stat().st_size // 1024} KiB", flush=True)
        if "-gnu" in target:
            run(sys.executable, "-m", "auditwheel", "show", wheel)
        if target == here:
            try_out(wheel)
    run(sys.executable, "-m", "maturin", "sdist", "--out", DIST, cwd=PACKAGE)
    run(sys.executable, "-m", "twine", "check", "--strict", *DIST.iterdir())


if __name__ == "__main__":
    main()
