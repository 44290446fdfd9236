"""Who has a host's credentials can add to the bucket: nothing of it keeps a reader from the true trail."""

from __future__ import annotations

import gzip
import resource
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from secretsd.audit.chain import Head
from secretsd.cli import audit_restore
from secretsd.shipping.manifest import MANIFEST, Before, Manifest, manifest_bytes, manifest_key, read_manifest
from secretsd.shipping.proof import verification
from secretsd.shipping.proof.restore import Restored
from secretsd.shipping.proof.verification import Verdict, verify
from tests.shipping.bed import HOST, Memory, Shipper
from tests.shipping.chains import Chain

_HASH = b"0" * 64


@pytest.fixture
def shipper(tmp_path: Path) -> Shipper:
    """It has brought 300 records in some batches, and an anchor."""
    chain = Chain(tmp_path / "audit")
    shipper = Shipper(chain, Memory())
    chain.add(300)
    shipper.ship()
    shipper.anchor()
    return shipper


def forge(memory: Memory, **members: Any) -> Manifest:
    """Another manifest for the last content."""
    last = sorted(key for key in memory.keys if key.endswith(MANIFEST))[-1]
    manifest = read_manifest(memory.latest(last))
    assert manifest is not None
    forged = replace(manifest, **members)
    memory.put(manifest_key(forged), manifest_bytes(forged))
    return forged


def restored(shipper: Shipper, directory: Path) -> Verdict:
    target = Restored(directory)
    memory = shipper.memory
    now_s = memory.at_s + 7200
    return verify(
        HOST, "signer", memory.versions, memory.read, now_s, lambda part: target.keep(HOST, "signer", part)
    )


@pytest.mark.parametrize(
    "members",
    [
        {"offset": 10**13},
        {"offset": 10**17},
        {"file": "no digits"},
        {"head": Head(10**30, _HASH)},
        {"head": Head(9999, b"\x1b[2J")},
        {"follows": Head(0, b"none"), "before": None},
        {"sha256": "none"},
        {"flaw": "x" * (1 << 16)},
    ],
)
def test_a_manifest_that_no_shipper_writes_is_named_and_the_trail_restored(
    tmp_path: Path, shipper: Shipper, members: dict[str, Any]
) -> None:
    whole = shipper.restored()
    forge(shipper.memory, **members)
    verdict = restored(shipper, tmp_path / "new")
    assert verdict.flaw is not None
    assert verdict.flaw.why == "is no manifest: it was altered"
    assert (verdict.records, verdict.head.seq) == (300, 300)
    assert next((tmp_path / "new").rglob("signer-*.jsonl")).read_bytes() == whole


def test_a_batch_that_claims_bytes_of_others_is_a_flaw_and_replaces_none(
    tmp_path: Path, shipper: Shipper
) -> None:
    whole = shipper.restored()
    forged = forge(shipper.memory, offset=5000)
    assert forged.size > 1000
    forge(shipper.memory, offset=5000, before=before(forged))
    verdict = restored(shipper, tmp_path / "new")
    assert verdict.flaw is not None
    assert any(path.read_bytes() == whole for path in (tmp_path / "new").rglob("signer-*.jsonl"))


def before(manifest: Manifest) -> Before:
    return Before(manifest_key(manifest), verification.hashlib.sha256(manifest_bytes(manifest)).hexdigest())


def test_a_thousand_accounts_of_one_trail_are_a_flaw_and_end(
    shipper: Shipper, monkeypatch: pytest.MonkeyPatch
) -> None:
    compared = 0
    compare = verification._Verification.compare

    def counted(*arguments: Any) -> None:
        nonlocal compared
        compared += 1
        compare(*arguments)

    monkeypatch.setattr(verification._Verification, "compare", counted)
    for number in range(1000):
        forge(shipper.memory, before=None, flaw=str(number))
    verdict = shipper.verified()
    assert verdict.flaw is not None
    assert "of 1001" in verdict.flaw.why
    assert 0 < compared < 5000


def test_many_versions_that_unpack_to_much_take_no_more_memory_than_one(shipper: Shipper) -> None:
    content = sorted(key for key in shipper.memory.keys if key.endswith(".gz"))[0]
    bomb = gzip.compress(bytes(64 << 20))
    for number in range(8):
        shipper.memory.put(content, bomb + bytes([number]))
    most_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    verdict = shipper.verified()
    assert verdict.flaw is None
    assert "8 of its versions differ" in verdict.findings[0].why
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - most_kib < 320 << 10


def test_what_a_manifest_says_is_printed_and_not_obeyed(
    shipper: Shipper, capsys: pytest.CaptureFixture[str]
) -> None:
    forge(shipper.memory, flaw="\x1b]0;look\x07", before=None)

    class Objects:
        prefix = ""
        versions: Callable[..., object] = staticmethod(lambda _: shipper.memory.versions)
        read = staticmethod(shipper.memory.read)

    audit_restore.verified(Objects(), is_json=False)  # type: ignore[arg-type]
    said = capsys.readouterr().out
    assert "]0;look" in said
    assert "\x1b" not in said
