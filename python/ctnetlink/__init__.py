"""Linux connection tracking, straight from the kernel.

>>> import ctnetlink
>>> with ctnetlink.Conntrack() as ct:  # doctest: +SKIP
...     for flow in ct.dump(protocol="udp", orig_dst_port=53):
...         print(flow.orig.dst, flow.reply.src, flow.status)
...     report = ct.reconcile(desired, dry_run=True)
"""

from ctnetlink._ctnetlink import (
    Capabilities,
    ComesBack,
    Conntrack,
    DecodeError,
    DeleteReport,
    Deletions,
    DesiredState,
    Dump,
    DumpInterrupted,
    Explanation,
    Failure,
    FamilyReport,
    Filter,
    Flow,
    Icmp,
    Reasons,
    Reconciler,
    Removal,
    Report,
    Stayed,
    Tuple,
    Zeroed,
    __version__,
)
from ctnetlink._enums import Status

__all__ = [
    "Capabilities",
    "ComesBack",
    "Conntrack",
    "DecodeError",
    "DeleteReport",
    "Deletions",
    "DesiredState",
    "Dump",
    "DumpInterrupted",
    "Explanation",
    "Failure",
    "FamilyReport",
    "Filter",
    "Flow",
    "Icmp",
    "Reasons",
    "Reconciler",
    "Removal",
    "Report",
    "Status",
    "Stayed",
    "Tuple",
    "Zeroed",
    "__version__",
]
