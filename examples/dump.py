"""List the UDP entries to port 53 of this network namespace. Needs CAP_NET_ADMIN."""

import ctnetlink

with ctnetlink.Conntrack() as ct:
    print(ct.count(), "of", ct.limit())
    for flow in ct.dump("udp and orig dst port 53"):
        print(flow.orig.src, flow.orig.dst, "->", flow.reply.src, flow.status)
