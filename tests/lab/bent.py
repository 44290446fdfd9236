"""Real answers of a service, bent into the shapes that `WrongJson` and `RefuseIds` name. Pure."""

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


# How each service calls the value of a secret and its version.
_VALUES = ("SecretString", "SecretBinary", "Value")
_VERSIONS = ("VersionId", "Version")


def bend(body: bytes, shape: WrongJson) -> bytes:
    """`body`, an answer with secrets in it, in the wrong shape; one without any is left as it is."""
    if shape in _STANDALONE:
        return _STANDALONE[shape]
    answer: dict[str, Any] = json.loads(body)
    if shape is WrongJson.VALUES_IS_OBJECT:
        answer["SecretValues"] = {"0": answer.get("SecretValues")}
    elif shape is WrongJson.ERRORS_IS_TEXT:
        answer["Errors"] = "none"
    elif isinstance(answer.get("data"), dict):
        _bend_vault(answer["data"], shape)
    else:
        for entry in answer.get("SecretValues", answer.get("Parameters", [answer])):
            _bend_entry(entry, shape)
    return json.dumps(answer).encode()


def _bend_entry(entry: dict[str, Any], shape: WrongJson) -> None:
    match shape:
        case WrongJson.VALUE_IS_NUMBER | WrongJson.VALUE_IS_OBJECT:
            for name in entry.keys() & {"SecretString", "Value"}:
                entry[name] = 12345 if shape is WrongJson.VALUE_IS_NUMBER else {"A": "not-a-string"}
        case WrongJson.NO_VALUE:
            _without(entry, *_VALUES)
        case WrongJson.NO_ARN:
            _without(entry, "ARN")
        case WrongJson.NO_VERSION:
            _without(entry, *_VERSIONS)
        case WrongJson.NO_STAGES:
            _without(entry, "VersionStages")
        case WrongJson.OTHER_STAGE:
            entry["VersionStages"] = ["AWSPREVIOUS"]
        case _:
            raise ValueError(f"{shape} is not about one secret")


def _bend_vault(data: dict[str, Any], shape: WrongJson) -> None:
    """The data of a read of the key-value engine, version 2."""
    match shape:
        case WrongJson.VALUE_IS_NUMBER:
            data["data"] = 12345
        case WrongJson.NO_VALUE:
            _without(data, "data")
        case WrongJson.NO_VERSION:
            _without(data.get("metadata", {}), "version")
        case _:
            raise ValueError(f"{shape} is not about the key-value engine")


def _without(entry: dict[str, Any], *names: str) -> None:
    for name in names:
        entry.pop(name, None)


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
