"""A replica is never believed to know better than what was published."""

from __future__ import annotations

from secretsd.model import Floor, SecretRef, SecretVersion, Showing
from secretsd.refresh.source_book.floors import floors, highest, is_below

REF = SecretRef("aws", "prod/bot")
OLD = SecretVersion(REF, "v1", 100.0)
NEW = SecretVersion(REF, "v2", 200.0)


def shown(*versions: SecretVersion, copy_of: int | None = None) -> Showing:
    return Showing(1, 0.0, "", versions, copy_of)


def floor(*versions: SecretVersion, history: tuple[Showing, ...] = ()) -> Floor:
    return floors(versions, history)[REF]


def test_what_is_published_is_not_below_itself() -> None:
    assert not is_below(floor(NEW), "v2", 200.0)


def test_a_replica_may_date_the_same_version_as_it_likes() -> None:
    assert not is_below(floor(NEW), "v2", 50.0)


def test_what_is_older_is_below_and_what_is_newer_is_not() -> None:
    assert is_below(floor(NEW), "v1", 100.0)
    assert is_below(floor(NEW), "other", 200.0), "dates may be of whole seconds"
    assert not is_below(floor(NEW), "v3", 201.0)


def test_what_was_shown_before_is_below_whatever_its_date_there() -> None:
    assert is_below(floor(NEW, history=(shown(OLD), shown(NEW))), "v1", 9999.0)


def test_a_newer_version_that_was_rolled_back_from_is_not_below() -> None:
    back = floor(OLD, history=(shown(OLD), shown(NEW), shown(OLD, copy_of=1)))
    assert not is_below(back, "v2", 200.0)


def test_a_newer_version_that_the_source_has_taken_back_is_below() -> None:
    """A replica that lags, or whose replication has failed, still has the label where it was."""
    taken_back = (shown(OLD), shown(NEW), shown(OLD))
    assert is_below(floor(OLD, history=taken_back), "v2", 200.0)
    assert is_below(floor(history=taken_back), "v2", 200.0), "after a reboot, too"
    assert not is_below(floor(OLD, history=taken_back), "v3", 300.0)
    assert not is_below(floor(NEW, history=(*taken_back, shown(NEW))), "v2", 200.0)
    assert not is_below(floor(NEW, history=taken_back), "v2", 200.0), "confirmed, and not shown once more"


def test_what_has_no_date_is_not_believed() -> None:
    assert is_below(floor(NEW), "v3", None)
    assert is_below(floor(SecretVersion(REF, "v2", None)), "v3", 300.0)


def test_after_a_reboot_the_history_is_the_floor() -> None:
    assert floor(history=(shown(OLD), shown(NEW))).version_id == "v2"


def test_a_version_that_was_asked_for_by_its_id_sets_no_floor() -> None:
    pinned = SecretVersion(SecretRef("aws", "prod/bot", version="v9"), "v9", 900.0)
    assert floors((pinned,), ()) == {}


def test_of_several_bundles_the_newest_counts() -> None:
    assert highest([floors((OLD,), ()), floors((NEW,), ()), floors((OLD,), ())])[REF].version_id == "v2"
