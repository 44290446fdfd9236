"""docs/json.md and what is printed are the same: every key, and every type it can have."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from secretsd.control.check import ok, published, warn
from secretsd.errors import FailureClass
from tests.cli import documents
from tests.control.asking import Served
from tests.refresh.daemon import Home, live
from tests.refresh.fakes import failure

DOCUMENTATION = Path(__file__).resolve().parents[2] / "docs" / "json.md"
_TYPES = {str: "string", bool: "boolean", int: "integer", float: "number", type(None): "null", dict: "object"}

Types = dict[str, set[str]]  # path, with NAME for a key and [] for an item -> types


def documented(title: str) -> Types:
    """The table under `## title`."""
    sections = re.split(r"^## ", DOCUMENTATION.read_text(encoding="utf-8"), flags=re.MULTILINE)
    (section,) = [text for text in sections if text.splitlines()[0] == title]
    rows = re.findall(r"^\| `([^`]+)` \| ([a-z ]+) \|", section, re.MULTILINE)
    assert rows, "no table"
    return {path: set(types.split(" or ")) for path, types in rows}


def found(document: Any, known: Types) -> Types:
    """Every path of the document with the types seen there; `known` says where an object's keys are names."""
    seen: Types = {}
    for path, name in _walk(document, "", known):
        seen.setdefault(path, set()).add(name)
    return seen


def _walk(value: Any, path: str, known: Types) -> Iterator[tuple[str, str]]:
    if isinstance(value, list):
        for item in value:
            yield from _walk(item, f"{path}[]", known)
    elif isinstance(value, dict):
        if path in known:
            yield path, "object"
        has_names = any(re.match(rf"{re.escape(path)}\.NAME\b", other) for other in known)
        for key, item in value.items():
            below = "NAME" if has_names and path else key
            yield from _walk(item, f"{path}.{below}" if path else below, known)
    else:
        yield path, _TYPES[type(value)]


def undocumented(document: Any, known: Types) -> list[str]:
    """Paths, and types of paths, that the documentation does not have."""
    lacking = []
    for path, names in found(document, known).items():
        allowed = set(known.get(path, ()))
        extra = {
            name for name in names if name not in allowed and not (name == "integer" and "number" in allowed)
        }
        lacking += [f"{path}: {name}" for name in sorted(extra)]
    return lacking


# What each command prints, in all its variants together.
PRINTED: dict[str, list[Any]] = {
    "status": [
        documents.everything(),
        documents.status({"b": documents.bundle(owner=None, hold=documents.hold())}),
    ],
    "plan": [documents.PLAN],
    "diff": [documents.DIFF],
    "history": [documents.HISTORY, {**documents.HISTORY, "hold": None}],
    "reload, rollback, hold, resume": [documents.WORK],
    "doctor": [published([ok("config", "fine"), warn("clock aws", "a minute off", "set it")])],
}


@pytest.mark.parametrize("title", PRINTED)
def test_every_key_is_documented_and_every_documented_key_occurs(title: str) -> None:
    known = documented(title)
    occurring: Types = {}
    for document in PRINTED[title]:
        assert undocumented(document, known) == []
        for path, names in found(document, known).items():
            occurring.setdefault(path, set()).update(names)
    assert sorted(known.keys() - occurring.keys()) == []


def test_the_comparison_is_not_blind() -> None:
    known, planted = documented("status"), copy.deepcopy(documents.everything())
    planted["bundles"]["trading-bot"]["secrets"][0]["value"] = "x"
    planted["bundles"]["trading-bot"]["generation"] = "seven"
    planted["daemon"]["pid"] = None
    assert undocumented(planted, known) == [
        "daemon.pid: null",
        "bundles.NAME.generation: string",
        "bundles.NAME.secrets[].value: string",
    ]


def test_what_the_real_daemon_answers_is_documented(home: Home, tmp_path: Path) -> None:
    home.vault.put("prod/bot", {"TOKEN": "fake-token-1", "SPARE": "fake-token-9"})

    async def scenario() -> None:
        async with home.helper(), Served(home, tmp_path / "control.sock") as daemon:
            await daemon.loaded()
            daemon.state().fail((failure(FailureClass.REFUSAL, secret="prod/bot"),), wall=1_700_000_000.0)
            status = (await daemon.ask("status")).body
            home.vault.fail("prod/bot")
            plan = (await daemon.ask("plan")).body
        assert undocumented(json.loads(json.dumps(status)), documented("status")) == []
        assert undocumented(plan, documented("plan")) == []
        assert status["schema"] == 1

    live(scenario())
