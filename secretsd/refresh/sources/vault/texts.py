"""What the operator reads about a fault of Vault: one sentence for what is wrong, one for the fix."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from secretsd.config.sources import VaultAppRoleLogin, VaultAwsLogin, VaultTokenLogin
from secretsd.errors import Failure, FailureClass

if TYPE_CHECKING:
    from collections.abc import Mapping

    from secretsd.config.sources import VaultSource
    from secretsd.model import SecretRef
    from secretsd.refresh.sources.faults import Fault

_RETRIED = "Nothing to do if it passes: what is published stays, and the next refresh tries again."


@dataclass(frozen=True, slots=True)
class _Text:
    """Two sentences in which {secret}, {source}, {address} and others stand for configured names."""

    message: str
    advice: str


_TEXTS: Mapping[str, _Text] = {
    "throttled": _Text(
        message="{address} limits the rate of requests; {secret} was not read",
        advice=_RETRIED + " If it stays: raise refresh_interval or refresh_jitter, or the rate limit quota "
        "(bao read sys/quotas/rate-limit/NAME).",
    ),
    "server-error": _Text(
        message="{address} answered with an error of its own for {secret}",
        advice=_RETRIED + " If it stays: see the server's log, and bao status.",
    ),
    "incomplete-answer": _Text(
        message="the answer of {address} for {secret} was not whole or not Vault's, so it was not used",
        advice=_RETRIED
        + " If it stays: look for a proxy, a balancer or a wrong address between this machine "
        "and the server.",
    ),
    "unreachable": _Text(
        message="{address} could not be reached for {secret}",
        advice=_RETRIED + " If it stays: check that the server runs, DNS, route, firewall, HTTPS_PROXY and "
        "the address of source {source}.",
    ),
    "tls-failed": _Text(
        message="the TLS connection to {address} failed, {secret} was not read",
        advice="Check that ca_file of source {source} holds the authority of the server's certificate "
        "(without it: the ca-certificates package), that the certificate names the host of the address, "
        "and the machine's clock.",
    ),
    "bad-ca-file": _Text(
        message="the ca_file of source {source} cannot be used, {secret} was not read",
        advice="It must be readable for secretsd and hold certificates as PEM: openssl x509 -in {ca_file} "
        "-noout -subject",
    ),
    "bad-endpoint": _Text(
        message="source {source} has an address, or the environment a proxy, that cannot be used; "
        "{secret} was not read",
        advice="Give address in [sources.{source}] as https://HOST:PORT or unix:///PATH, and check "
        "HTTPS_PROXY.",
    ),
    "vault-sealed": _Text(
        message="the server at {address} is sealed, or has never been initialised; {secret} was not read",
        advice="Unseal it (bao operator unseal), or initialise it first: bao status says which. What is "
        "published stays, and refreshing goes on by itself.",
    ),
    "vault-uninitialised": _Text(
        message="the server at {address} is not initialised; {secret} was not read",
        advice="Check that the address is the right server's, then: bao operator init. The last good bundle "
        "stays.",
    ),
    "vault-standby": _Text(
        message="{address} is a standby that does not answer for the active server; {secret} was not read",
        advice=_RETRIED + " If it stays: let the address be that of the cluster or of its balancer, "
        "whose health check must take sys/health of 200 only (redirects are not followed); bao operator "
        "members.",
    ),
    "unknown-credentials": _Text(
        message="{address} does not accept the token of source {source} (any more), {secret} was not read",
        advice="{token_fix}",
    ),
    "login-rejected": _Text(
        message="{address} rejects the login of source {source}, {secret} was not read",
        advice="{login_fix}",
    ),
    "no-credentials": _Text(
        message="{no_credentials} for source {source}; {secret} was not read",
        advice="{credentials_fix}",
    ),
    "metadata-unreachable": _Text(
        message="the instance metadata service gave no credentials (IMDSv2) to log in with, {secret} was not "
        "read",
        advice="Check that the metadata service is enabled with IMDSv2 and a hop limit that reaches this "
        "process, and that no firewall closes 169.254.169.254.",
    ),
    "access-denied": _Text(
        message="{address} denies reading {secret}",
        advice='Let a policy of this token say: path "{path}" {{ capabilities = ["read"] }}',
    ),
    "secret-missing": _Text(
        message="there is no secret {secret} in {mount} of {address}",
        advice="Check id and mount, or write it: bao kv put -mount={mount} {id} NAME=-",
    ),
    "secret-deleted": _Text(
        message="{secret} was deleted or destroyed in {mount} of {address}",
        advice="bao kv undelete -mount={mount} -versions=N {id} brings a deleted version back, bao kv put "
        "writes a new one; or take it out of the configuration.",
    ),
    "secret-empty": _Text(
        message="{secret} is there and has no keys",
        advice="Give it some: bao kv put -mount={mount} {id} NAME=-",
    ),
    "too-large": _Text(
        message="the keys and values of {secret} are larger than 65536 bytes",
        advice="Divide them into several secrets.",
    ),
    "not-utf8": _Text(
        message="the text of {secret} cannot be written as UTF-8",
        advice="Store it again: it holds half of a surrogate pair.",
    ),
    "inexact-number": _Text(
        message="{secret} holds a number of more than 15 digits, which KV version 2 may have rounded",
        advice="Store it as text: bao kv patch -mount={mount} {id} NAME=- takes it from its standard input.",
    ),
    "wrong-mount": _Text(
        message="nothing that holds secrets is mounted at {mount} of {address}; {secret} was not read",
        advice="Check mount and namespace of source {source}: bao secrets list",
    ),
    "wrong-namespace": _Text(
        message="there is no namespace {namespace} at {address}; {secret} was not read",
        advice="Check namespace of source {source}: bao namespace list",
    ),
    "wrong-kv-version": _Text(
        message="{mount} of {address} is not a key-value engine of version {kv_version}; {secret} was not "
        "read",
        advice="Set kv_version in [sources.{source}]: bao secrets list -detailed shows the version in "
        "Options.",
    ),
    "unexpected-error": _Text(
        message="{address} answered {secret} with an error that secretsd does not know",
        advice="See the server's log, or ask it by hand: bao read {path}. What is published stays.",
    ),
}

_ALL_DENIED = _Text(
    message="{address} denies everything that source {source} asks for, {secret} too",
    advice='Check the policies of the token: one must say path "{path}" {{ capabilities = ["read"] }} and '
    "the "
    "like for each secret.",
)


def failure(fault: Fault, ref: SecretRef, config: VaultSource) -> Failure:
    """`fault` as it concerns `ref`, in words for the operator; holds configured names and codes only."""
    return _spoken(_TEXTS[fault.code], fault, fault.failure_class, ref, config)


def all_denied(fault: Fault, ref: SecretRef, config: VaultSource) -> Failure:
    """The failure of `ref` when nothing at all was granted: our token is wrong, not the secret."""
    return _spoken(_ALL_DENIED, fault, FailureClass.IDENTITY, ref, config)


def _spoken(
    text: _Text, fault: Fault, failure_class: FailureClass, ref: SecretRef, config: VaultSource
) -> Failure:
    below = f"data/{ref.id}" if config.kv_version == 2 else ref.id
    names = {
        "secret": str(ref),
        "id": ref.id,
        "source": ref.source,
        "address": config.address,
        "mount": config.mount,
        "namespace": config.namespace or "(root)",
        "kv_version": str(config.kv_version),
        "ca_file": str(config.ca_file),
        "path": f"{config.mount}/{below}",
        **_login_words(config),
    }
    message = text.message.format(**names)
    return Failure(
        code=fault.code,
        failure_class=failure_class,
        message=f"{message} ({fault.detail})" if fault.detail else message,
        advice=text.advice.format(**names),
        secret=ref.id,
    )


def _login_words(config: VaultSource) -> dict[str, str]:
    match config.login:
        case VaultTokenLogin(token=place):
            return {
                "token_fix": f"Put a token that has not expired at {place}, and see what keeps it fresh; "
                "it must be allowed auth/token/lookup-self, as the policy default does.",
                "login_fix": "",
                "no_credentials": f"no token was found at {place}",
                "credentials_fix": _place_fix(place, "token"),
            }
        case VaultAppRoleLogin(secret_id=place, mount=mount):
            again = "A new login is tried with the next refresh."
            return {
                "token_fix": f"{again} If it stays: see the server's log.",
                "login_fix": f"Check role_id (bao read auth/{mount}/role/NAME/role-id), the mount {mount} "
                f"and the secret id at {place}: it may have expired or be used up (bao write -f "
                f"auth/{mount}/role/NAME/secret-id makes one).",
                "no_credentials": f"no secret id was found at {place}",
                "credentials_fix": _place_fix(place, "secret id"),
            }
        case VaultAwsLogin(role=role, mount=mount):
            return {
                "token_fix": "A new login is tried with the next refresh. If it stays: see the server's log.",
                "login_fix": f"Check that bao read auth/{mount}/role/{role} binds this host's role (aws sts "
                "get-caller-identity), that server_id and region are as the server has them, and the clock.",
                "no_credentials": "no AWS credentials were found to log in with",
                "credentials_fix": "Attach a role to the instance, or set AWS_ACCESS_KEY_ID and "
                "AWS_SECRET_ACCESS_KEY for secretsd.service.",
            }


def _place_fix(place: str, what: str) -> str:
    kind, _, rest = place.partition(":")
    if kind == "credential":
        return (
            f"Put the {what} into /etc/credstore/{rest}, mode 600, and LoadCredential={rest} into "
            "[Service] of secretsd.service (systemctl edit secretsd); then: systemctl restart secretsd"
        )
    return f"Write the {what} into {rest}, readable for the user of secretsd and for nobody else."
