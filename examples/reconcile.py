"""Reconcile this network namespace with a cluster. Needs CAP_NET_ADMIN.

kubectl get services,endpointslices -A -o json | python reconcile.py 192.0.2.5
"""

import sys

import ctnetlink

desired = ctnetlink.DesiredState.from_kubernetes(sys.stdin, node_addresses=sys.argv[1:])
for note in desired.notes:
    print("note:", note, file=sys.stderr)
with ctnetlink.Conntrack() as ct:
    report = ct.reconcile(desired)
print(report)
sys.exit(0 if report.succeeded else 1)
