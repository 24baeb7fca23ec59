"""The examples of the README and the recipes run."""

import json
import re
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

import ctnetlink

README = Path(__file__).parent.parent / "README.md"
RECIPES = README.parent / "docs" / "recipes.md"

CLUSTER = {
    "kind": "List",
    "apiVersion": "v1",
    "items": [
        {
            "kind": "Service",
            "apiVersion": "v1",
            "metadata": {"namespace": "kube-system", "name": "kube-dns"},
            "spec": {
                "clusterIP": "10.96.0.10",
                "clusterIPs": ["10.96.0.10"],
                "ports": [{"name": "dns", "protocol": "UDP", "port": 53}],
            },
        },
        {
            "kind": "EndpointSlice",
            "apiVersion": "discovery.k8s.io/v1",
            "addressType": "IPv4",
            "metadata": {
                "namespace": "kube-system",
                "name": "kube-dns-1",
                "labels": {"kubernetes.io/service-name": "kube-dns"},
            },
            "ports": [{"name": "dns", "protocol": "UDP", "port": 53}],
            "endpoints": [{"addresses": ["10.244.1.5"], "conditions": {"ready": True}}],
        },
    ],
}


def test_the_examples_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("cluster.json").write_text(json.dumps(CLUSTER))
    blocks = re.findall(r"^ *```python\n(.*?)^ *```", README.read_text(), re.MULTILINE | re.DOTALL)
    # A loop without end, over a queue of the reader's own, is compiled only.
    codes = [compile(textwrap.dedent(block), "README.md", "exec") for block in blocks]
    runnable = [
        code for code, block in zip(codes, blocks, strict=True) if "while True" not in block
    ]
    assert len(runnable) == len(blocks) - 1 >= 5
    names: dict[str, object] = {"ctnetlink": ctnetlink}
    for code in runnable:
        exec(code, names)
    shown = capsys.readouterr().out
    assert "'dst': '10.96.0.10'" in shown and "top talkers" not in shown
    assert "dry run: nothing deleted" in shown


def test_the_recipes_run(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    insert: Callable[..., None],
    fill: Callable[[ctnetlink.Conntrack, int], None],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("cluster.json").write_text(json.dumps(CLUSTER))
    insert("10.9.0.1", "10.96.0.10", "10.244.1.5")
    with ctnetlink.Conntrack() as ct:
        fill(ct, 10)
    recipes = RECIPES.read_text().split("\n## ")[1:]
    assert len(recipes) == 5
    for recipe in recipes:
        title, text = recipe.split("\n", 1)
        (code,) = re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
        # Each stands alone.
        exec(compile(code, title, "exec"), {})
    shown = capsys.readouterr().out
    assert "10.9.0.1 -> 10.96.0.10\n" in shown  # drained
    assert "10 deleted" not in shown and "\n10 entries\n" in shown
    assert Path("conntrack.svg").stat().st_size > 1000


def test_the_words_of_other_tools_exist_here() -> None:
    """Each name in the second column of the table is one of this package."""
    table = README.read_text().split("## Coming from", 1)[1]
    for call in re.findall(r"\bct\.(\w+)\(", table):
        assert hasattr(ctnetlink.Conntrack, call), call
    for name in re.findall(r"\bflow\.(?:orig\.|reply\.)?(\w+)", table.split("A word of", 1)[0]):
        assert hasattr(ctnetlink.Flow, name) or hasattr(ctnetlink.Tuple, name), name
    for text in re.findall(r'ct\.dump\("([^"]+)"\)', table):
        ctnetlink.Filter.parse(text)
