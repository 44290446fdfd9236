"""A trail that somebody has altered: each kind of it is found, and the record is named.

    python -m tests.bench.audit_tampering

On the host by `secretsctl log --verify`, with and without the anchors that the shipper has noted; and from S3
alone by `secretsctl audit-restore`, with moto as S3. Then every byte, every record and every end of a trail.
"""

from __future__ import annotations

import contextlib
import io
import json
import tempfile
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

from secretsd.audit.chain import Head
from secretsd.cli.main import run as secretsctl
from tests.audit import tampering
from tests.audit.tampering import Files
from tests.bench.figures import Figure, grid, table
from tests.lab.aws import FAKE_CREDENTIALS, REGION, FakeAws
from tests.shipping import buckets
from tests.shipping.bed import HOST
from tests.shipping.buckets import Case

EVERYWHERE = 24
RECORDS, PER_FILE, ANCHOR_EVERY = 240, 80, 40
_RECORD = 131  # that something happens to; in the second of three files, and not anchored
_CUT = 30
_LATER_S = 7200.0  # by then what was anchored has come, or never will


@dataclass(frozen=True, slots=True)
class Row:
    """`expected` is the record that must be named, 0 for none; `more` is what is named without an anchor.

    From S3 `more` says whether the files come back as they were before.
    """

    where: str
    deed: str
    expected: int
    named: int
    why: str
    more: str

    def cells(self) -> tuple[str, ...]:
        named = str(self.named) if self.named else "whole"
        return self.where, self.deed, named, self.more, self.why


HEADINGS = ("where", "what was done", "record named", "without anchors, or: restored", "in words")


def measure() -> list[Figure]:
    """The table, and all bytes, records and ends."""
    rows = run()
    print(grid(HEADINGS, [row.cells() for row in rows]), "", sep="\n")
    return [*figures(rows), *everywhere(EVERYWHERE)]


def run() -> list[Row]:
    """Each kind of alteration, at both places."""
    with tempfile.TemporaryDirectory() as place:
        files = tampering.a_trail(Path(place) / "made", RECORDS, PER_FILE)
        anchors = [tampering.head_of(files, n) for n in range(ANCHOR_EVERY, RECORDS + 1, ANCHOR_EVERY)]
        rows = [
            _on_disk(Path(place) / str(number), anchors, *deed) for number, deed in enumerate(_deeds(files))
        ]
        return rows + _from_s3(files, anchors)


def figures(rows: Sequence[Row]) -> list[Figure]:
    """What must be so of the table."""
    wrong = [f"{row.where}, {row.deed}: {row.named}" for row in rows if row.named != row.expected]
    wrong += [
        f"{row.where}, {row.deed}: {row.more}" for row in rows if row.more == "in part" and not row.named
    ]
    what = f"{len(rows)} kinds of alteration: not found, or another record named"
    return [Figure(what, len(wrong), "", 0, exactly=True, note="; ".join(wrong))]


def everywhere(records: int) -> list[Figure]:
    """Every byte edited, every record dropped or forged, every end cut off, of a trail in three files."""
    with tempfile.TemporaryDirectory() as place:
        files = tampering.a_trail(Path(place), records, records // 3)
    anchors = [tampering.head_of(files, number) for number in range(4, records + 1, 4)]
    numbers = range(1, records + 1)
    found = {
        "byte of a record edited, at its record": _edits(files, anchors, is_opening=False),
        "record dropped": [_names(tampering.dropped(files, n), anchors, n) for n in numbers],
        "end cut off": [_names(tampering.cut(files, n), anchors, records - n + 1) for n in numbers[:-1]],
        "record forged and all behind it computed anew, at its anchor": [
            _names(tampering.computed_anew(files, n), anchors, -(-n // 4) * 4) for n in numbers
        ],
    }
    note = "each tried; an anchor each 4 records"
    return [
        Figure(
            f"every {what}: not found", each.count(False), "", 0, exactly=True, note=f"{len(each)}, {note}"
        )
        for what, each in found.items()
    ]


def _deeds(files: Files) -> list[tuple[str, int, Files]]:
    n = _RECORD
    forged = n + ANCHOR_EVERY - n % ANCHOR_EVERY
    return [
        ("nothing", 0, files),
        ("one byte of a record edited", n, tampering.edited_in(files, n)),
        ("one record dropped", n, tampering.dropped(files, n)),
        ("one record there twice", n + 1, tampering.repeated(files, n)),
        ("two records change places", n, tampering.swapped(files, n)),
        ("a file in the middle removed", PER_FILE + 1, tampering.without_file(files, 1)),
        (f"the last {_CUT} records cut off", RECORDS - _CUT + 1, tampering.cut(files, _CUT)),
        ("the last file removed", RECORDS - PER_FILE + 1, tampering.without_file(files, 2)),
        ("one record forged, all hashes computed anew", forged, tampering.computed_anew(files, n)),
    ]


def _on_disk(place: Path, anchors: Sequence[Head], deed: str, expected: int, files: Files) -> Row:
    tampering.write(files, place)
    words = [word for head in anchors for word in ("--anchor", f"{head.seq}:{head.hash.decode()}")]
    alone, _ = _verified(place)
    named, why = _verified(place, *words)
    return Row("host", deed, expected, named, why, str(alone) if alone else "whole")


def _verified(place: Path, *words: str) -> tuple[int, str]:
    """The record that `secretsctl log --verify` names, and why."""
    (chain,) = _json("log", "--verify", str(place), *words)
    flaw = chain["flaw"] or {"record": 0, "why": ""}
    return flaw["record"], flaw["why"]


def _from_s3(files: Files, anchors: list[Head]) -> list[Row]:
    rows = []
    with (
        FakeAws.local() as aws,
        mock.patch.dict("os.environ", FAKE_CREDENTIALS),
        tempfile.TemporaryDirectory() as to,
    ):
        s3 = aws.client("s3")
        for number, case in enumerate(_cases(files, anchors)):
            bucket, home = f"fake-trail-{number}", Path(to) / str(number)
            buckets.upload(case.memory, s3, bucket)
            with mock.patch("secretsd.cli.audit_restore.time.time", return_value=time.time() + _LATER_S):
                place = (f"s3://{bucket}/", "--region", REGION, "--endpoint-url", aws.url, "--to", str(home))
                (chain,) = _json("audit-restore", *place)
            why = next((each["why"] for each in chain["findings"] if each["is_flaw"]), "")
            restored = [path.read_bytes() for path in sorted(home.glob(f"{HOST}/*.jsonl"))]
            more = "all as before" if restored == files else "in part"
            rows.append(Row(case.where, case.deed, case.record, chain["first_bad_record"] or 0, why, more))
    return rows


def _cases(files: Files, anchors: list[Head]) -> Iterable[Case]:
    n = _RECORD
    anchored = n - n % ANCHOR_EVERY  # the last anchor before it
    whole = buckets.in_the_bucket("nothing", files, anchors, 0, lambda _: None)
    line, other = tampering.place_of(files, n).line, tampering.edited_in(files, n)
    edited = tampering.place_of(other, n).line
    forged, written = tampering.computed_anew(files, n), RECORDS - PER_FILE + 1
    of_batch, of_last = (buckets.first_in_batch(whole.memory, each) for each in (n, RECORDS))
    return [
        whole,
        buckets.on_the_host("one byte of a record edited", files, other, anchors, 0),
        buckets.on_the_host("one record dropped", files, tampering.dropped(files, n), anchors, 0),
        buckets.on_the_host(
            f"the last {_CUT} records cut off", files, tampering.cut(files, _CUT), anchors, 0
        ),
        # The file that is being written is shipped once more: from there on the bucket has both.
        buckets.on_the_host("one record forged, all hashes computed anew", files, forged, anchors, written),
        *(
            buckets.in_the_bucket(deed, files, anchors, record, do)
            for deed, record, do in (
                ("everything written over", 0, buckets.write_over),
                ("everything deleted", 0, buckets.delete),
                ("one byte of a record edited", n, buckets.alter(n, lambda data: data.replace(line, edited))),
                ("one record dropped", n, buckets.alter(n, lambda data: data.replace(line, b""))),
                ("a batch in the middle removed", of_batch, buckets.remove(n)),
                ("the last batch removed", of_last, buckets.remove_from(RECORDS)),
            )
        ),
        buckets.in_the_bucket(
            "all batches forged from a record on", forged, anchors, anchored + 1, lambda _: None
        ),
    ]


def _json(*words: str) -> Any:
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        code = secretsctl([*words, "--json"])
    chains = json.loads(out.getvalue())["chains"]
    assert code in (0, 65)
    return chains


def _edits(files: Files, anchors: Sequence[Head], *, is_opening: bool) -> list[bool]:
    return [
        _names(tampering.edited(files, place.file, place.offset + offset), anchors, place.record)
        for place in tampering.places(files)
        if place.is_opening == is_opening
        for offset in range(len(place.line))
    ]


def _names(files: Files, anchors: Sequence[Head], record: int) -> bool:
    flaw = tampering.flaw_of(files, anchors)
    return flaw is not None and flaw.record == record


if __name__ == "__main__":
    print(table(measure()))
