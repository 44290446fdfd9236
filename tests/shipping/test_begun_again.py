"""A shipper that has forgotten how far it came, beside what it has shipped before: still one whole trail."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from secretsd.config.shipping import AuditS3
from secretsd.shipping.courier import ChainPlace, Courier
from secretsd.shipping.sinks.s3 import S3
from tests.shipping.chains import Chain
from tests.shipping.strict_s3 import StrictS3
from tests.shipping.test_process import restore


@pytest.mark.parametrize("removed", [0, 1])
def test_after_its_cursor_was_lost_the_bucket_verifies(
    chain: Chain,
    config: AuditS3,
    strict: StrictS3,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    removed: int,
) -> None:
    """The host may have fewer files than the bucket by then."""
    config = config.model_copy(update={"batch_age_s": 0.0})
    state_dir = tmp_path / "state"

    def ship() -> None:
        courier = Courier(S3(config), [ChainPlace(chain.daemon, chain.directory)], state_dir)
        courier.round()
        assert courier.failure is None

    for _ in range(2):
        chain.add(30)
        chain.rotate()
    chain.add(5)
    ship()
    shutil.rmtree(state_dir)
    for path in chain.files()[:removed]:
        path.unlink()
    chain.add(5)
    ship()
    chain.add(5)
    ship()
    code, document = restore(strict, tmp_path / "restored", capsys)
    (found,) = document["chains"]
    assert (code, found["is_whole"], found["last_record"]) == (0, True, chain.head.seq), found["findings"]
