"""Over to the other region at once, and back with hysteresis."""

from __future__ import annotations

from secretsd.model import EndpointSeen, Route, Stop
from secretsd.refresh.source_book.regions import PROBE_PAUSE_S, PROBES_TO_RETURN, RegionInUse, after, route

EAST = Stop("east", "us-east-1")
WEST = Stop("west", "us-west-2", is_primary=False)
THIRD = Stop("third", "eu-west-1", is_primary=False)
STOPS = (EAST, WEST)
AT_HOME = RegionInUse()


def saw(**did: str) -> list[EndpointSeen]:
    return [EndpointSeen(name, "answers" if how == "answers" else "fails", how) for name, how in did.items()]


def seen_by(use: RegionInUse, now: float = 0.0, **did: str) -> RegionInUse:
    return after(STOPS, use, saw(**did), now=now, wall=1000.0 + now)


def away(now: float = 0.0) -> RegionInUse:
    return seen_by(AT_HOME, now, east="server-error", west="answers")


def test_at_home_the_order_is_the_configurations_and_nothing_is_probed() -> None:
    assert route(STOPS, AT_HOME, now=0.0) == Route(STOPS)


def test_a_region_that_fails_is_left_at_once() -> None:
    assert away().endpoint == "west"
    assert away().since == 1000.0
    assert route(STOPS, away(), now=0.0) == Route((WEST, EAST))


def test_where_none_answers_nothing_changes() -> None:
    assert seen_by(AT_HOME, east="unreachable", west="unreachable") == AT_HOME
    assert seen_by(away(), west="unreachable", east="unreachable") == away()


def test_a_region_that_drips_until_the_worker_is_killed_is_left_for_the_next_one() -> None:
    assert seen_by(AT_HOME, east="no-answer").endpoint == "west"
    assert seen_by(away(), west="no-answer") == AT_HOME
    alone = after((EAST,), AT_HOME, saw(east="no-answer"), now=0.0, wall=0.0)
    assert alone == AT_HOME


def test_throttling_alone_is_no_reason_to_go() -> None:
    assert seen_by(AT_HOME, east="throttled") == AT_HOME


def test_home_is_probed_after_a_pause_and_believed_after_several_good_probes_in_a_row() -> None:
    use, now = away(), 0.0
    for count in range(1, PROBES_TO_RETURN + 1):
        assert route(STOPS, use, now=now + PROBE_PAUSE_S - 1).probe is None
        now += PROBE_PAUSE_S
        assert route(STOPS, use, now=now).probe == EAST
        use = seen_by(use, now, west="answers", east="answers")
        assert (use.endpoint is None) == (count == PROBES_TO_RETURN)
    assert use == AT_HOME


def test_a_region_that_comes_and_goes_is_not_gone_back_to() -> None:
    use, now = away(), 0.0
    for _ in range(20):
        for did in ("answers", "answers", "server-error"):
            now += PROBE_PAUSE_S
            use = seen_by(use, now, west="answers", east=did)
            assert use.endpoint == "west"


def test_a_fetch_that_asks_nothing_at_home_counts_for_nothing() -> None:
    use = seen_by(away(), 60.0, west="answers", east="answers")
    assert seen_by(use, 61.0, west="answers") == use


def test_where_the_other_region_fails_and_home_answers_home_is_gone_back_to_at_once() -> None:
    assert seen_by(away(), 5.0, west="unreachable", east="answers") == AT_HOME


def test_an_answer_of_home_to_somebody_who_asked_it_by_hand_counts_as_a_probe() -> None:
    use = seen_by(away(), 1.0, east="answers")
    assert (use.endpoint, use.good_probes) == ("west", 1)


def test_the_first_other_region_that_answers_is_taken() -> None:
    stops = (EAST, WEST, THIRD)
    use = after(stops, AT_HOME, saw(east="unreachable", west="server-error", third="answers"), now=0, wall=0)
    assert use.endpoint == "third"
    assert route(stops, use, now=0.0).stops == (THIRD, EAST, WEST)


def test_a_region_that_the_configuration_has_let_go_of_is_left() -> None:
    use = RegionInUse("gone", 1.0, 1, 0.0)
    assert route(STOPS, use, now=9.0) == Route(STOPS)
    assert after(STOPS, use, saw(east="answers"), now=9.0, wall=9.0) == AT_HOME


def test_a_source_of_this_host_has_no_region() -> None:
    assert after((), AT_HOME, [], now=0.0, wall=0.0) == AT_HOME
