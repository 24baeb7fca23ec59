"""What is installed."""

from importlib import metadata

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
