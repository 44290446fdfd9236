"""The table `[unusual]`: what both daemons take for an unusual access."""

# Without `from __future__ import annotations`: pydantic reads the annotations when the classes are made.
from pydantic import Field

from secretsd.config.fields import AtLeastOne, TimeSpan
from secretsd.config.table import Table


class Unusual(Table):
    """What counts as an unusual access to a key or a secret. It is told, and never refused for that.

    Told means: a record in the audit trail, a warning in the journal, a metric, and the alert_command of
    [daemon]. secretsd-signer watches its keys by the same table.
    """

    learning_s: TimeSpan = Field(
        default=86400.0,
        alias="learning",
        description="How long, from the first start with a key or secret, its users and their rates are noted"
        " and not told. Refusals are told from the start. A restart does not begin it anew.",
        examples=["1d"],
    )
    rate_factor: AtLeastOne = Field(
        default=10,
        description="How many times the most that one actor has used a key within a minute, in this week or"
        " the one before, is too often.",
        examples=[10],
    )
    rate_floor: AtLeastOne = Field(
        default=100,
        description="So many uses within a minute are never too often, whatever is usual.",
        examples=[100],
    )
    refusals: AtLeastOne = Field(
        default=20,
        description="How many refusals of one actor in a row are told. A use that was allowed ends the row,"
        " and so does an hour of silence.",
        examples=[20],
    )
    probe: AtLeastOne = Field(
        default=5,
        description="How many different names an actor with no right to them may ask for within 10 minutes"
        " before it is told; names that do not exist count, too.",
        examples=[5],
    )
