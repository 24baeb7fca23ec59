"""Gives the site the methods that the stub has as overloads only; griffe leaves them out."""

from typing import Any

import griffe


class Overloads(griffe.Extension):
    """Make a method of overloads that have no implementation, as in every stub."""

    def on_class(self, *, cls: griffe.Class, **_: Any) -> None:
        """Add the last overload, which has the documentation, with all of them as signatures."""
        for name, overloads in cls.overloads.items():
            if overloads and name not in cls.members:
                method = overloads[-1]
                method.overloads = overloads
                cls.set_member(name, method)
