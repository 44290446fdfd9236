"""The worker as it runs: in a process of its own, talking over a socket. The source is a fake."""

from __future__ import annotations

import contextlib
import os
import pwd
import signal
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import pytest

from secretsd.config.models import Bundle
from secretsd.config.sources import AwsSecretsManager
from secretsd.errors import FailureClass
from secretsd.model import CloudIdentity
from secretsd.refresh import messages
from secretsd.refresh.files import tree
from secretsd.refresh.messages import Job, SourceJob, Verdict, WorkerMessage
from secretsd.refresh.worker import worker
from tests.canary.spellings import MARKER
from tests.refresh.fakes import FakeSource, FakeVault, bundle, failure, prepare

AWS = SourceJob(AwsSecretsManager(type="aws-secretsmanager"), renew_identity=True)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return prepare(tmp_path / "run")


class Conversation:
    """The conductor's end of a forked worker; everything that comes is kept as bytes, too."""

    def __init__(self, job: Job) -> None:
        ours, theirs = socket.socketpair()
        self.pid = os.fork()
        if self.pid == 0:
            status = 1
            try:
                ours.close()
                worker.run(theirs)
                status = 0
            finally:
                os._exit(status)
        theirs.close()
        ours.settimeout(10)
        self._socket = ours
        self._reader: BinaryIO = ours.makefile("rb")
        self.raw = b""
        ours.sendall(messages.encode_job(job))

    def hear(self) -> WorkerMessage | None:
        """What it says next of a bundle or an identity; how a source was asked is told elsewhere."""
        while line := self._reader.readline():
            self.raw += line
            message = messages.decode_message(line)
            if not isinstance(message, messages.SourceAsked | messages.SourceRead):
                return message
        return None

    def say(self, name: str, generation: int | None) -> None:
        self._socket.sendall(messages.encode_verdict(Verdict(name, generation)))

    def hear_all(self, *, generation: int | None = 1) -> list[WorkerMessage]:
        """Everything until the worker ends; each bundle that is prepared is published as `generation`."""
        heard = []
        while message := self.hear():
            heard.append(message)
            if isinstance(message, messages.Prepared):
                self.say(message.candidate.bundle, generation)
        return heard

    def close(self) -> int:
        self._reader.close()
        self._socket.close()
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


@contextlib.contextmanager
def working(run: Path, *, foreground: bool = True, **bundles: Bundle) -> Iterator[Conversation]:
    job = Job(
        str(run), budget_s=5.0, sources={"aws": AWS}, bundles=bundles, restores={}, foreground=foreground
    )
    conversation = Conversation(job)
    try:
        yield conversation
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(conversation.pid, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            conversation.close()


def kinds(heard: list[WorkerMessage]) -> list[str]:
    return [message.kind for message in heard]


def failures(heard: list[WorkerMessage], name: str) -> list[str]:
    (found,) = [m.rejected for m in heard if isinstance(m, messages.Failed) and m.rejected.bundle == name]
    return [failure.code for failure in found.failures]


def test_a_bundle_is_published_only_after_the_verdict(run: Path, vault: FakeVault) -> None:
    vault.put("prod/bot", {"TOKEN": MARKER})
    with working(run, bot=bundle()) as conversation:
        assert isinstance(conversation.hear(), messages.Prepared)
        assert not (run / "bot").exists()
        conversation.say("bot", 7)
        message = conversation.hear()
        assert isinstance(message, messages.Published)
        assert message.record.generation == 7
        assert (run / "bot" / "env").read_bytes() == f"TOKEN='{MARKER}'\n".encode()
        assert conversation.hear() is None
        assert conversation.close() == 0


def test_a_bundle_that_the_plan_leaves_is_not_touched(run: Path, vault: FakeVault) -> None:
    vault.put("prod/bot", {"TOKEN": MARKER})
    with working(run, bot=bundle()) as conversation:
        assert kinds(conversation.hear_all(generation=None)) == ["prepared"]
    assert not (run / "bot").exists()


def test_a_worker_whose_conductor_died_publishes_nothing(run: Path, vault: FakeVault) -> None:
    vault.put("prod/bot", {"TOKEN": MARKER})
    with working(run, bot=bundle()) as conversation:
        conversation.hear()
        assert conversation.close() != 0
    assert not (run / "bot").exists()


def test_one_bad_bundle_stops_none_of_its_neighbours(run: Path, vault: FakeVault) -> None:
    bad = {
        "denied": bundle(secrets=[{"source": "aws", "id": "denied"}]),
        "nested": bundle(secrets=[{"source": "aws", "id": "nested"}]),
        "binary": bundle(secrets=[{"source": "aws", "id": "binary", "variable": "TOKEN"}]),
        "odd": bundle(secrets=[{"source": "aws", "id": "odd"}]),
        "unowned": bundle(owner="no-such-user-here"),
    }
    vault.put("prod/bot", {"TOKEN": MARKER})
    vault.fail("denied", FailureClass.REFUSAL)
    vault.put("nested", {"TOKEN": [MARKER]})
    vault.put("binary", b"\xff" + MARKER.encode())
    vault.put("odd", b'{"x\\ud800": "' + MARKER.encode() + b'"}')
    with working(run, **bad, bot=bundle()) as conversation:
        heard = conversation.hear_all()
    assert failures(heard, "denied") == ["fake-refusal"]
    assert failures(heard, "nested") == ["nested-value"]
    assert failures(heard, "binary") == ["rule-broken"]
    assert failures(heard, "odd") == ["variable-missing"]
    assert failures(heard, "unowned") == ["unknown-owner"]
    assert "published" in kinds(heard)
    assert os.listdir(run / "bot") == ["env"]
    assert MARKER not in conversation.raw.decode()


def test_a_key_that_no_encoder_takes_does_not_end_the_worker(run: Path, vault: FakeVault) -> None:
    vault.put("prod/bot", b'{"TOKEN": "fake", "x\\ud800": 1}')
    with working(run, bot=bundle()) as conversation:
        assert kinds(conversation.hear_all()) == ["prepared", "published"]


def test_a_value_that_the_dialect_cannot_hold_is_refused_by_name(run: Path, vault: FakeVault) -> None:
    vault.put("prod/bot", {"TOKEN": f"{MARKER}\0"})
    with working(run, bot=bundle()) as conversation:
        (heard,) = conversation.hear_all()
    assert isinstance(heard, messages.Failed)
    (failure,) = heard.rejected.failures
    assert failure.message.startswith("TOKEN from prod/bot holds a NUL byte")
    assert failure.message.endswith("(format env, output env)")
    assert (failure.secret, failure.variable) == ("prod/bot", "TOKEN")
    assert MARKER not in conversation.raw.decode()


def test_a_bundle_with_one_failed_secret_is_not_published_in_part(run: Path, vault: FakeVault) -> None:
    vault.put("prod/bot", {"TOKEN": MARKER})
    vault.fail("second")
    two = bundle(
        secrets=[{"source": "aws", "id": "prod/bot"}, {"source": "aws", "id": "second", "variable": "B"}]
    )
    with working(run, bot=two) as conversation:
        assert failures(conversation.hear_all(), "bot") == ["fake-transient"]
    assert not (run / "bot").exists()


def test_identical_content_has_the_same_digest_in_every_worker_and_another_in_every_boot(
    run: Path, vault: FakeVault
) -> None:
    vault.put("prod/bot", {"TOKEN": MARKER})
    digests = []
    for boot in range(3):
        if boot == 2:
            (run / tree.DIGEST_KEY).unlink()
            prepare(run)
        with working(run, bot=bundle()) as conversation:
            (message,) = conversation.hear_all(generation=None)
            assert isinstance(message, messages.Prepared)
            digests.append(message.candidate.digest)
    assert digests[0] == digests[1] != digests[2]


def test_a_publish_that_fails_is_told_and_the_next_bundle_goes_on(run: Path, vault: FakeVault) -> None:
    vault.put("prod/bot", {"TOKEN": MARKER})
    (run / "a").mkdir()
    (run / "a" / "stranger").touch()
    with working(run, a=bundle(), b=bundle()) as conversation:
        heard = conversation.hear_all()
    failed = [message for message in heard if isinstance(message, messages.PublishFailed)]
    assert [(message.bundle, message.failure.failure_class) for message in failed] == [("a", FailureClass.IO)]
    assert (run / "b" / "env").exists()


@pytest.mark.parametrize("damage", ["digest-key", "all"])
def test_a_runtime_directory_that_went_away_is_a_failure_of_this_host(
    run: Path, vault: FakeVault, damage: str
) -> None:
    vault.put("prod/bot", {"TOKEN": MARKER})
    if damage == "all":
        run.rename(run.parent / "away")
    else:
        (run / tree.DIGEST_KEY).unlink()
    with working(run, bot=bundle()) as conversation:
        assert failures(conversation.hear_all(), "bot") == ["missing"]


def test_role_credentials_go_to_the_conductor_and_only_new_ones(run: Path, vault: FakeVault) -> None:
    vault.put("prod/bot", {"TOKEN": MARKER})
    vault.identity = CloudIdentity("fake-key", "fake-secret", "fake-token", 4e9, "iam-role")
    with working(run, bot=bundle()) as conversation:
        heard = conversation.hear_all()
    assert [m.identity for m in heard if isinstance(m, messages.IdentityResolved)] == [vault.identity]
    kept = SourceJob(AWS.config, identity=vault.identity)
    conversation = Conversation(Job(str(run), 5.0, {"aws": kept}, {"bot": bundle()}, {}, foreground=True))
    assert "identity" not in kinds(conversation.hear_all(generation=2))
    assert conversation.close() == 0


def test_an_answer_larger_than_memory_fails_its_own_secrets_only(
    run: Path, vault: FakeVault, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetch = FakeSource.fetch

    def exhausted(self: FakeSource, refs: object, *, deadline: float) -> Iterator[object]:
        yield next(fetch(self, refs, deadline=deadline))  # type: ignore[arg-type]
        raise MemoryError

    monkeypatch.setattr(FakeSource, "fetch", exhausted)
    vault.put("prod/bot", {"TOKEN": MARKER})
    vault.put("big", {"TOKEN": MARKER})
    with working(run, bot=bundle(), big=bundle(secrets=[{"source": "aws", "id": "big"}])) as conversation:
        heard = conversation.hear_all()
    assert kinds(heard) == ["prepared", "published", "failed"]
    assert failures(heard, "big") == ["answer-too-big"]


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: gives files to other users")
def test_files_are_given_to_the_owner_that_the_configuration_names(run: Path, vault: FakeVault) -> None:
    vault.put("prod/bot", {"TOKEN": MARKER})
    with working(run, foreground=False, bot=bundle(owner="nobody")) as conversation:
        assert kinds(conversation.hear_all()) == ["prepared", "published"]
    assert (run / "bot" / "env").stat().st_uid == pwd.getpwnam("nobody").pw_uid


def test_a_bug_in_one_bundle_says_its_type_and_nothing_else(
    run: Path, vault: FakeVault, monkeypatch: pytest.MonkeyPatch
) -> None:
    def buggy(*_: object) -> None:
        raise ZeroDivisionError(MARKER)

    vault.put("prod/bot", {"TOKEN": MARKER})
    monkeypatch.setattr(worker, "validate", buggy)
    with working(run, bot=bundle()) as conversation:
        (heard,) = conversation.hear_all()
    assert isinstance(heard, messages.Failed)
    assert "ZeroDivisionError" in heard.rejected.failures[0].message
    assert MARKER not in conversation.raw.decode()


def test_a_bug_that_ends_a_worker_says_its_type_and_nothing_else(
    run: Path, vault: FakeVault, monkeypatch: pytest.MonkeyPatch
) -> None:
    def buggy(*_: object, **__: object) -> None:
        raise ZeroDivisionError(MARKER)

    monkeypatch.setattr(FakeSource, "fetch", buggy)
    with working(run, bot=bundle()) as conversation:
        assert conversation.hear_all() == [messages.Crashed("ZeroDivisionError")]
    assert MARKER not in conversation.raw.decode()


def test_nothing_a_worker_says_holds_a_value(run: Path, vault: FakeVault) -> None:
    strict = {"type": "integer", "min": 1, "pattern": "x+", "choices": ["a"], "min_length": 99}
    for number, payload in enumerate(
        [{"TOKEN": MARKER}, {"TOKEN": {"x": MARKER}}, [MARKER], MARKER, MARKER.encode(), f"{MARKER}\ud800"]
    ):
        vault.put(f"s{number}", payload)
    bundles = {}
    for secret_id in vault.secrets:
        for rule_number, rule in enumerate([{}, strict, {"default": "d", "choices": ["d"]}]):
            secrets = [{"source": "aws", "id": secret_id}]
            bundles[f"{secret_id}-{rule_number}"] = bundle(secrets=secrets, variables={"TOKEN": rule})
    with working(run, **bundles) as conversation:
        heard = conversation.hear_all()
    assert kinds(heard).count("published") == 1
    assert len(heard) == len(bundles) + 1
    assert MARKER not in conversation.raw.decode()
    assert MARKER in b"".join(path.read_bytes() for path in run.rglob("env")).decode()


def test_a_fetch_failure_says_nothing_more_than_the_source_did(run: Path, vault: FakeVault) -> None:
    vault.secrets["prod/bot"] = failure(FailureClass.IDENTITY)
    with working(run, bot=bundle()) as conversation:
        (heard,) = conversation.hear_all()
    assert heard == messages.Failed(messages.Rejected("bot", (failure(FailureClass.IDENTITY),)))
