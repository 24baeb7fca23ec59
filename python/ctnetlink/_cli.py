"""The command ``ctnetlink``."""

import signal
import sys

from ctnetlink._ctnetlink import _command


def main() -> int:
    """Run the command with the arguments of this process, and return the exit status."""
    # As in any program: Python's handler would only run after the command has returned.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    return _command(["ctnetlink", *sys.argv[1:]])
