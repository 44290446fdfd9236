"""What all tables of the configuration have in common."""

from pydantic import BaseModel, ConfigDict, JsonValue
from pydantic.config import JsonDict


class Table(BaseModel):
    """A table of the configuration: no other keys, no conversion of types, no change later.

    Each field has a `description` and `examples`: secretsd.toml(5) is made from them. An example that needs
    other keys of its table has them in json_schema_extra, as `beside` makes it.
    """

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        strict=True,
        hide_input_in_errors=True,
        validate_default=False,
    )


def beside(**keys: JsonValue) -> JsonDict:
    """For json_schema_extra: what must stand in the same table for the field's examples to be right."""
    return {"beside": keys}
