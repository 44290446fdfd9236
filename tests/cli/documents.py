"""Answers of the daemon with everything in them that it can say: what screens are shown in tests."""

from __future__ import annotations

import copy
from datetime import UTC, datetime, timedelta
from typing import Any

NOW = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)
VERSION_1 = "11111111-aaaa-4bbb-8ccc-000000000001"
VERSION_2 = "22222222-aaaa-4bbb-8ccc-000000000002"

Document = dict[str, Any]


def ago(**span: float) -> str:
    return (NOW - timedelta(**span)).isoformat(timespec="seconds")


def later(**span: float) -> str:
    return (NOW + timedelta(**span)).isoformat(timespec="seconds")


def failure(**fields: object) -> Document:
    return {
        "code": "rule-broken",
        "failure_class": "data",
        "message": "API_SECRET of prod/bybit/api breaks its rule min_length = 16",
        "advice": "correct the secret, then: secretsctl reload trading-bot",
        "secret": "prod/bybit/api",
        "variable": "API_SECRET",
        **fields,
    }


def hold(**fields: object) -> Document:
    return {
        "kind": "hold",
        "since": ago(hours=2),
        "by": "uid 0",
        "reason": "until the market closes",
        "generation": 7,
        "from_generation": None,
        "waiting": [f"prod/bybit/api (version {VERSION_2})"],
        **fields,
    }


def rollback(**fields: object) -> Document:
    return hold(**{"kind": "rollback", "generation": 8, "from_generation": 7, **fields})


def unit(**fields: object) -> Document:
    return {
        "unit": "trading-bot.service",
        "action": "reload",
        "state": "loaded",
        "loaded_generation": 7,
        "message": "",
        "advice": "",
        "until": None,
        "overdue": False,
        **fields,
    }


def bundle(**fields: object) -> Document:
    return {
        "state": "loaded",
        "generation": 7,
        "published_at": ago(minutes=4, seconds=10),
        "confirmed_at": ago(seconds=20),
        "max_age_s": None,
        "too_old": False,
        "next_refresh_s": 192.4,
        "owner": "trading-bot",
        "variables": ["BYBIT_API_KEY", "BYBIT_API_SECRET", "MAX_POSITION_SIZE"],
        "defaults": ["MAX_POSITION_SIZE"],
        "ignored_keys": {"prod/bybit/api": ["old_key"]},
        "secrets": [
            {
                "source": "aws",
                "id": "prod/bybit/api",
                "stage": "AWSCURRENT",
                "version_id": VERSION_1,
                "created_at": ago(days=3),
            }
        ],
        "failing_since": None,
        "failures": [],
        "units": [unit()],
        "hold": None,
        "drift": {"count": 0, "last_at": None, "last": [], "repaired": True},
        "sealed": None,
        **fields,
    }


def drift(**fields: object) -> Document:
    return {
        "count": 2,
        "last_at": ago(minutes=9),
        "last": ["env: mode is 0644, was published as 0600"],
        "repaired": True,
        **fields,
    }


def sealed(**fields: object) -> Document:
    return {
        "in_use": True,
        "confirmed_at": ago(hours=5),
        "until": later(days=6),
        "problem": "",
        "has_counter": False,
        **fields,
    }


def endpoint(**fields: object) -> Document:
    return {
        "endpoint": "secretsmanager us-east-1",
        "region": "us-east-1",
        "state": "answers",
        "since": None,
        "code": None,
        "failures": 0,
        "retry_s": None,
        **fields,
    }


def failing_endpoint(**fields: object) -> Document:
    return endpoint(
        state="fails", since=ago(hours=7), code="unreachable", failures=91, retry_s=41.2, **fields
    )


def source(**fields: object) -> Document:
    return {
        "type": "aws-secretsmanager",
        "region": "us-east-1",
        "home_region": "us-east-1",
        "away_since": None,
        "clock_skew_s": 0.2,
        "endpoints": [endpoint()],
        "push": None,
        **fields,
    }


def push(**fields: object) -> Document:
    return {
        "healthy": True,
        "since": ago(days=2),
        "last_message_at": ago(hours=3),
        "hints": 12,
        "ignored": 1,
        "malformed": 0,
        "restarts": 0,
        "failure": None,
        **fields,
    }


def silent_push(**fields: object) -> Document:
    told = {
        "code": "queue-missing",
        "failure_class": "identity",
        "message": "there is no queue https://sqs.us-east-1.amazonaws.com/111122223333/secretsd",
        "advice": "create it",
    }
    return push(healthy=False, since=ago(minutes=9), last_message_at=None, failure=told, **fields)


def status(bundles: dict[str, Document] | None = None, **daemon: object) -> Document:
    return {
        "schema": 1,
        "daemon": {
            "version": "0.1.0",
            "pid": 4711,
            "ready": True,
            "memory": "tmpfs noswap",
            "warnings": [],
            **daemon,
        },
        "sources": {"aws": source()},
        "bundles": {"trading-bot": bundle()} if bundles is None else bundles,
    }


def failing(**fields: object) -> Document:
    return bundle(failures=[failure()], failing_since=ago(minutes=30), **fields)


def everything() -> Document:
    """A status in which each key that can be there is there."""
    bundles = {
        "trading-bot": failing(hold=rollback(), drift=drift(), units=[unit(until=later(hours=3))]),
        "market-maker": bundle(sealed=sealed()),
        "arbitrage": bundle(state="published", units=[unit(), unit(unit="arb.service", state="failed")]),
        "new-bot": failing(
            state="missing", generation=None, published_at=None, confirmed_at=None, secrets=[], units=[]
        ),
    }
    document = status(bundles, warnings=["files may reach a disk: mount /run/secretsd with noswap"])
    document["sources"] = {"aws": source(push=push()), "other": source(push=silent_push())}
    return document


def notify_step(unit: str, **more: object) -> Document:
    step = {"step": "NotifyUnit", "bundle": "maker", "generation": 8, "unit": unit, "action": "reload"}
    return {**step, "waits_for": None, "until": None, **more}


PLAN: Document = {
    "schema": 1,
    "steps": [
        {
            "step": "PublishBundle",
            "bundle": "market-maker",
            "generation": 8,
            "reason": "its content changed",
        },
        notify_step("mm.service"),
        notify_step("slow.service", waits_for="window", until="2026-03-02T02:00:00+00:00"),
        notify_step("flat.service", waits_for="before"),
        {"step": "KeepPublished", "bundle": "quiet"},
        {"step": "KeepStale", "bundle": "trading-bot", "failures": [failure()]},
        {
            "step": "RestoreBundle",
            "bundle": "altered",
            "copy_of": 3,
            "generation": 4,
            "reason": "its published files were altered",
        },
        {
            "step": "UnsealBundle",
            "bundle": "booted",
            "copy_of": 6,
            "generation": 7,
            "reason": "from its sealed copy: its source does not help (unreachable)",
        },
        {"step": "KeepHeld", "bundle": "held"},
        {"step": "RemoveBundle", "bundle": "gone", "reason": "the configuration no longer names it"},
    ],
}

DIFF: Document = {
    "schema": 1,
    "bundle": "trading-bot",
    "added": ["SLACK_WEBHOOK"],
    "changed": ["BYBIT_API_KEY", "BYBIT_API_SECRET"],
    "removed": ["OLD_NAME"],
    "files": [{"path": "env", "what": "mode is 0644, was published as 0600"}],
    "versions": [
        {
            "source": "aws",
            "id": "prod/bybit/api",
            "stage": "AWSCURRENT",
            "published": VERSION_1,
            "source_has": VERSION_2,
        },
        {"source": "aws", "id": "new", "stage": None, "published": None, "source_has": VERSION_1},
    ],
    "failures": [failure()],
}


def _generation(number: int, state: str, **fields: object) -> Document:
    return {
        "generation": number,
        "published_at": ago(hours=10 - number),
        "reason": "its content changed",
        "copy_of": None,
        "by": None,
        "state": state,
        "versions": [
            {
                "source": "aws",
                "id": "prod/bybit/api",
                "stage": "AWSCURRENT",
                "version_id": VERSION_1,
                "created_at": ago(days=3),
            }
        ],
        **fields,
    }


HISTORY: Document = {
    "schema": 1,
    "bundle": "trading-bot",
    "hold": rollback(),
    "generations": [
        _generation(8, "published", copy_of=6, by="uid 0", reason="rolled back"),
        _generation(7, "kept"),
        _generation(6, "kept"),
        _generation(5, "gone", reason="it was not published yet"),
    ],
}

WORK: Document = {"schema": 1, "code": 75, "message": "up to date and loaded: 0 of 1 bundles", "lines": ["x"]}


def without(document: Document, *keys: str) -> Document:
    """The document as a daemon sends it that does not know these keys of a bundle yet."""
    older = copy.deepcopy(document)
    for each in older.get("bundles", {}).values():
        for key in keys:
            each.pop(key, None)
    return older


SCHEMA: Document = {
    "schema": 1,
    "bundle": "trading-bot",
    "variables": {"API_KEY": {"min_length": 16, "required": True}, "MODE": {"type": "string"}},
    "left_out": [{"key": "nested", "secret": "prod/bybit/api", "reason": "nested"}],
}

COST: Document = {
    "schema": 1,
    "prices": {"as_of": "2026-11", "region": "us-east-1", "month_days": 30},
    "sources": {
        "aws": {
            "type": "aws-secretsmanager",
            "secrets": 20,
            "replicas": 20,
            "secrets_usd": 16.0,
            "refresh_interval_s": 60.0,
            "calls_today": {"BatchGetSecretValue": 20_160, "GetSecretValue": 1},
            "seen_s": 9 * 3600,
            "calls_a_day": 28_800.4,
            "calls_a_month": 864_012,
            "calls_usd": 4.32,
            "savings": [
                {"way": "interval", "refresh_interval_s": 900.0, "usd": 3.96},
                {"way": "push", "refresh_interval_s": 1800.0, "usd": -0.01},
            ],
            "days": {"2026-03-01": {"seen_s": 9 * 3600, "calls": {"BatchGetSecretValue": 20_160}}},
        },
        "files": {
            "type": "file",
            "secrets": 1,
            "replicas": 0,
            "secrets_usd": 0.0,
            "refresh_interval_s": None,
            "calls_today": {},
            "seen_s": 0,
            "calls_a_day": None,
            "calls_a_month": None,
            "calls_usd": 0.0,
            "savings": [],
            "days": {},
        },
        "new": {
            "type": "aws-secretsmanager",
            "secrets": 1,
            "replicas": 0,
            "secrets_usd": 0.4,
            "refresh_interval_s": 300,
            "calls_today": {"GetSecretValue": 3},
            "seen_s": 720,
            "calls_a_day": None,
            "calls_a_month": None,
            "calls_usd": None,
            "savings": [],
            "days": {"2026-03-01": {"seen_s": 720, "calls": {"GetSecretValue": 3}}},
        },
    },
}

ANSWERS: dict[str, Document] = {
    "status": everything(),
    "plan": PLAN,
    "diff": DIFF,
    "history": HISTORY,
    "schema": SCHEMA,
    "cost": COST,
}

PEM = "-----BEGIN PUBLIC KEY-----\nbm90IGEgcmVhbCBrZXk=\n-----END PUBLIC KEY-----\n"


def key(name: str, type_: str, *operations: str, **fields: object) -> Document:
    return {
        "name": name,
        "type": type_,
        "operations": list(operations),
        "mechanisms": ["sha2-256"],
        "versions": [{"version": 1, "retired": False}],
        "problem": None,
        **fields,
    }


KEYS: Document = {
    "schema": 1,
    "keys": [
        key(
            "hot", "ecdsa-p256", "sign", "verify",
            versions=[
                {"version": 1, "retired": True, "public_key": PEM},
                {"version": 2, "retired": False, "public_key": PEM},
            ],
        ),
        key("orders", "hmac", "hmac", "verify"),
        key(
            "cold", "ed25519", "sign", "wrap", "unwrap", versions=[],
            problem={"code": "key-missing", "text": "no cold", "fix": "secretsctl keys generate cold"},
        ),
    ],
}  # fmt: skip
SIGNED: Document = {"schema": 1, "key": "hot", "version": 2, "signature": "AQI="}
HMACED: Document = {"schema": 1, "key": "orders", "version": 1, "hmac": "AwQ="}
VERIFIED: Document = {"schema": 1, "key": "hot", "valid": True, "version": 1}
NOT_GOOD: Document = {"schema": 1, "key": "hot", "valid": False, "version": None}
PUBLIC_KEY: Document = {"schema": 1, "key": "hot", "type": "ecdsa-p256", "version": 2, "public_key": PEM}
MADE: Document = {"schema": 1, "name": "cold", "version": 1, "public_key": PEM}
ASKED: Document = {"schema": 1, "request_id": "0123456789abcdef0123456789abcdef", "expires_in_s": 600}
APPROVED: Document = {"schema": 1, "request_id": "0123456789abcdef0123456789abcdef", "key": "cold"}
APPROVALS: Document = {
    "schema": 1,
    "approvals": [
        {
            "request_id": "0123456789abcdef0123456789abcdef",
            "key": "cold",
            "blob_sha256": "ab" * 32,
            "requester_uid": 1001,
            "approver_uid": approver,
            "expires_in_s": 540,
        }
        for approver in (None, 1002)
    ],
}


def _answer(document: Document) -> Document:
    return {name: value for name, value in document.items() if name != "schema"}


# By the path that the signer is asked for.
SIGNER: dict[str, Document] = {
    "/v1/secretsd/keys": _answer(KEYS),
    "/v1/transit/sign/hot": {"signature": "vault:v2:AQI=", "key_version": 2},
    "/v1/transit/hmac/orders": {"hmac": "vault:v1:AwQ="},
    "/v1/transit/keys/hot": {
        "type": "ecdsa-p256",
        "latest_version": 2,
        "supports_signing": True,
        "keys": {"1": {"public_key": PEM}, "2": {"public_key": PEM}},
    },
    "/v1/transit/keys/orders": {"type": "hmac", "latest_version": 1, "supports_signing": False},
    "/v1/secretsd/keys/cold/generate": _answer(MADE),
    "/v1/secretsd/keys/cold/import": _answer(MADE),
    "/v1/secretsd/keys/orders/import": {"name": "orders", "version": 2},
    "/v1/secretsd/keys/hot/retire": {"name": "hot", "version": 1},
    "/v1/secretsd/keys/cold/wrap": {"blob": "d3JhcHBlZA==", "version": 1},
    "/v1/secretsd/keys/cold/unwrap": _answer(ASKED),
    "/v1/secretsd/approvals": _answer(APPROVALS),
    "/v1/secretsd/approvals/0123456789abcdef0123456789abcdef": _answer(APPROVED),
    "/v1/secretsd/unlock": {"state": "the token works"},
}

VERIFICATION: Document = {
    "schema": 1,
    "chains": [
        {
            "daemon": "refresher",
            "directory": "/var/lib/secretsd/audit",
            "files": ["refresher-00000000000000000001.jsonl", "refresher.jsonl"],
            "records": 12,
            "first": 1,
            "last": 12,
            "anchor": "refresher:12:" + "5e2b" * 16,
            "torn": 0,
            "unfinished": False,
            "flaw": flaw,
        }
        for flaw in (
            None,
            {"file": None, "line": None, "record": 13, "why": "the end was cut off"},
            {"file": "/x/refresher.jsonl", "line": 3, "record": 12, "why": "its hash does not fit"},
        )
    ],
}

USAGE: Document = {
    "schema": 1,
    "keys_since": "2026-02-01T12:00:00.000000Z",
    "keys_days": 28,
    "secrets_since": "2026-01-01T12:00:00.000000Z",
    "secrets_days": 59,
    "unknown_bundles": ["long-gone"],
    "configured": True,
    "unused_days": None,
    "keys": [
        {
            "key": "orders",
            "uses": [
                {
                    "who": "trading-bot.service",
                    "count": 9,
                    "first": "2026-02-01T12:00:00.000000Z",
                    "last": "2026-03-01T11:00:00.000000Z",
                }
            ],
        },
        {"key": "cold", "uses": []},
    ],
    "secrets": [
        {
            "source": "aws",
            "secret": "prod/bybit/api",
            "reads": 8000,
            "last_read": "2026-03-01T11:59:00.000000Z",
            "bundles": ["trading-bot"],
            "units": [
                {
                    "who": "trading-bot.service",
                    "count": 2,
                    "first": "2026-02-01T12:00:00.000000Z",
                    "last": "2026-02-11T12:00:00.000000Z",
                    "has_it": True,
                }
            ],
            "not_running": [],
        },
        {
            "source": "aws",
            "secret": "old",
            "reads": 0,
            "last_read": None,
            "bundles": [],
            "units": [],
            "not_running": ["old-bot.service"],
        },
    ],
}

RESTORED: Document = {
    "schema": 1,
    "chains": [
        {
            "host": "trading-1",
            "daemon": "signer",
            "is_whole": False,
            "first_bad_record": 34,
            "records": 100,
            "batches": 6,
            "anchors": 4,
            "last_record": 100,
            "last_hash": "0" * 64,
            "findings": [
                {"is_flaw": True, "record": 34, "key": "trading-1/signer/batches/x", "why": "is missing"}
            ],
        },
        {
            "host": "trading-1",
            "daemon": "refresher",
            "is_whole": True,
            "first_bad_record": None,
            "records": 5,
            "batches": 1,
            "anchors": 1,
            "last_record": 5,
            "last_hash": "0" * 64,
            "findings": [],
        },
    ],
}
_SHIPPED: Document = {
    "daemon": "signer",
    "record": 100,
    "hash": "0" * 64,
    "file": "0" * 32,
    "offset": 40000,
    "since": 0,
    "waiting_bytes": 0,
    "waiting_records": 0,
    "waiting_s": 0,
    "last_anchor": 1772366340,
    "unanchored_s": 0,
    "records": 100,
    "refused": 0,
    "missing": 0,
    "flaws": 0,
    "anchors": 4,
}
SHIPPER: Document = {
    "schema": 1,
    "time": 1772366400,
    "pid": 4711,
    "sinks": [
        {
            "name": "journal",
            "batch_age_s": 0.0,
            "last_success": 1772366399,
            "failure": None,
            "chains": [{**_SHIPPED}],
        },
        {
            "name": "s3",
            "batch_age_s": 300.0,
            "last_success": None,
            "failure": {
                "code": "unreachable",
                "message": "the bucket in S3 cannot be reached",
                "advice": "check DNS",
                "seconds": 60,
            },
            "chains": [{**_SHIPPED, "record": 90, "waiting_bytes": 2048}],
        },
    ],
    "trails": [{"daemon": "signer", "bytes": 40000, "free_bytes": 10**9}],
}
