"""What Rust can do, Python can: every public item of the Rust crates has its counterpart."""

import inspect
import re
from collections.abc import Callable
from pathlib import Path

import pytest

import ctnetlink

ROOT = Path(__file__).parent.parent.parent

#: Types and members without a counterpart, with the reason. A type covers its members.
EXCEPTIONS = {
    "Diagnose": "Conntrack.diagnose() has its options as keywords",
    "FindingId.ALL": "an enumeration can be iterated over",
    "FindingId.name": "a member is its name",
    "Setting.ALL": "an enumeration can be iterated over",
    "Setting.name": "a member is its name",
    "Summary.name": "names= of Conntrack.summary() and Summarizer.finish()",
    "Grouped": "f'{number:,}'",
    "uapi": "the kernel's numbers, for those who read attributes by number in Rust",
    "wire": "the wire format; Python has the attributes of a flow as bytes",
    "Addresses": "values of keywords: text, ipaddress objects, and collections of them",
    "Ports": "values of keywords: numbers, ranges, text, and collections of them",
    "Labels": "a collection of numbers",
    "Line": "Flow.line() has its options as keywords and returns the text",
    "DesiredStateBuilder": "BUILDER says which keyword is which method",
    "DeleteMatching": "delete_matching() has its options as keywords",
    "Flows": "a Dump is an iterator itself",
    "Step": "a Dump looks at signals itself, so nobody has to come in between",
    "Echo": "the flow, or None if the kernel did not report it",
    "Zones": 'zones= takes numbers or "all"; none is the default',
    "HostAddresses": "a list of addresses, or None for any local one",
    "Error": "ERRORS says which exception is which variant",
    "Operation": "the text of an error begins with it",
    "KeyDirection": "the texts orig and reply",
    "IpNet": "a type of another crate; Python has ipaddress",
    "Flow.as_ref": "borrowing",
    "Flow.to_owned": "borrowing",
    "Dump.step": "a Dump looks at signals itself, so nobody has to come in between",
    "Family.ALL": "an enumeration can be iterated over",
    "KernelCriterion.ALL": "an enumeration can be iterated over",
    "KernelCriterion.name": "a member is its name",
    "Reason.name": "a member is its name",
    "Timestamps": "Flow.start and Flow.stop",
    "Capabilities.dump": "Capabilities.trust has dumps and flushes of all criteria",
    "Capabilities.flush": "Capabilities.trust has dumps and flushes of all criteria",
    "Protocol": "a name, or a number",
    "DecodeError.offset": "it is in the text",
    "DecodeError.what": "it is in the text",
    "Expectation.parse": "expectations come from the kernel only",
    "Filter.check": "every filter is checked when it is made",
    "Icmp.kind": "Icmp.type, because type is no keyword in Python",
    "ProtocolState": "three classes, one for each protocol, and their union",
    "SctpState.Other": "a number without a name is a plain text",
    "TcpState.Other": "a number without a name is a plain text",
    "SctpState.number": "a member is its name",
    "TcpState.number": "a member is its name",
}

#: Rust's name of an item where Python's differs.
RENAMED = {
    "Conntrack.open": "Conntrack.__new__",
    "Conntrack.open_in": "Conntrack.__new__",
    "Conntrack.open_named": "Conntrack.__new__",
    "Conntrack.open_path": "Conntrack.__new__",
    "Conntrack.open_pid": "Conntrack.__new__",
    "Conntrack.capabilities_within": "Conntrack.capabilities",
    "FindingId.CloseWait1Hour": "FindingId.CLOSE_WAIT_1_HOUR",
    "FindingId.Established5Days": "FindingId.ESTABLISHED_5_DAYS",
    "Limits.with": "Limits.with_",
    "Names.of": "Names.__new__",
    "Dump.next": "Dump.__next__",
    "Dump.count": "Conntrack.count",
    "Batch.is_empty": "Batch.__len__",
    "Batch.len": "Batch.__len__",
    "DesiredState.builder": "DesiredState.from_services",
    "DesiredState.fetched": "DesiredState.age",
    "Expectation.class": "Expectation.class_",
    "Flow.timestamps": "Flow.start",
    "Family.of": "Frontend.family",
    "NatRange.addresses": "NatRange.addresses",
    "Progress.pass": "Progress.pass_",
    "Reasons.iter": "Reasons.items",
    "Timeouts.iter": "Timeouts.items",
    "Timeouts.of": "Timeouts.__new__",
    "Trust.Wrong": "Trust.WRONG",
    "Scope.zones": "Scope.looks_at",
}

#: The classes whose methods are keywords of a constructor in Python, and the constructor.
KEYWORDS: dict[str, list[Callable[..., object]]] = {
    "Change": [ctnetlink.Change],
    "NewEntry": [ctnetlink.NewEntry],
    "NewExpectation": [ctnetlink.NewExpectation],
    "Reconciler": [ctnetlink.Reconciler],
    "Endpoint": [ctnetlink.Endpoint],
    "Key": [ctnetlink.Key.orig],
    "ExpectKey": [ctnetlink.ExpectKey.tuple],
    "Tuple": [ctnetlink.Tuple],
    "Filter": [ctnetlink.Filter],
    "NatRange": [ctnetlink.NatRange],
}

#: Keywords with another name than the method, and suffixes that a keyword does not need, because it
#: takes one value or many.
METHODS = {
    "status_set": "status",
    "mark_masked": "mark",
    "labels_masked": "labels",
    "with_icmp": "icmp",
    "with_ports": "src_port",
    "class": "class_",
}

#: The methods of the builder of a desired state, and where they are.
BUILDER = {
    "backends": "from_frontends.frontends",
    "no_backends": "from_frontends.frontends",
    "frontend": "from_frontends.frontends",
    "tcp": "from_frontends.frontends",
    "udp": "from_frontends.frontends",
    "sctp": "from_frontends.frontends",
    "extra_backends": "from_frontends.extra_backends",
    "fetched_at": "from_services.age",
    "made_from_services": "from_services.made_from_services",
    "node_addresses": "from_services.node_addresses",
    "node_port_addresses": "from_services.node_port_addresses",
    "note": "from_services.notes",
    "published": "from_published.published",
    "unpublished": "from_published.unpublished",
    "service": "from_services.services",
    "unknown": "from_services.unknown",
    "build": "from_services.services",
}

#: The variants of the error, and the exceptions.
ERRORS: dict[str, type[Exception]] = {
    "AnotherEntry": ctnetlink.AnotherEntry,
    "Cancelled": ctnetlink.Cancelled,
    "Decode": ctnetlink.DecodeError,
    "DumpInterrupted": ctnetlink.DumpInterrupted,
    "HalfState": ctnetlink.HalfState,
    "Invalid": ValueError,
    "Io": OSError,
    "Kernel": OSError,
    "NoAnswer": TimeoutError,
    "NotSupported": ctnetlink.NotSupported,
    "Overrun": ctnetlink.Overrun,
    "Setting": OSError,
    "Syntax": ctnetlink.FilterSyntaxError,
    "Truncated": ctnetlink.DecodeError,
}

#: Methods of traits and of bitflags, which Python has as operators and as methods of IntFlag.
TRAITS = """
as_ref bitand bitand_assign bitor bitor_assign bitxor bitxor_assign clone cmp default drop eq extend
fmt from from_iter from_str hash into_iter next not partial_cmp serialize deserialize sub sub_assign
FLAGS all all_named bits complement contains difference empty from_bits from_bits_retain
from_bits_truncate from_name insert intersection intersects is_all is_empty iter iter_names remove
set symmetric_difference toggle union
"""
TRAIT_METHODS = set(TRAITS.split())

TYPE = re.compile(r"pub (?:struct|enum|type|use) ctnetlink::(?:diagnose::)?(\w+)")
MEMBER = re.compile(
    r"pub (?:const )?(?:fn )?(?:const fn )?ctnetlink::(?:diagnose::)?(\w+)(?:<[^>]*>)?::(\w+)(\(?)"
)


def public_items() -> tuple[set[str], set[str]]:
    """Return the types, and the members as ``Type.member``, of the Rust crate's public API."""
    lines = (ROOT / "crates/ctnetlink/api.txt").read_text().splitlines()
    types, members = set(), set()
    for line in lines:
        line = line.removeprefix("#[non_exhaustive] ")
        if "::uapi" in line or "::wire" in line or line.startswith("impl"):
            continue
        if found := TYPE.match(line):
            types.add(found[1])
        elif found := MEMBER.match(line):
            members.add(f"{found[1]}.{found[2]}")
    return types, members


def has(path: str) -> bool:
    """Whether Python has an item."""
    value: object = ctnetlink
    for name in path.split("."):
        if not hasattr(value, name):
            return False
        value = getattr(value, name)
    return True


def has_keyword(name: str, method: str) -> bool:
    """Whether a builder's method is a keyword."""
    for constructor in KEYWORDS.get(name, []):
        known = inspect.signature(constructor).parameters
        if METHODS.get(method, method.removesuffix("_in")) in known:
            return True
    return False


def is_bound(item: str) -> bool:
    """Whether a member has its counterpart, under its own name or that of a table."""
    name, member = item.split(".")
    if name == "DesiredStateBuilder":
        constructor, keyword = BUILDER.get(member, "from_services.?").split(".")
        return keyword in inspect.signature(getattr(ctnetlink.DesiredState, constructor)).parameters
    if name == "Error":
        return member in ERRORS or member.startswith("is_") or member == "raw_os_error"
    # A variant of an enumeration is a member in capitals, or a text.
    spelled = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", member).upper()
    candidates = [item, f"{name}.{spelled}", RENAMED.get(item, item)]
    if name in ("Verdict", "Outcome"):
        candidates.append(f"{name}Kind.{spelled}")
    if member == "new":
        return has(name)
    return any(has(candidate) for candidate in candidates) or has_keyword(name, member)


def missing() -> list[str]:
    """Return what has no counterpart and is no exception."""
    types, members = public_items()
    lost = [name for name in types if name not in EXCEPTIONS and not hasattr(ctnetlink, name)]
    for item in members:
        name, member = item.split(".")
        of_trait = member in TRAIT_METHODS and not has(item)
        covered = item in EXCEPTIONS or (
            name in EXCEPTIONS and name not in ("DesiredStateBuilder", "Error")
        )
        aliases = ("FlowRef", "Result")
        if not (of_trait or covered or name in aliases or is_bound(item)):
            lost.append(item)
    return sorted(name for name in lost if name not in ("FlowRef", "Result"))


def test_every_public_item_has_a_counterpart(capsys: pytest.CaptureFixture[str]) -> None:
    """Print the figures, too: they belong in every report about the bindings."""
    types, members = public_items()
    assert len(types) > 60 and len(members) > 400, "the record of the API is not what it was"
    assert missing() == []
    with capsys.disabled():
        bound = len([item for item in members if is_bound(item)])
        print(f"\n{bound} of {len(members)} members bound, {len(EXCEPTIONS)} exceptions", end=" ")


def test_the_options_of_the_kubernetes_crate_are_keywords() -> None:
    text = (ROOT / "crates/ctnetlink-kube/api.txt").read_text()
    fields = re.findall(r"^pub ctnetlink_kube::Options::(\w+):", text, re.MULTILINE)
    keywords = inspect.signature(ctnetlink.DesiredState.from_kubernetes).parameters
    assert len(fields) > 5
    assert [name for name in fields if {"fetched": "age"}.get(name, name) not in keywords] == []


def test_a_missing_binding_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(ctnetlink, "LabelMap")
    lost = missing()
    assert "LabelMap" in lost and "LabelMap.bit" in lost


def test_the_tables_name_what_exists() -> None:
    types, members = public_items()
    known = types | members | {"uapi", "wire"}
    assert [name for name in EXCEPTIONS if name not in known] == []
    assert [name for name, path in RENAMED.items() if name not in members or not has(path)] == []
