"""From fetched secrets to a bundle's variables: which names are taken, and what each must satisfy.

Pure. No message holds a value, and no parser's own error travels: they quote what they choked on.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from secretsd.config.models import Bundle, Secret
from secretsd.config.names import is_dangerous, is_valid_name, shown
from secretsd.config.rules import broken_rule
from secretsd.errors import Failure, FailureClass
from secretsd.model import FetchedSecret, SecretRef
from secretsd.refresh.secret_object import DUPLICATE, parse_object


@dataclass(frozen=True, slots=True)
class Variables:
    """A bundle's variables in the order of their names, ready to be written."""

    values: Mapping[str, bytes] = field(repr=False)
    defaults: tuple[str, ...]
    ignored: Mapping[str, tuple[str, ...]]  # secret -> keys of its object that nothing takes
    origins: Mapping[str, str] = field(default_factory=dict)  # variable -> its secret; no default has one

    def __reduce__(self) -> tuple[object, ...]:
        raise TypeError("a bundle's values do not leave their worker")


def validate(bundle: Bundle, fetched: Mapping[SecretRef, FetchedSecret]) -> Variables | tuple[Failure, ...]:
    """The bundle's variables, or every reason why there are none.

    `fetched` holds every secret that the bundle names.
    """
    gathering = _Gathering(bundle)
    for secret in bundle.secrets:
        gathering.take(secret, fetched[secret.ref])
    gathering.apply_rules()
    gathering.complete_groups()
    if gathering.failures:
        return tuple(gathering.failures)
    return Variables(
        values=dict(sorted(gathering.values.items())),
        defaults=tuple(sorted(gathering.defaults)),
        ignored=gathering.ignored,
        origins=gathering.origin,
    )


class _Gathering:
    """One pass over a bundle's secrets."""

    def __init__(self, bundle: Bundle) -> None:
        self.bundle = bundle
        self.values: dict[str, bytes] = {}
        self.origin: dict[str, str] = {}
        self.defaults: list[str] = []
        self.ignored: dict[str, tuple[str, ...]] = {}
        self.failures: list[Failure] = []

    def take(self, secret: Secret, fetched: FetchedSecret) -> None:
        if not fetched.payload:
            self._fail("secret-empty", secret, None, "is empty", "put a value into it")
        elif secret.variable is not None:
            self._give(secret.variable, fetched.payload, secret)
        else:
            self._take_object(secret, fetched)

    def _take_object(self, secret: Secret, fetched: FetchedSecret) -> None:
        if fetched.is_binary:
            self._fail(
                "not-an-object", secret, None, "is binary where a JSON object is needed", _PLAIN_ADVICE
            )
            return
        members = parse_object(fetched.payload)
        if isinstance(members, str):
            self._fail("not-an-object", secret, None, members, _PLAIN_ADVICE)
            return
        wanted = self._wanted(secret, members)
        for name, key in wanted.items():
            if key in members:
                self._take_member(secret, name, members[key])
        # What was left out because it would do harm comes first: a long list is cut.
        unused = sorted(members.keys() - set(wanted.values()), key=lambda key: (not is_dangerous(key), key))
        if unused:
            more = [f"and {len(unused) - _MOST_IGNORED} more"] if len(unused) > _MOST_IGNORED else []
            self.ignored[str(secret.ref)] = (*map(shown, unused[:_MOST_IGNORED]), *more)

    def _wanted(self, secret: Secret, members: Mapping[str, object]) -> dict[str, str]:
        """Variable name -> key of the object."""
        if secret.variables:
            return dict(secret.variables)
        mapped = self.bundle.mapped_names
        names = {name for name in self.bundle.variables if name not in mapped}
        if self.bundle.import_all:
            names |= {key for key in members if is_valid_name(key) and not is_dangerous(key)} - mapped
        return {name: name for name in sorted(names)}

    def _take_member(self, secret: Secret, name: str, member: object) -> None:
        if member is None:
            return  # null counts as missing
        if isinstance(member, bool):
            self._give(name, b"true" if member else b"false", secret)
        elif isinstance(member, str):  # numbers arrive as their source text
            try:
                self._give(name, member.encode("utf-8"), secret)
            except UnicodeEncodeError:
                self._fail(
                    "not-utf8", secret, name, "holds a lone surrogate, which is no UTF-8", "store it again"
                )
        elif member is DUPLICATE:
            self._fail("duplicate-key", secret, name, "stands twice in the object", "keep one of the two")
        else:
            self._fail(
                "nested-value", secret, name, "is an object or a list",
                "store it as a string, or as members of its own",
            )  # fmt: skip

    def _give(self, name: str, value: bytes, secret: Secret) -> None:
        if name in self.values:
            self._fail(
                "ambiguous-variable", secret, name, f"is also given by {self.origin[name]}",
                "name it in one secret's variables map",
            )  # fmt: skip
            return
        self.values[name] = value
        self.origin[name] = str(secret.ref)

    def apply_rules(self) -> None:
        failed = {failure.variable for failure in self.failures}
        for name in sorted(self.bundle.wanted_names | self.values.keys()):
            rule = self.bundle.variables.get(name)
            if name not in self.values and name not in failed:
                if rule is not None and rule.default is not None:
                    self.values[name] = rule.default.encode()
                    self.defaults.append(name)
                elif name not in self.bundle.grouped_names and (rule is None or rule.required):
                    self._missing(name)
                    continue
            if rule is not None and name in self.values and (broken := broken_rule(rule, self.values[name])):
                self._rule_broken(name, broken)

    def complete_groups(self) -> None:
        """Of each group every variable has a value, or none has."""
        failed = {failure.variable for failure in self.failures}
        for group in self.bundle.groups:
            present = [name for name in group if name in self.values or name in failed]
            for name in group if present else ():
                if name not in present:
                    self._missing(name, beside=present[0])

    def _missing(self, name: str, *, beside: str = "") -> None:
        if any(failure.variable is None for failure in self.failures):
            return  # a secret that could not be read at all explains its missing variables
        secret = self.bundle.secret_of(name)
        where = str(secret.ref) if secret else "any of the bundle's secrets"
        key = secret.variables.get(name, name) if secret else name
        advice = "add the key to the secret, or give the variable a default or required = false"
        if beside:
            advice = f"{beside} of the same group has a value: add the key to the secret, or take both away"
        self.failures.append(
            Failure(
                code="group-incomplete" if beside else "variable-missing",
                failure_class=FailureClass.DATA,
                message=f"{name} is missing: {where} has no key {key!r} with a value",
                advice=advice,
                secret=str(secret.ref) if secret else None,
                variable=name,
            )
        )

    def _rule_broken(self, name: str, broken: str) -> None:
        origin = self.origin.get(name)
        self.failures.append(
            Failure(
                code="rule-broken",
                failure_class=FailureClass.DATA,
                message=f"{name} from {origin or 'its default'} {broken}",
                advice="correct the secret, or the rule if the rule is wrong",
                secret=origin,
                variable=name,
            )
        )

    def _fail(self, code: str, secret: Secret, variable: str | None, what: str, advice: str) -> None:
        name = str(secret.ref)
        subject = name if variable is None else f"{variable} in {name}"
        self.failures.append(Failure(code, FailureClass.DATA, f"{subject} {what}", advice, name, variable))


_PLAIN_ADVICE = 'store a JSON object, or give the secret variable = "NAME" to publish it whole'
# What nobody asked for is reported in moderation: an object may have 64 KiB of keys.
_MOST_IGNORED = 20
