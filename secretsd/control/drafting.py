"""The command `schema`: what a bundle's secrets hold, as the draft of its table of variables."""

from __future__ import annotations

from pydantic import ValidationError

from secretsd.config.models import Bundle
from secretsd.control.protocol import Reply
from secretsd.control.report import survey_document
from secretsd.control.requests import Request, must_know
from secretsd.errors import UsageError, worst
from secretsd.model import Survey
from secretsd.refresh.conductor import Conductor


async def schema(conductor: Conductor, name: str, request: Request) -> Reply:
    found = await conductor.survey(name, _drafted(conductor, request) or _known(conductor, name))
    if isinstance(found, Survey):
        return Reply(body=survey_document(found))
    lines = [line for failure in found for line in (failure.message, f"  fix: {failure.advice}")]
    code = worst([failure.exit_code for failure in found])
    return Reply(code, f"the secrets of {name} could not be looked at", {"lines": lines})


def _known(conductor: Conductor, name: str) -> Bundle:
    must_know(name, conductor.config.bundles)
    return conductor.config.bundles[name]


def _drafted(conductor: Conductor, request: Request) -> Bundle | None:
    """A bundle of the one secret that the request names; None where it names none."""
    source, secret_id = request.get("source"), request.get("id")
    if source is None and secret_id is None:
        return None
    try:
        bundle = Bundle.model_validate({"secrets": [{"source": source, "id": secret_id}]})
    except ValidationError:
        raise UsageError("schema takes source and id together, as an entry of secrets has them") from None
    must_know(
        bundle.secrets[0].source,
        conductor.config.sources,
        kind="source",
        otherwise="add [sources.NAME] and reload",
    )
    return bundle
