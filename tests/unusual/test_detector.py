"""What is found unusual, and what is not: weeks of uses and refusals, one second after the other."""

from __future__ import annotations

import sys
from collections.abc import Iterable

import pytest

from secretsd.config.unusual import Unusual
from secretsd.unusual import memory, refusals, uses
from secretsd.unusual.detector import Detector
from secretsd.unusual.findings import OTHERS, Finding, sentence

KEY, OTHER_KEY = ("key", "orders"), ("key", "backup")
BOT, STRANGER = "bot.service", "uid 4711"
MINUTE_S, HOUR_S, DAY_S = 60.0, 3600.0, 86400.0


class Life:
    """A detector and its clock; what was found since the last `findings`."""

    def __init__(self, *, things: Iterable[tuple[str, ...]] = (KEY, OTHER_KEY), **settings: int) -> None:
        self.settings = Unusual(**settings)
        self.now_s = 0.0
        self.things = list(things)
        self.wakes = 0
        self.detector = Detector(self.settings, self._wake)
        self.detector.configure(self.settings, self.things, 0.0)
        self._found: list[Finding] = []

    def _wake(self) -> None:
        self.wakes += 1

    def judge(self, after_s: float = 1.0) -> None:
        self.now_s += after_s
        self._found += self.detector.judge(self.now_s)

    def use(self, count: int = 1, who: str = BOT, *, thing: tuple[str, ...] = KEY) -> None:
        """So many uses within a second."""
        for _ in range(count):
            self.detector.used([thing], who)
        self.judge()

    def minutes(self, count: int, *, each: int, who: str = BOT) -> None:
        """Minute after minute with `each` uses."""
        for _ in range(count):
            self.use(each, who)
            self.now_s += MINUTE_S - 1.0

    def refuse(self, count: int = 1, who: str = STRANGER, *names: str) -> None:
        for number in range(count):
            self.detector.refused(who, names[number % len(names)] if names else None)
        self.judge()

    def day(self, number: int) -> None:
        """Goes on to the morning of that day, counted from the first start."""
        assert self.now_s <= number * DAY_S
        self.now_s = number * DAY_S

    def restart(self, *, away_s: float = 0.0, clock_set_s: float = 0.0) -> None:
        """Another process, with what the file has; the wall clock may have been set meanwhile."""
        document = memory.encoded(self.detector.uses, age_s=self.now_s, wall=1e9)
        text = memory.json.dumps(document).encode()
        self.detector = Detector(self.settings, self._wake)
        self.detector.uses, self.now_s = memory.decoded(text, wall=1e9 + away_s + clock_set_s)
        self.detector.configure(self.settings, self.things, self.now_s)

    def findings(self) -> list[tuple[str, str, int]]:
        found, self._found = self._found, []
        return [(each.kind, each.who, each.count) for each in found]


def test_a_new_actor_of_an_old_key_is_told_once_and_not_after_a_restart() -> None:
    life = Life()
    life.use()
    life.day(2)
    life.use()
    assert life.findings() == []
    life.use(3, "new.service")
    life.use(3, "new.service")
    assert life.findings() == [("new-actor", "new.service", 1)]
    life.restart()
    life.use(3, "new.service")
    assert life.findings() == []


def test_the_first_use_of_a_key_that_nobody_has_used_for_a_day_is_told() -> None:
    life = Life()
    life.day(1)
    life.use()
    assert life.findings() == [("new-actor", BOT, 1)]


def test_a_key_that_a_reload_adds_is_learned_about_and_an_old_one_stays_known() -> None:
    life = Life(things=[KEY])
    life.day(3)
    life.detector.configure(life.settings, [OTHER_KEY], life.now_s)  # `orders` is gone for an hour
    life.use(thing=OTHER_KEY)
    life.detector.configure(life.settings, [KEY, OTHER_KEY], life.now_s + HOUR_S)
    life.use(thing=OTHER_KEY)
    assert life.findings() == []
    life.use(who="thief.service", thing=KEY)
    assert life.findings() == [("new-actor", "thief.service", 1)]
    life.day(5)
    life.use(who="thief.service", thing=OTHER_KEY)
    assert life.findings() == [("new-actor", "thief.service", 1)]


def test_a_unit_that_loads_twenty_secrets_for_the_first_time_is_one_finding() -> None:
    secrets = [("secret", "aws", f"prod/{number:02}") for number in range(20)]
    life = Life(things=secrets)
    life.day(1)
    life.detector.used(secrets, "new.service")
    life.now_s += 1
    (found,) = life.detector.judge(life.now_s)
    assert (found.kind, found.count, len(found.things)) == ("new-actor", 20, 20)
    assert sentence(found) == (
        "new.service has used the secret prod/00 of aws, the secret prod/01 of aws, the secret prod/02 of aws"
        " and 17 more for the first time"
    )


def test_a_burst_after_a_quiet_week_is_told_while_it_lasts_once() -> None:
    life = Life()
    for day in range(14):
        life.day(day)
        life.minutes(5, each=20)
    assert life.findings() == []
    life.day(14)
    life.minutes(10, each=5000)
    assert life.findings() == [("rate", BOT, 5000)]
    life.restart()
    life.minutes(10, each=5000)
    assert life.findings() == []


def test_what_the_bot_did_last_week_is_usual_and_is_forgotten_in_the_weeks_after() -> None:
    life = Life()
    life.minutes(10, each=2000)
    life.day(13)
    life.minutes(10, each=19_000)
    assert life.findings() == []
    life.day(35)
    life.minutes(2, each=2000)
    assert life.findings() == [("rate", BOT, 2000)]


def test_a_rate_that_grows_slowly_within_a_day_is_told_before_it_is_twenty_fold() -> None:
    """Each minute is a tenth more than the last: no step is unusual, the day is."""
    life = Life()
    life.minutes(60, each=50)
    life.day(2)
    each = 50.0
    while not (found := life.findings()):
        life.minutes(1, each=round(each))
        each *= 1.1
    assert found[0][:2] == ("rate", BOT)
    assert 500 < found[0][2] < 1000


def test_a_few_uses_are_never_too_often_and_so_are_they_of_whoever_is_new() -> None:
    life = Life()
    life.day(2)
    life.minutes(30, each=100)
    assert life.findings() == [("new-actor", BOT, 1)]
    life.use(101)
    assert life.findings() == [("rate", BOT, 101)]


def test_twenty_refusals_in_a_row_are_told_once_until_a_use_is_allowed() -> None:
    life = Life()
    life.use()
    life.refuse(19, BOT)
    life.use()
    life.refuse(19, BOT)
    assert life.findings() == []
    life.refuse(30, BOT)
    life.refuse(30, BOT)
    assert life.findings() == [("refusals", BOT, 49)]
    life.use()
    life.refuse(20, BOT)
    assert life.findings() == [("refusals", BOT, 20)]


def test_refusals_between_uses_of_the_same_second_are_no_row() -> None:
    life = Life()
    for _ in range(100):
        life.detector.used([KEY], BOT)
        life.detector.refused(BOT)
    life.judge()
    assert life.findings() == []


def test_one_mistake_an_hour_is_no_row() -> None:
    life = Life()
    for _ in range(100):
        life.refuse(1, BOT)
        life.now_s += HOUR_S
    assert life.findings() == []


def test_a_search_for_names_is_told_also_of_names_that_do_not_exist_and_keeps_none() -> None:
    life = Life(refusals=1000)
    life.refuse(100, STRANGER, "one-wrong-name")
    assert life.findings() == []
    marker = "a-name-that-was-asked-for"
    life.refuse(4, STRANGER, *(f"{marker}-{number}" for number in range(4)))
    life.refuse(40, STRANGER, *(f"{marker}-{number}" for number in range(40)))
    assert life.findings() == [("probe", STRANGER, 5)]
    assert marker not in repr(vars(life.detector._refusals))
    rows = life.detector._refusals._rows.values()
    assert sum(len(row.names) + len(row.new_names) for row in rows) <= 5


def test_a_search_that_goes_on_is_told_once_and_one_that_begins_anew_again() -> None:
    life = Life(refusals=10_000)
    for number in range(30):
        life.refuse(20, STRANGER, *(f"{number}-{each}" for each in range(20)))
        life.now_s += MINUTE_S
    assert life.findings() == [("probe", STRANGER, 5)]
    life.now_s += HOUR_S
    life.refuse(1, STRANGER, "a")
    life.now_s += HOUR_S
    life.refuse(5, STRANGER, *"abcde")
    assert life.findings() == [("probe", STRANGER, 5)]


def test_a_slow_search_below_the_limit_is_not_told() -> None:
    life = Life(refusals=10_000)
    for number in range(100):
        life.refuse(1, STRANGER, f"name-{number}")
        life.now_s += 3 * MINUTE_S
    assert life.findings() == []


def test_ten_thousand_users_at_once_fill_neither_the_memory_nor_the_trail() -> None:
    life = Life()
    life.day(2)
    for uid in range(10_000):
        life.detector.used([KEY], f"uid {uid}")
        for each in range(20):
            life.detector.refused(f"uid {uid}", f"name {each}")
    life.judge()
    found = life.findings()
    assert len(found) < 70, len(found)
    assert len([each for each in found if each[0] == "new-actor"]) == 21
    counts = life.detector.counts
    assert counts["new-actor"] == uses.MOST_ACTORS + 1
    summed = sum(count for kind, who, count in found if kind == "new-actor" and not who)
    assert summed == counts["new-actor"] - 20, "what is not told is counted"
    assert len(life.detector.uses.things[KEY].by) == uses.MOST_ACTORS + 1
    assert len(life.detector._refusals) <= refusals.MOST_ACTORS + 1
    assert sys.getsizeof(memory.json.dumps(memory.encoded(life.detector.uses, age_s=1.0, wall=1.0))) < 20_000


def test_the_crowd_beyond_the_limit_is_still_watched_together() -> None:
    life = Life()
    for uid in range(1000):
        life.use(1, f"uid {uid}")
    life.day(2)
    life.use(5000, "uid 999")
    assert life.findings() == [("rate", OTHERS, 5000)]


def test_findings_beyond_twenty_an_hour_are_told_as_a_number_once_a_minute() -> None:
    life = Life()
    life.day(2)
    for uid in range(100):
        life.use(1, f"uid {uid}")
    found = life.findings()
    assert len([who for _, who, _ in found if who]) == 20
    for _ in range(3):
        life.judge(MINUTE_S)
    found += life.findings()
    assert sum(count for _, who, count in found if not who) == 80
    assert len([who for _, who, _ in found if not who]) <= 3
    assert life.detector.pause_s is None


@pytest.mark.parametrize("clock_set_s", [-30 * DAY_S, 30 * DAY_S, 400 * 365 * DAY_S])
def test_a_clock_that_is_set_makes_nothing_new_and_forgets_nothing(clock_set_s: float) -> None:
    life = Life()
    life.minutes(10, each=1000)
    life.day(2)
    life.minutes(10, each=1000)
    life.restart(clock_set_s=clock_set_s)
    life.minutes(10, each=1000)
    assert life.findings() == []
    life.use(who="new.service")
    assert life.findings() == [("new-actor", "new.service", 1)]


def test_an_idle_daemon_that_loses_its_power_does_not_learn_again() -> None:
    """It saved nothing since its first minute, and a week has passed."""
    life = Life()
    life.use()
    life.restart(away_s=7 * DAY_S)
    life.use(who="new.service")
    assert life.findings() == [("new-actor", "new.service", 1)]


def test_nothing_is_to_be_judged_while_nothing_is_used() -> None:
    life = Life()
    life.use(100)
    assert life.wakes == 1, "once for all of a second"
    assert life.detector.pause_s is None
    life.detector.refused(STRANGER)
    assert life.detector.pause_s == 0.0
