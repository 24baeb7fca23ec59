"""Linux connection tracking, straight from the kernel.

>>> import ctnetlink
>>> with ctnetlink.Conntrack() as ct:  # doctest: +SKIP
...     for flow in ct.dump(protocol="udp", orig_dst_port=53):
...         print(flow.orig.dst, flow.reply.src, flow.status)
...     report = ct.reconcile(desired, dry_run=True)
"""

from ctnetlink._ctnetlink import (
    Conntrack,
    DecodeError,
    Deletions,
    DesiredState,
    Dump,
    DumpInterrupted,
    FamilyReport,
    Filter,
    Flow,
    Icmp,
    Reasons,
    Removal,
    Report,
    Tuple,
    __version__,
)
from ctnetlink._enums import Status

__all__ = [
    "Conntrack",
    "DecodeError",
    "Deletions",
    "DesiredState",
    "Dump",
    "DumpInterrupted",
    "FamilyReport",
    "Filter",
    "Flow",
    "Icmp",
    "Reasons",
    "Removal",
    "Report",
    "Status",
    "Tuple",
    "__version__",
]
