"""Put the docstrings of the native module into its stub, or ``--check`` that they are there.

The comments in the Rust source are what ``help()`` shows. Editors read the stub, so it has the same
texts, and nobody writes them twice.
"""

import ast
import inspect
import sys
from pathlib import Path

import ctnetlink._ctnetlink as native

STUB = Path(__file__).parent.parent / "ctnetlink" / "_ctnetlink.pyi"


def text_of(value: object, indent: int) -> list[str]:
    """Return the lines of a docstring, as they stand in the stub."""
    text = inspect.cleandoc(str(getattr(value, "__doc__", None) or "")).strip()
    lines = text.splitlines()
    if not lines:
        return []
    space = " " * indent
    if len(lines) == 1:
        return [f'{space}"""{lines[0]}"""']
    middle = [f"{space}{line}".rstrip() for line in lines[1:]]
    return [f'{space}"""{lines[0]}', *middle, f'{space}"""']


def with_docs(source: str) -> str:
    """Return the stub with the docstrings of the native module."""
    lines = source.splitlines()
    edits: list[tuple[ast.stmt, list[str]]] = []
    for node in ast.parse(source).body:
        if not isinstance(node, ast.ClassDef) or node.name.startswith("_"):
            continue
        cls = getattr(native, node.name)
        edits.append((node, text_of(cls, 4)))
        functions = [item for item in node.body if isinstance(item, ast.FunctionDef)]
        last = {function.name: function for function in functions}
        for function in functions:
            if not function.name.startswith("_") and last[function.name] is function:
                member = inspect.getattr_static(cls, function.name)
                member = getattr(cls, function.name) if callable(member) else member
                edits.append((function, text_of(member, 8)))
    for node, doc in sorted(edits, key=lambda edit: edit[0].lineno, reverse=True):
        assert isinstance(node, ast.ClassDef | ast.FunctionDef)
        first = node.body[0]
        has_doc = isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant)
        is_doc = has_doc and isinstance(first.value.value, str)  # type: ignore[attr-defined]
        is_dots = has_doc and first.value.value is Ellipsis  # type: ignore[attr-defined]
        end = first.end_lineno or first.lineno
        rest = lines[first.lineno - 1][: first.col_offset].rstrip()
        if is_doc or (is_dots and doc):
            kept = [rest] if rest.strip() else []
            lines[first.lineno - 1 : end] = kept + doc
        elif doc:
            lines[first.lineno - 1 : first.lineno - 1] = doc
    return "\n".join(lines) + "\n"


def main() -> int:
    """Write the stub, or compare it."""
    before = STUB.read_text()
    after = with_docs(before)
    if "--check" in sys.argv:
        if before != after:
            print("the docstrings of the stub are out of date: run `make stubs`", file=sys.stderr)
            return 1
        return 0
    STUB.write_text(after)
    return 0


if __name__ == "__main__":
    sys.exit(main())
