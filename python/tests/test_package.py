"""What is installed."""

import os
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import ctnetlink


def test_the_metadata_is_complete() -> None:
    about = metadata.metadata("ctnetlink")
    assert about["Version"] == ctnetlink.__version__
    assert about["License-Expression"] == "MIT OR Apache-2.0"
    assert about["Requires-Python"] == ">=3.11"
    assert len(about.get_all("Project-URL") or []) == 2


def test_the_licences_and_the_types_are_there() -> None:
    names = {path.name for path in metadata.files("ctnetlink") or []}
    assert {"LICENSE-MIT", "LICENSE-APACHE", "py.typed", "_ctnetlink.pyi"} <= names


def test_a_build_without_rust_says_so_in_one_line() -> None:
    """And downloads nothing. maturin itself is not needed for the answer."""
    tools = Path(__file__).parent.parent / "tools"
    stand_in = "import sys, types; maturin = types.ModuleType('maturin')\n"
    stand_in += "maturin.__getattr__ = lambda name: print\nsys.modules['maturin'] = maturin\n"
    for hook in ("wheel", "editable", "sdist"):
        code = f"{stand_in}import build_backend; build_backend.get_requires_for_build_{hook}()"
        environment = {**os.environ, "PATH": "/nonexistent", "PYTHONPATH": str(tools)}
        done = subprocess.run(
            [sys.executable, "-c", code], env=environment, capture_output=True, text=True
        )
        assert done.returncode == 1 and len(done.stderr.splitlines()) == 1
        assert "`cargo` is not in PATH" in done.stderr
