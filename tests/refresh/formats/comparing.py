"""Writes values, has a reader read them, and says which came back different, one by one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from secretsd.refresh.formats.interface import Format, UnwritableError
from tests.refresh.formats.readers import Reader

# One environment holds 1.5 MiB; a batch stays far below it, so that no batch is refused as a whole.
_BATCH_BYTES = 400_000
_BATCH_VALUES = 4_000
_SHOWN_BYTES = 60


@dataclass(frozen=True, slots=True)
class Mismatch:
    """One value that a reader did not read back. Values of these tests are no secrets and may be shown."""

    index: int  # in the sequence that was compared
    value: bytes
    read: bytes | None  # None: not there at all

    def __str__(self) -> str:
        return f"value {self.index}, {_short(self.value)}, came back as {_short(self.read)}"


@dataclass(slots=True)
class Comparison:
    """What became of the values: each is refused by the writer, or read back exactly, or a mismatch."""

    exact: int = 0
    refused: list[int] = field(default_factory=list)
    mismatches: list[Mismatch] = field(default_factory=list)

    def __str__(self) -> str:
        lines = "\n".join(map(str, self.mismatches))
        return f"{self.exact} exact, {len(self.refused)} refused, {len(self.mismatches)} wrong\n{lines}"


def compare(writer: Format, reader: Reader, values: Sequence[bytes], *, enough: int | None = 5) -> Comparison:
    """Every value through writer and reader, many in a file; stops after `enough` mismatches.

    A mismatch is told of a value that stood alone in its file: its neighbours had no part in it.
    """
    result = Comparison()
    writable: dict[int, bytes] = {}
    for index, value in enumerate(values):
        if _is_refused(writer, value):
            result.refused.append(index)
        else:
            writable[index] = value
    for batch in _batches(writable):
        for mismatch in _wrong_ones(writer, reader, batch):
            result.mismatches.append(mismatch)
            if enough is not None and len(result.mismatches) >= enough:
                return result
        result.exact += len(batch)
    result.exact -= len(result.mismatches)
    return result


def _is_refused(writer: Format, value: bytes) -> bool:
    try:
        writer.render({"K": value})
    except UnwritableError:
        return True
    return False


def _batches(values: Mapping[int, bytes]) -> Iterator[dict[int, bytes]]:
    batch: dict[int, bytes] = {}
    size = 0
    for index, value in values.items():
        if batch and (size + len(value) > _BATCH_BYTES or len(batch) == _BATCH_VALUES):
            yield batch
            batch, size = {}, 0
        batch[index] = value
        size += len(value)
    if batch:
        yield batch


def _wrong_ones(writer: Format, reader: Reader, batch: Mapping[int, bytes]) -> Iterator[Mismatch]:
    """Reads the batch, and what did not come back again in halves, down to single values."""
    read = reader(writer.render({f"K{index}": value for index, value in batch.items()}))
    extra = read.keys() - {f"K{index}" for index in batch}
    wrong = {index: value for index, value in batch.items() if read.get(f"K{index}") != value}
    if len(batch) == 1:
        for index, value in batch.items():
            # A variable that nobody wrote was smuggled in by the one value there is.
            if wrong or extra:
                yield Mismatch(index, value, read.get(f"K{index}"))
        return
    suspects = list(batch.items()) if extra else list(wrong.items())
    found = False
    for half in (suspects[: len(suspects) // 2], suspects[len(suspects) // 2 :]):
        if half:
            for mismatch in _wrong_ones(writer, reader, dict(half)):
                found = True
                yield mismatch
    if suspects and not found:
        # Each alone is right, together they are not: that is a mismatch as well.
        index, value = suspects[0]
        yield Mismatch(index, value, read.get(f"K{index}"))


def _short(value: bytes | None) -> str:
    if value is None:
        return "nothing"
    return repr(value) if len(value) <= _SHOWN_BYTES else f"{value[:_SHOWN_BYTES]!r}... ({len(value)} bytes)"
