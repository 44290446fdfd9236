"""The table `[audit]`: how the trails of both daemons are kept."""

# Without `from __future__ import annotations`: pydantic reads the annotations when the classes are made.
from pydantic import Field

from secretsd.config.fields import FileSize
from secretsd.config.table import Table


class Audit(Table):
    """How the audit trails of secretsd and of secretsd-signer are kept. Nothing switches them off."""

    max_file_bytes: FileSize = Field(
        default=64 * 1024 * 1024,
        alias="max_file_size",
        description="How large a file of the trail becomes before the chain goes on in a new one. The full"
        " one stays beside it until somebody takes it away: secretsd removes none.",
        examples=["64M"],
    )
