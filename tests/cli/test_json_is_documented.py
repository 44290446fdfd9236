"""docs/json.md and what is printed are the same: every key, and every type it can have."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any, get_args

import pytest

from secretsd.cli.health import document as health_document
from secretsd.control.check import ok, published, warn
from secretsd.errors import FailureClass
from secretsd.refresh.plan import Step
from tests.cli import documents
from tests.control.asking import Served
from tests.refresh.daemon import Home, a_bundle, live
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
        stand_ins = {name for name in ("NAME", "RULE") for other in known if _is_below(other, path, name)}
        for key, item in value.items():
            (below,) = stand_ins if path and stand_ins else {key}
            yield from _walk(item, f"{path}.{below}" if path else below, known)
    else:
        yield path, _TYPES[type(value)]


def _is_below(other: str, path: str, name: str) -> bool:
    return re.match(rf"{re.escape(path)}\.{name}\b", other) is not None


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
    "schema": [documents.SCHEMA],
    "cost": [documents.COST],
    "reload, rollback, hold, resume": [documents.WORK],
    "sign": [documents.SIGNED, documents.HMACED],
    "verify": [documents.VERIFIED, documents.NOT_GOOD],
    "public-key, keys public-key": [documents.PUBLIC_KEY],
    "keys list": [documents.KEYS],
    "keys generate, keys import": [documents.MADE],
    "keys unwrap": [documents.ASKED, documents.MADE],
    "approve": [documents.APPROVALS, documents.APPROVED],
    "health": [
        health_document({"refresher": [ok("log", "well")], "signer": [warn("key a", "is gone", "make it")]})
    ],
    "audit-restore": [documents.RESTORED],
    "status.json of the shipper": [documents.SHIPPER],
    "log --verify": [documents.VERIFICATION],
    "usage": [
        documents.USAGE,
        {**documents.USAGE, "keys_since": None, "secrets_since": None, "unused_days": 90},
    ],
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
    home.vault.put("prod/bot", {"TOKEN": "fake-token-" + "1" * 40, "SPARE": "fake-token-9"})
    home.configure(a_bundle(keys="sealed_copy = {}"))

    async def scenario() -> None:
        async with home.helper(), Served(home, tmp_path / "control.sock") as daemon:
            await daemon.loaded()
            answers = {"schema": await daemon.ask("schema", "bot")}
            home.vault.put("prod/bot", {"TOKEN": "fake-token-2"})
            answers["diff"] = await daemon.ask("diff", "bot")
            await daemon.ask("reload", "bot")
            await daemon.ask("rollback", "bot", reason="why")
            home.vault.put("prod/bot", {"TOKEN": "fake-token-1"})
            answers["history"] = await daemon.ask("history", "bot")
            daemon.state().fail((failure(FailureClass.REFUSAL, secret="prod/bot"),), wall=1_700_000_000.0)
            answers["status"] = await daemon.ask("status")
            daemon.conductor.bundles.sources.calls.count("aws", {"GetSecretValue": 1})
            answers["cost"] = await daemon.ask("cost")
            home.vault.fail("prod/bot")
            answers["plan"] = await daemon.ask("plan")
            assert undocumented((await daemon.ask("diff", "bot")).body, documented("diff")) == []
        for title, reply in answers.items():
            body = json.loads(json.dumps(reply.body))
            known = documented(title)
            assert undocumented(body, known) == [], title
            # Lists may be empty here, a plan's steps are of one kind, and no source here has a push.
            missing = known.keys() - found(body, known).keys()
            lacking = {path for path in missing if "[]" not in path and ".push." not in path}
            assert lacking <= {"schema"}, title

    live(scenario())


def test_every_kind_of_step_is_documented_with_its_fields() -> None:
    known = documented("plan")
    for kind in get_args(Step):
        assert f"`{kind.__name__}`" in DOCUMENTATION.read_text(encoding="utf-8")
        lacking = {
            field.name
            for field in fields(kind)
            if not any(re.match(rf"steps\[\]\.{field.name}\b", path) for path in known)
        }
        assert not lacking, kind.__name__
