"""Real answers of Secrets Manager, bent into the shapes that `WrongJson` and `RefuseIds` name. Pure."""

from __future__ import annotations

import json
from typing import Any

from tests.lab.faults import RefuseIds, WrongJson

_STANDALONE = {
    WrongJson.NOT_JSON: b'{"SecretValues": [{"ARN": ',
    WrongJson.HTML: b"<!DOCTYPE html><html><body>Please sign in</body></html>",
    WrongJson.LIST: b"[1, 2, 3]",
    WrongJson.EMPTY_OBJECT: b"{}",
}


def bend(body: bytes, shape: WrongJson) -> bytes:
    """`body`, an answer to GetSecretValue or BatchGetSecretValue, in the wrong shape."""
    if shape in _STANDALONE:
        return _STANDALONE[shape]
    answer: dict[str, Any] = json.loads(body)
    if shape is WrongJson.VALUES_IS_OBJECT:
        answer["SecretValues"] = {"0": answer.get("SecretValues")}
    elif shape is WrongJson.ERRORS_IS_TEXT:
        answer["Errors"] = "none"
    else:
        for entry in answer.get("SecretValues", [answer]):
            _bend_entry(entry, shape)
    return json.dumps(answer).encode()


def _bend_entry(entry: dict[str, Any], shape: WrongJson) -> None:
    match shape:
        case WrongJson.VALUE_IS_NUMBER:
            entry["SecretString"] = 12345
        case WrongJson.VALUE_IS_OBJECT:
            entry["SecretString"] = {"A": "not-a-string"}
        case WrongJson.NO_VALUE:
            entry.pop("SecretString", None)
            entry.pop("SecretBinary", None)
        case WrongJson.NO_ARN:
            entry.pop("ARN", None)
        case WrongJson.NO_VERSION:
            entry.pop("VersionId", None)
        case WrongJson.NO_STAGES:
            entry.pop("VersionStages", None)
        case WrongJson.OTHER_STAGE:
            entry["VersionStages"] = ["AWSPREVIOUS"]
        case _:
            raise ValueError(f"{shape} is not about one secret")


def without_refused(request: dict[str, Any], fault: RefuseIds) -> tuple[dict[str, Any], list[dict[str, str]]]:
    """A batch request without the refused ids, and their entries for Errors[]."""
    ids = request.get("SecretIdList", [])
    errors = [
        {"SecretId": each, "ErrorCode": fault.code, "Message": fault.message}
        for each in ids
        if fault.hits(each)
    ]
    return {**request, "SecretIdList": [each for each in ids if not fault.hits(each)]}, errors


def with_errors(body: bytes, errors: list[dict[str, str]]) -> bytes:
    """A batch's answer with more entries in Errors[]."""
    answer: dict[str, Any] = json.loads(body)
    answer["Errors"] = [*answer.get("Errors", []), *errors]
    return json.dumps(answer).encode()
