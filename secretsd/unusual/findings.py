"""What was found unusual, as a value, as a record of the trail and as a sentence. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from secretsd.audit import record
from secretsd.signing.model import Peer

Kind = Literal["new-actor", "rate", "refusals", "probe"]
KINDS: tuple[Kind, ...] = get_args(Kind)

# What is used: ("key", name), ("secret", source, id), ("bundle", name); "" for all bundles together.
Thing = tuple[str, ...]

ACTION = "unusual"
OTHERS = "others"  # all actors beyond those that are kept apart
_NAMED = 3  # things in a sentence; the record has more
_MINUTES = 60


@dataclass(frozen=True, slots=True)
class Finding:
    """One unusual access. `who` is a unit, "uid N", or OTHERS.

    `count` are the things (new-actor), uses in `window_s` (rate), refusals (refusals) or names (probe).
    Without `who` it stands for `count` findings of its kind that were not told one by one.
    """

    kind: Kind
    who: str
    count: int
    things: tuple[Thing, ...] = ()
    usual: int = 0  # of a rate: the most within a minute before
    window_s: int = 0


def actor_of(peer: Peer) -> str:
    """What an operator knows it by, and a restart does not change."""
    return peer.unit or f"uid {peer.uid}"


def told(finding: Finding) -> str:
    """The members of its record."""
    details: dict[str, object] = {}
    keys, secrets, bundles = (_of(finding, each) for each in ("key", "secret", "bundle"))
    if keys:
        details["keys"] = [name for (name,) in keys]
    if secrets:
        details["secrets"] = [{"source": source, "secret": id_} for source, id_ in secrets]
    if bundles:
        details["bundles"] = [name or "*" for (name,) in bundles]
    if finding.who:
        details["who"] = finding.who
    details["count"] = finding.count
    if finding.kind == "rate" and finding.who:
        details["usual"] = finding.usual
    if finding.window_s:
        details["window_s"] = finding.window_s
    return record.event(ACTION, reason=finding.kind, details=details)


def sentence(finding: Finding) -> str:
    """What was seen, for a log line and an alert."""
    who, count = finding.who, finding.count
    if not who:
        return f"{count} more findings of the kind {finding.kind} were counted, and not told one by one"
    match finding.kind:
        case "new-actor":
            return f"{who} has used {_named(finding)} for the first time"
        case "rate":
            usual = (
                f"the most before was {finding.usual}"
                if finding.usual
                else "there was none in the weeks before"
            )
            return f"{who} has used {_named(finding)} {count} times within a minute; {usual}"
        case "refusals":
            return f"{who} was refused {count} times in a row"
        case "probe":
            minutes = finding.window_s // _MINUTES
            return f"{who} has asked for {count} names within {minutes} minutes that it has no right to"


def advice(finding: Finding) -> str:
    """What to do about it."""
    look = "secretsctl log --action unusual has it"
    match finding.kind:
        case "new-actor":
            return f"if it is meant to, nothing is to be done; else take its right and rotate; {look}"
        case "rate":
            return f"find out what it does; a rate_limit of the key holds it back; {look}"
        case "refusals":
            return f"give it the right that it lacks, or stop it; {look}, and secretsctl log --result refused"
        case "probe":
            return f"find out who that is, and stop it; {look}, and secretsctl log --result refused"


def _named(finding: Finding) -> str:
    names = [_name(thing) for thing in finding.things[:_NAMED]]
    more = max(finding.count, len(finding.things)) if finding.kind == "new-actor" else len(names)
    return ", ".join(names) + (f" and {more - len(names)} more" if more > len(names) else "")


def _name(thing: Thing) -> str:
    kind, *name = thing
    if kind == "bundle":
        return f"the bundle {name[0]}" if name[0] else "all bundles"
    return f"the {kind} {name[-1]}" + (f" of {name[0]}" if kind == "secret" else "")


def _of(finding: Finding, kind: str) -> list[Thing]:
    return [thing[1:] for thing in finding.things if thing[0] == kind]
