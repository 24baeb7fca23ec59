"""Says which public names the site of `make docs` lacks. The package must be installed."""

import inspect
import re
import sys
from pathlib import Path

import ctnetlink

SITE = Path(__file__).parent.parent.parent / "target" / "python-docs"


def names() -> set[str]:
    """Return the public names of the package, and of its classes."""
    found = {f"ctnetlink.aio.{name}" for name in ("run", "dump")}
    for name in set(ctnetlink.__all__) - {"__version__"}:
        found.add(f"ctnetlink.{name}")
        member = getattr(ctnetlink, name)
        if inspect.isclass(member):
            found |= {
                f"ctnetlink.{name}.{inner}" for inner in vars(member) if not inner.startswith("_")
            }
    return found


def main() -> None:
    """Compare the names with the anchors of the pages."""
    anchors = {
        anchor
        for page in SITE.rglob("index.html")
        for anchor in re.findall(r'id="(ctnetlink[\w.]*)"', page.read_text())
    }
    missing = sorted(names() - anchors)
    if missing:
        sys.exit(f"{SITE} lacks {', '.join(missing)}")
    print(f"the reference has all {len(names())} names")


if __name__ == "__main__":
    main()
