"""What an examination of a source says to an operator: credentials, clock, endpoint, each secret. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from secretsd.config.models import Config
from secretsd.config.sources import VaultAwsLogin, VaultSource
from secretsd.control.check import Check, fail, failed, ok, warn
from secretsd.errors import ExitCode, Failure, FailureClass
from secretsd.model import SecretRef
from secretsd.refresh.examination import Findings
from secretsd.timespan import spoken

_SKEW_WARN_S = 60.0
_SKEW_FAIL_S = 300.0  # SigV4's limit
_SET_THE_CLOCK = "timedatectl status; systemctl restart systemd-timesyncd or chrony"

# Codes of failures that say nothing about the secret that they are told of.
_CREDENTIALS = frozenset(
    {"no-credentials", "unknown-credentials", "expired-credentials", "login-rejected", "metadata-unreachable"}
)
_ENDPOINT = frozenset(
    {
        *("unreachable", "tls-failed", "bad-endpoint", "no-region", "no-answer", "incomplete-answer"),
        *("bad-ca-file", "vault-sealed", "vault-standby", "vault-uninitialised"),
    }
)
_CLOCK = frozenset({"clock-skew"})
# As those of _ENDPOINT, where each secret meets it.
_OF_ALL = frozenset({"server-error", "throttled"})
_IF_IT_STAYS = "If it stays: "


def source_checks(source: str, config: Config, found: Findings, *, now: float) -> Iterator[Check]:
    """The lines of one source; `found` may lack secrets where the examination was cut short.

    `now` is in seconds since the epoch.
    """
    yield from _credentials(source, found, now)
    yield from _endpoint(source, found)
    yield from _clock(source, found, signs=_signs(config, source))
    yield from _secrets(source, config, found)


def region_check(source: str, told: Mapping[str, Any]) -> Iterator[Check]:
    """That another region is asked than the source's own; `told` is its part of `status --json`.

    The lines beside it are those of the region that answers.
    """
    if told["away_since"]:
        home = told["home_region"]
        detail = f"asked in {told['region']}: {home} has failed, and is tried once a minute"
        yield warn(f"region {source}", detail, f"nothing to do; to ask {home} now: secretsctl reload")


def _first(found: Findings, codes: frozenset[str]) -> Failure | None:
    failures = (failure for failure in found.secrets.values() if failure is not None)
    return next((failure for failure in failures if failure.code in codes), None)


def _credentials(source: str, found: Findings, now: float) -> Iterator[Check]:
    check = f"credentials {source}"
    failure = _first(found, _CREDENTIALS) or _denied_everything(found)
    if failure is not None:
        yield failed(check, failure)
    elif found.view.method is not None:
        yield ok(check, f"found: {found.view.method}{_lifetime(found.view.expires_at, now)}")


def _lifetime(expires_at: float | None, now: float) -> str:
    if expires_at is None:
        return ""
    hours, minutes = divmod(round(max(0.0, expires_at - now) / 60), 60)
    return f", for {hours} h {minutes} min more, and renewed before that"


def _denied_everything(found: Findings) -> Failure | None:
    """The failure of an identity that may read nothing at all."""
    failures = [failure for failure in found.secrets.values() if failure is not None]
    if failures and all(failure.failure_class is FailureClass.IDENTITY for failure in failures):
        return next((each for each in failures if each.code == "access-denied"), None)
    return None


def _endpoint(source: str, found: Findings) -> Iterator[Check]:
    check = f"endpoint {source}"
    failure = _first(found, _of_the_endpoint(found))
    answered = found.view.skew_s is not None
    if found.lost:
        fix = "check the network path and the endpoint of the source; journalctl -u secretsd -n 50"
        yield fail(check, found.lost, fix, ExitCode.UNAVAILABLE)
    elif failure is not None:
        # The refresh's own text speaks of one secret, and of what is tried again by itself.
        where = found.view.endpoint or f"the endpoint of {source}"
        fix = failure.advice.partition(_IF_IT_STAYS)[2] or failure.advice
        yield fail(check, f"{where}: {failure.code}", fix[:1].upper() + fix[1:], failure.exit_code)
    elif answered and found.view.endpoint is not None:
        yield ok(check, f"{found.view.endpoint} answers")


def _of_the_endpoint(found: Findings) -> frozenset[str]:
    """The codes that speak of the endpoint here, and not of one secret."""
    codes = {failure.code if failure is not None else "" for failure in found.secrets.values()}
    return _ENDPOINT | _OF_ALL if codes <= _ENDPOINT | _OF_ALL else _ENDPOINT


def _signs(config: Config, source: str) -> bool:
    """Whether requests carry a signature of AWS, which is good for five minutes only."""
    table = config.sources[source]
    return not isinstance(table, VaultSource) or isinstance(table.login, VaultAwsLogin)


def _clock(source: str, found: Findings, *, signs: bool) -> Iterator[Check]:
    check, skew_s = f"clock {source}", found.view.skew_s
    if skew_s is None:
        if failure := _first(found, _CLOCK):
            yield failed(check, failure)
        return
    told = f"your clock is {spoken(abs(skew_s))} {'ahead of' if skew_s > 0 else 'behind'} its"
    if abs(skew_s) > _SKEW_WARN_S and not signs:
        yield warn(check, f"{told}: certificates and ages are judged by it", _SET_THE_CLOCK)
    elif abs(skew_s) > _SKEW_FAIL_S:
        yield fail(check, f"{told}: it refuses what is 5 min off", _SET_THE_CLOCK, ExitCode.UNAVAILABLE)
    elif abs(skew_s) > _SKEW_WARN_S:
        yield warn(check, f"{told}: from 5 min on it refuses", _SET_THE_CLOCK)
    else:
        yield ok(check, f"your clock agrees within {max(1, round(abs(skew_s)))} s")


def _secrets(source: str, config: Config, found: Findings) -> Iterator[Check]:
    of_the_source = _CREDENTIALS | _of_the_endpoint(found) | _CLOCK
    if _denied_everything(found):
        of_the_source |= {"access-denied"}
    for ref, bundles in _wanted(source, config).items():
        check = f"secret {ref}"
        failure = found.secrets.get(ref)
        if ref not in found.secrets or (failure is not None and failure.code in of_the_source):
            yield warn(check, "not known", f"see the lines of {source} above")
        elif failure is not None:
            yield failed(check, failure)
        else:
            yield ok(check, f"may be read, for {', '.join(bundles)}")


def _wanted(source: str, config: Config) -> dict[SecretRef, list[str]]:
    """Each secret of the source, with the bundles that want it."""
    wanted: dict[SecretRef, list[str]] = {}
    for name, bundle in config.bundles.items():
        for ref in dict.fromkeys(secret.ref for secret in bundle.secrets if secret.source == source):
            wanted.setdefault(ref, []).append(name)
    return wanted
