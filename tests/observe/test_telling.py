"""What an alert command is told, over hours that take no time."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import pytest

from secretsd.observe.telling import (
    ALL_BUNDLES,
    Condition,
    Event,
    EventName,
    Memory,
    Report,
    Situation,
    Trouble,
    fail,
    look,
    report,
    spend,
    succeed,
)

HOUR_S = 3600.0
LIMIT = 12
COMMAND = ("/bin/alert",)
REFRESH = Trouble("bot", "refresh")


def wrong(
    event: EventName = "refused",
    *,
    trouble: Trouble = REFRESH,
    delay_s: float = 0.0,
    distinction: str = "",
    since: float = 1.0,
) -> Condition:
    return Condition(
        trouble, event, f"{event} happened", "mend it", delay_s=delay_s, distinction=distinction, since=since
    )


def now_wrong(*conditions: Condition, unknown: Iterable[Trouble] = (), limit: int = LIMIT) -> Situation:
    return Situation(
        {condition.trouble: condition for condition in conditions},
        frozenset(unknown),
        {"": COMMAND, "bot": COMMAND, "apart": ("/bin/other",)},
        limit,
    )


@dataclass
class Desk:
    """Whoever sits behind the alert command, and a clock."""

    memory: Memory = field(default_factory=Memory)
    now: float = 1000.0
    heard: list[Event] = field(default_factory=list)
    heard_at: list[float] = field(default_factory=list)
    deaf: bool = False
    tries: int = 0

    def look(self, *conditions: Condition, unknown: Iterable[Trouble] = (), limit: int = LIMIT) -> list[str]:
        """What is told now, until nothing more is due."""
        told = []
        while True:
            situation = now_wrong(*conditions, unknown=unknown, limit=limit)
            self.memory, event = look(self.memory, situation, self.now)
            if event is None:
                return told
            self.memory = spend(self.memory, event, limit, self.now)
            self.tries += 1
            if self.deaf:
                self.memory = fail(self.memory, event, self.now)
                continue
            self.memory = succeed(self.memory, event)
            self.heard.append(event)
            self.heard_at.append(self.now)
            told.append(event.event)

    def later(self, seconds: float) -> Desk:
        self.now += seconds
        return self


def test_a_trouble_is_told_once_and_its_end_once() -> None:
    desk = Desk()
    assert desk.look(wrong()) == ["refused"]
    assert desk.later(60).look(wrong()) == []
    assert desk.later(60).look() == ["recovered"]
    assert desk.heard[-1].was is not None
    assert desk.heard[-1].was.message == "refused happened"
    assert desk.later(60).look() == []
    assert desk.memory.is_at_rest


def test_nobody_is_woken_by_what_heals_in_time() -> None:
    desk = Desk()
    assert desk.look(wrong("stale", delay_s=120)) == []
    assert desk.later(119).look(wrong("stale", delay_s=120)) == []
    assert desk.later(1).look() == []
    assert desk.look(wrong("stale", delay_s=120)) == []
    assert desk.later(119).look(wrong("stale", delay_s=120)) == [], "each outage counts from its own begin"
    assert desk.later(1).look(wrong("stale", delay_s=120)) == ["stale"]
    assert desk.heard[-1].suppressed == 0, "what was never due was not suppressed"


def test_an_outage_that_changes_its_face_all_the_time_is_told_in_time() -> None:
    desk, told = Desk(), []
    for second in range(130):
        face: EventName = "stale" if second % 2 else "failed"
        told += desk.look(wrong(face, delay_s=120))
        desk.later(1)
    assert told == ["failed"]


def test_a_trouble_that_gets_worse_is_told_anew_and_ends_once() -> None:
    desk = Desk()
    desk.look(wrong("stale"))
    assert desk.later(5).look(wrong("refused")) == ["refused"]
    assert desk.later(5).look(wrong("refused", distinction="another secret")) == ["refused"]
    assert desk.later(5).look() == ["recovered"]
    assert desk.look() == []


def test_the_gravest_is_told_first() -> None:
    troubles = [
        wrong("stale", trouble=Trouble("a", "refresh")),
        wrong("not-loaded", trouble=Trouble("b", "b.service")),
        wrong("drift", trouble=Trouble("c", "files")),
        wrong("failed", trouble=Trouble("d", "refresh"), since=9.0, distinction="one"),
        wrong("failed", trouble=Trouble("e", "refresh"), since=5.0, distinction="two"),
        wrong("refused", trouble=Trouble("f", "refresh")),
    ]
    desk = Desk()
    assert desk.look(*troubles) == ["refused", "failed", "failed", "drift", "not-loaded", "stale"]
    assert [event.trouble.bundle for event in desk.heard[1:3]] == ["e", "d"], "the older one first"


@pytest.mark.parametrize("period_s", [1, 7, 60, 400])
def test_flapping_never_tells_more_than_the_limit_in_any_hour(period_s: int) -> None:
    desk = Desk()
    flaps = 0
    for second in range(0, 4 * 3600, period_s):
        desk.look(*([wrong()] if (second // period_s) % 2 == 0 else []))
        flaps += 1
        desk.later(period_s)
    assert flaps > LIMIT, "there was more to tell than may be told"
    assert len(desk.heard) > LIMIT, "it does not fall silent"
    for begin in desk.heard_at:
        assert sum(begin <= at < begin + HOUR_S for at in desk.heard_at) <= LIMIT


def test_what_was_held_back_and_passed_is_counted_in_the_next_event() -> None:
    desk = Desk()
    while desk.look(wrong()) and desk.look():
        desk.later(1)
    told = len(desk.heard)
    assert told == LIMIT // 2
    for _ in range(5):  # five troubles, each over before it could be told
        desk.later(1).look(wrong())
        desk.later(1).look()
    assert len(desk.heard) == told
    desk.later(HOUR_S).look(wrong())
    assert desk.heard[-1].suppressed == 5
    desk.later(HOUR_S).look()
    assert desk.heard[-1].suppressed == 0


def test_what_stays_wrong_after_a_burst_is_told_within_minutes() -> None:
    desk = Desk()
    while desk.look(wrong()) and desk.look():
        pass
    desk.look()
    assert desk.look(wrong()) == []
    waited = 0
    while not desk.later(60).look(wrong()):
        waited += 1
    assert waited <= 10


def test_a_told_trouble_gets_its_end_even_when_the_limit_was_reached() -> None:
    desk = Desk()
    desk.look(wrong(), limit=2)
    assert desk.look(limit=2) == [], "half of two is one"
    assert desk.later(HOUR_S).look(limit=2) == ["recovered"]


def test_a_bundle_that_flaps_does_not_silence_another() -> None:
    desk, other = Desk(), wrong(trouble=Trouble("other", "refresh"))
    while desk.look(wrong()) and desk.look():
        pass
    assert desk.look(other) == ["refused"]


def test_all_bundles_together_are_limited_too() -> None:
    desk = Desk()
    troubles = [
        wrong(trouble=Trouble(f"bot-{number}", "refresh"), distinction=f"secret-{number}")
        for number in range(200)
    ]
    desk.look(*troubles)
    assert len(desk.heard) == ALL_BUNDLES * LIMIT / 2
    for _ in range(60):
        desk.later(60).look(*troubles)
    assert len(desk.heard) <= ALL_BUNDLES * LIMIT
    for _ in range(6 * 60):
        desk.later(60).look(*troubles)
    assert {event.trouble for event in desk.heard} == {trouble.trouble for trouble in troubles}, "all in time"


def outage(bundles: Iterable[str], **of: str) -> list[Condition]:
    return [wrong("stale", trouble=Trouble(name, "refresh"), **of) for name in bundles]  # type: ignore[arg-type]


def test_one_outage_is_one_message_however_many_bundles_it_meets() -> None:
    desk, names = Desk(), [f"bot-{number}" for number in range(200)]
    assert desk.look(*outage(names)) == ["stale"]
    assert len(desk.heard[0].also) == 199
    assert desk.later(60).look(*outage(names)) == []
    assert desk.later(60).look() == ["recovered"]
    assert len(desk.heard[1].also) == 199
    assert desk.memory.is_at_rest


def test_only_what_has_the_same_cause_and_the_same_listener_is_told_together() -> None:
    desk = Desk()
    denied = [wrong(trouble=Trouble(name, "refresh"), distinction=name) for name in ("one", "two")]
    units = [wrong("not-loaded", trouble=Trouble("a", f"{name}.service")) for name in "ab"]
    told = desk.look(*denied, *units, *outage(["x", "y", "apart"]))
    assert sorted(told) == ["not-loaded", "not-loaded", "refused", "refused", "stale", "stale"]
    assert sorted(len(event.also) for event in desk.heard) == [0, 0, 0, 0, 0, 1]


def test_a_bundle_that_joins_an_outage_later_is_told_then_and_all_recover_together() -> None:
    desk = Desk()
    desk.look(*outage(["a"]))
    assert desk.later(5).look(*outage(["a", "b", "c"])) == ["stale"]
    assert [event.trouble.bundle for event in desk.heard[1].also] == ["c"]
    assert desk.later(5).look() == ["recovered"]
    assert len(desk.heard[2].also) == 2


def test_when_the_command_fails_nobody_counts_as_told() -> None:
    desk = Desk(deaf=True)
    desk.look(*outage(["a", "b"]))
    desk.deaf = False
    assert desk.later(60).look(*outage(["b"])) == ["stale"]
    assert desk.heard[0].trouble.bundle == "b"


def test_a_command_that_fails_is_tried_again_with_what_is_true_then() -> None:
    desk = Desk(deaf=True)
    desk.look(wrong("stale"))
    assert desk.tries == 1
    desk.later(29).look(wrong("stale"))
    assert desk.tries == 1, "not at once"
    desk.later(1).look(wrong("stale"))
    assert desk.tries == 2
    desk.deaf = False
    assert desk.later(60).look(wrong("refused")) == ["refused"]
    assert desk.heard[-1].suppressed == 1, "the stale one that nobody heard of"


def test_a_command_that_never_works_is_tried_each_quarter_of_an_hour() -> None:
    desk = Desk(deaf=True)
    for _ in range(10 * 3600):
        desk.look(wrong())
        desk.later(1)
    assert 10 * 4 <= desk.tries <= 10 * 4 + 5


def test_nobody_hears_that_a_trouble_is_over_who_never_heard_of_it() -> None:
    desk = Desk(deaf=True)
    desk.look(wrong())
    desk.deaf = False
    assert desk.later(600).look() == []


def test_before_anything_is_known_nothing_is_over() -> None:
    desk = Desk()
    desk.look(wrong())
    restarted = Desk(Memory(told=desk.memory.told, allowances=desk.memory.allowances), now=desk.now)
    assert restarted.look(unknown=[REFRESH]) == []
    assert restarted.look(wrong()) == [], "it was told before the restart"
    assert restarted.look() == ["recovered"]


def test_a_bundle_without_a_command_is_told_to_nobody_and_one_that_is_gone_to_the_daemons() -> None:
    memory = succeed(Memory(), Event(REFRESH, "refused", COMMAND, wrong(), None, 0))
    silent = Situation({}, frozenset(), {"": COMMAND, "bot": ()}, LIMIT)
    after, event = look(memory, silent, 0.0)
    assert event is None
    assert after.is_at_rest, "what was told is forgotten: nobody is there to hear the end"
    gone = Situation({}, frozenset(), {"": COMMAND}, LIMIT)
    _, event = look(memory, gone, 0.0)
    assert event is not None
    assert (event.event, event.command) == ("recovered", COMMAND)


def found(number: int) -> Report:
    return Report("refusals", f"uid {number} was refused 20 times in a row", "stop it", at=float(number))


def test_what_has_happened_is_told_once_as_one_and_is_never_over() -> None:
    desk = Desk()
    for number in range(3):
        desk.memory = report(desk.memory, found(number))
    assert not desk.memory.is_at_rest
    assert desk.look() == ["unusual"]
    (event,) = desk.heard
    assert event.condition is not None
    assert event.condition.message.count("in a row") == 3
    assert desk.later(HOUR_S).look() == []
    assert desk.memory.is_at_rest


def test_what_is_found_while_the_command_runs_is_told_next() -> None:
    memory = report(Memory(), found(1))
    memory, event = look(memory, now_wrong(), 1000.0)
    assert event is not None
    memory = report(memory, found(2))
    memory = succeed(memory, event)
    assert memory.reports == (found(2),)


def test_a_signer_that_makes_up_alerts_takes_none_from_the_bundles() -> None:
    desk = Desk()
    for number in range(60):
        desk.memory = report(desk.memory, found(number))
        desk.later(60).look()
    told = len(desk.heard)
    assert told <= LIMIT, f"{told} within an hour"
    assert desk.look(wrong()) == ["refused"]


def test_what_is_wrong_with_a_bundle_is_told_before_what_is_unusual() -> None:
    desk = Desk()
    desk.memory = report(desk.memory, found(1))
    assert desk.look(wrong("refused"), wrong("stale", trouble=Trouble("bot", "x"))) == [
        *("refused", "unusual", "stale"),
    ]
