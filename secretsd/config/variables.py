"""The entries of a bundle's `variables` table: what a value must satisfy."""

# Without `from __future__ import annotations`: pydantic reads the annotations when the classes are made.
import re
from decimal import Decimal
from functools import cached_property
from typing import Literal, LiteralString, Self

from pydantic import Field, model_validator

from secretsd.config.fields import Bits, Count, Number, OneOrMore, Regex, refused
from secretsd.config.table import Table, beside

_A_NUMBER = beside(type="decimal")


class VariableRule(Table):
    """What a variable's value must satisfy before the bundle is published.

    An empty table takes any value. A value that breaks a rule keeps the whole bundle as it is; status then
    names the variable and the rule, never the value.
    """

    required: bool = Field(
        default=True,
        description="Whether the bundle fails where the secret has no such key, or null. Otherwise the"
        " variable is left out.",
        examples=[False],
    )
    default: str | None = Field(
        default=None,
        description="The value where the secret has no such key, or null. It never stands in for a value that"
        " breaks a rule. Status says which variables are defaults.",
        examples=["paper"],
    )
    type: Literal["string", "integer", "decimal", "boolean"] = Field(
        default="string",
        description="What the text of the value must be: integer is digits with an optional -, decimal may"
        " have a fraction and an exponent, boolean is true or false.",
        examples=["integer", "decimal", "boolean", "string"],
    )
    min: Number | None = Field(
        default=None,
        description="The smallest value, for integer and decimal.",
        examples=[0, Decimal("0.001")],
        json_schema_extra=_A_NUMBER,
    )
    max: Number | None = Field(
        default=None,
        description="The largest value, for integer and decimal.",
        examples=[100, Decimal("2.5")],
        json_schema_extra=_A_NUMBER,
    )
    min_length: Count | None = Field(
        default=None, description="The least number of characters.", examples=[16]
    )
    max_length: Count | None = Field(
        default=None, description="The greatest number of characters.", examples=[128]
    )
    min_entropy_bits: Bits | None = Field(
        default=None,
        description="The least entropy, counted from how often each character occurs in the value. It finds"
        ' "changeme" and "aaaaaaaa"; it cannot tell a key from a long sentence.',
        examples=[80],
    )
    choices: OneOrMore[str] | None = Field(
        default=None,
        description="The only values that are taken. A refusal names them, so they must not be secret.",
        examples=[["paper", "live"]],
    )
    pattern: Regex | None = Field(
        default=None,
        description="A regular expression of Python's re that the whole value must match. A dot matches no"
        " line end.",
        examples=["https://hooks\\.slack\\.com/.*"],
    )

    @model_validator(mode="after")
    def _fit_together(self) -> Self:
        conflicts: list[LiteralString] = []
        if self.default is not None and not self.required:
            conflicts.append("default and required = false exclude each other: a default is never missing")
        if self.type not in ("integer", "decimal") and (self.min is not None or self.max is not None):
            conflicts.append(
                'min and max need type = "integer" or "decimal"; a length has min_length, max_length'
            )
        if _crossed(self.min, self.max):
            conflicts.append("min is above max: no value can satisfy both")
        if _crossed(self.min_length, self.max_length):
            conflicts.append("min_length is above max_length: no value can satisfy both")
        if conflicts:
            raise refused(conflicts[0], also=conflicts[1:])
        return self

    @cached_property
    def compiled_pattern(self) -> re.Pattern[str] | None:
        """To be matched with `fullmatch`."""
        return None if self.pattern is None else re.compile(self.pattern)


def _crossed(low: Decimal | int | None, high: Decimal | int | None) -> bool:
    return low is not None and high is not None and low > high
