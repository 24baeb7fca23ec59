"""``python -m ctnetlink`` is the command ``ctnetlink``."""

import sys

from ctnetlink._cli import main

if __name__ == "__main__":
    sys.exit(main())
