"""The build backend: maturin, which would download Rust in silence where it is not installed."""

import shutil
import sys

import maturin
from maturin import (
    build_editable,
    build_sdist,
    build_wheel,
    prepare_metadata_for_build_editable,
    prepare_metadata_for_build_wheel,
)

__all__ = [
    "build_editable",
    "build_sdist",
    "build_wheel",
    "get_requires_for_build_editable",
    "get_requires_for_build_sdist",
    "get_requires_for_build_wheel",
    "prepare_metadata_for_build_editable",
    "prepare_metadata_for_build_wheel",
]

MISSING = (
    "ctnetlink: building from source needs Rust 1.88 or newer, and `cargo` is not in PATH: "
    "install it from https://rustup.rs"
)


def _need_rust() -> None:
    if shutil.which("cargo") is None:
        sys.exit(MISSING)


def get_requires_for_build_wheel(config_settings: object = None) -> list[str]:
    """Return what else a wheel needs, once there is Rust."""
    _need_rust()
    return list(maturin.get_requires_for_build_wheel(config_settings))


def get_requires_for_build_editable(config_settings: object = None) -> list[str]:
    """Return what else an editable wheel needs, once there is Rust."""
    _need_rust()
    return list(maturin.get_requires_for_build_editable(config_settings))


def get_requires_for_build_sdist(config_settings: object = None) -> list[str]:
    """Return what else a source distribution needs, once there is Rust."""
    _need_rust()
    return list(maturin.get_requires_for_build_sdist(config_settings))
