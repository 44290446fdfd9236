"""Which generations of a bundle stay on this host: what is shown, and what a rollback can go back to."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping

from secretsd.refresh import messages
from secretsd.refresh.files import tree

# A rotation that went wrong may have been followed by one that tried to mend it.
EARLIER_CONTENTS = 3


def to_keep(
    shown: int, numbers: Collection[int], digests: Mapping[int, str], *, before: int | None = None
) -> frozenset[int]:
    """Those of `numbers` that stay while `shown` is shown. Pure.

    That is `shown` itself, the one shown before it, which somebody may be reading right now, and the newest
    generation of each of the last EARLIER_CONTENTS other contents. `before` says which was shown before
    where that is known, and what lies between the two was then never shown.
    """
    older = {number for number in numbers if number < shown}
    if before is not None:
        older = {number for number in older if number <= before}
    contents = {digests.get(shown)}
    keep = {shown, max(older, default=shown)}
    for number in sorted(older, reverse=True):
        if len(contents) > EARLIER_CONTENTS:
            break
        if (digest := digests.get(number)) is not None and digest not in contents:
            contents.add(digest)
            keep.add(number)
    return frozenset(keep)


def digests(copies: int) -> dict[int, str]:
    """The content's digest of each generation of a bundle; `copies` is a descriptor of its copies' directory.

    A generation without a record that can be read is left out: it is none that could be gone back to.
    """
    found = {}
    for name in os.listdir(copies):
        if name.isdecimal():
            try:
                with tree.opened_directory(name, dir_fd=copies) as copy:
                    record = messages.decode_record(tree.read_file(tree.RECORD, dir_fd=copy))
            except (OSError, ValueError):
                continue
            found[int(name)] = record.digest
    return found
