"""A marker stands for a secret: it must show in no log, error, repr, pickle or traceback."""

from __future__ import annotations

import io
import logging
import os
import pickle
import subprocess
import sys
import traceback
from typing import Any

import pytest

from secretsd.model import CloudIdentity, FetchedSecret
from secretsd.refresh.sources.aws import session as aws_session
from secretsd.refresh.sources.aws.calls import Calls
from secretsd.refresh.sources.faults import CallFailedError
from tests.canary.spellings import MARKER
from tests.refresh.sources.conftest import Open, refs, soon
from tests.refresh.sources.scripted_aws import Answer, ScriptedAws, entry, error, ok, parameter

SECRETIVE = CloudIdentity("k", f"{MARKER}-key", f"{MARKER}-token", 4e9, "iam-role")

LYING = [
    ok(entry("a", MARKER)),
    ok(entry("a", SecretString={"k": MARKER})),
    ok(entry("a", SecretString=MARKER + "\ud800")),
    ok(entry("a", SecretString=MARKER * 9000)),
    ok(entry("a", SecretString=None, SecretBinary=MARKER + "!")),
    ok(entry("a", MARKER, CreatedDate=MARKER)),
    Answer(200, MARKER.encode() + b"\xff"),
    Answer(200, MARKER.encode()),
    error("AccessDeniedException", MARKER),
    error("InvalidSignatureException", f"Signature expired: {MARKER}"),
    error(MARKER + "!", MARKER),
    error(MARKER, MARKER, status=500),
    Answer(400, b"[" + MARKER.encode() + b"]"),
    Answer(400, MARKER.encode() * 1000),
    Answer(200, MARKER.encode(), reset=True),
]


@pytest.fixture
def log() -> Any:
    """Everything that logging would write if the environment turned all of it on."""
    written = io.StringIO()
    handler = logging.StreamHandler(written)
    root = logging.getLogger()
    before = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    for name in ("botocore.parsers", "botocore.endpoint", "urllib3.connectionpool"):
        logging.getLogger(name).setLevel(logging.DEBUG)
        logging.getLogger(name).addHandler(handler)
    yield written
    root.removeHandler(handler)
    root.setLevel(before)


@pytest.mark.parametrize("answer", LYING, ids=[str(number) for number in range(len(LYING))])
@pytest.mark.parametrize("in_batch", [False, True])
def test_no_result_and_no_log_holds_a_value(
    aws: ScriptedAws,
    open_source: Open,
    log: io.StringIO,
    capfd: pytest.CaptureFixture[str],
    answer: Answer,
    in_batch: bool,
) -> None:
    logging.getLogger("tests.control").debug("control-record")
    if in_batch and answer.status == 200 and answer.body.startswith(b"{"):
        answer = Answer(200, b'{"SecretValues":[' + answer.body + b"]}")
    aws.answer_in_turn(answer)
    source = open_source(identity=SECRETIVE)
    found = list(source.fetch(refs("a", "b") if in_batch else refs("a"), deadline=soon()))
    shown = repr(found) + "".join(map(str, found)) + repr(source) + repr(vars(source)) + log.getvalue()
    outcomes = [outcome for outcome in found if not isinstance(outcome, FetchedSecret)]
    shown += repr(pickle.dumps(outcomes)) + "".join(capfd.readouterr())
    known = (
        MARKER if answer.status == 200 or not answer.body.startswith(b'{"__type": "fake') else f"{MARKER}-"
    )
    assert known not in shown
    assert "control-record" in log.getvalue()


LYING_STORE = [
    ok({"Parameters": [parameter("a", MARKER)]}),
    ok({"Parameters": [parameter("a", Value={"k": MARKER})]}),
    ok({"Parameters": [parameter("a", MARKER + "\ud800")]}),
    ok({"Parameters": [parameter("a", MARKER * 9000)]}),
    ok({"Parameters": [parameter("a", MARKER, LastModifiedDate=MARKER)]}),
    ok({"Parameters": [parameter("a", MARKER, Selector=MARKER, Type=MARKER, Version=MARKER)]}),
    ok({"Parameters": [], "InvalidParameters": [MARKER]}),
    ok({"Parameters": MARKER, "InvalidParameters": {MARKER: MARKER}}),
    error("InvalidKeyId", MARKER),
    Answer(200, MARKER.encode()),
]


@pytest.mark.parametrize("answer", LYING_STORE, ids=[str(number) for number in range(len(LYING_STORE))])
@pytest.mark.parametrize("in_batch", [False, True])
def test_no_result_and_no_log_of_the_parameter_store_holds_a_value(
    aws: ScriptedAws, open_store: Open, log: io.StringIO, answer: Answer, in_batch: bool
) -> None:
    logging.getLogger("tests.control").debug("control-record")
    aws.answer_in_turn(answer)
    source = open_store(identity=SECRETIVE)
    found = list(source.fetch(refs("a", "b") if in_batch else refs("a"), deadline=soon()))
    shown = repr(found) + "".join(map(str, found)) + repr(source) + repr(vars(source)) + log.getvalue()
    shown += repr(pickle.dumps([outcome for outcome in found if not isinstance(outcome, FetchedSecret)]))
    assert MARKER not in shown
    assert "control-record" in log.getvalue()


def test_an_error_code_is_named_only_if_it_looks_like_one(aws: ScriptedAws, open_source: Open) -> None:
    aws.answer_in_turn(error("Some!Thing else", "x"))
    (found,) = open_source().fetch(refs("a"), deadline=soon())
    assert "Some!Thing" not in repr(found)


def test_the_internal_error_has_no_context_and_no_value_in_its_traceback(
    aws: ScriptedAws, open_source: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    caught: list[CallFailedError] = []
    call = Calls.call

    def noted(self: Calls, *args: Any, **named: Any) -> Any:
        try:
            return call(self, *args, **named)
        except CallFailedError as failed:
            caught.append(failed)
            raise

    monkeypatch.setattr(Calls, "call", noted)
    for answer in LYING:
        aws.answer_in_turn(answer)
        list(open_source().fetch(refs("a"), deadline=soon()))
    assert len(caught) > 5
    for failed in caught:
        assert failed.__cause__ is None
        assert failed.__context__ is None
        assert MARKER not in "".join(traceback.format_exception(failed))


CHILD = """
import logging, os, socket, sys, threading
socket.socket.connect = lambda *args: sys.exit("preload opened a connection")
opened = []
sys.addaudithook(lambda event, args: opened.append(args[0]) if event == "open" else None)
from secretsd.config.sources import AwsSecretsManager
from secretsd.refresh.messages import SourceJob
from secretsd.refresh.sources import registry
registry.preload(["aws-secretsmanager", "aws-ssm"])
assert os.environ["AWS_SHARED_CREDENTIALS_FILE"] not in opened, "preload read credentials"
assert os.environ["AWS_CONFIG_FILE"] not in opened, "preload read configuration"
assert any(str(name).endswith(("service-2.json.gz", "service-2.json")) for name in opened), "hook is blind"
assert threading.active_count() == 1, threading.enumerate()
for name in ("botocore", "boto3", "urllib3"):
    logger = logging.getLogger(name)
    assert logger.disabled and not logger.propagate and logger.level > logging.CRITICAL
"""


def test_preload_reads_no_credential_opens_no_connection_and_starts_no_thread(tmp_path: Any) -> None:
    (tmp_path / "credentials").write_text(
        "[default]\naws_access_key_id = fake\naws_secret_access_key = fake\n"
    )
    (tmp_path / "config").write_text("[default]\nregion = eu-west-1\n")
    environment = {
        **os.environ,
        "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "credentials"),
        "AWS_CONFIG_FILE": str(tmp_path / "config"),
        "AWS_PROFILE": "nowhere",
    }
    ran = subprocess.run(
        [sys.executable, "-c", CHILD], env=environment, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr


def test_the_conductors_side_imports_no_sdk() -> None:
    code = (
        "import sys; import secretsd.refresh.source_book.identity, secretsd.refresh.sources,"
        " secretsd.refresh.sources.interface;"
        " sys.exit(any(name.split('.')[0] in ('boto3', 'botocore', 'urllib3', 'tenacity')"
        " for name in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
    planted = "import sys, botocore; sys.exit('botocore' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", planted], check=False).returncode == 1


@pytest.mark.plants
def test_the_log_capture_would_find_what_botocore_writes(
    aws: ScriptedAws, open_source: Open, log: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("botocore", "botocore.parsers"):
        logging.getLogger(name).disabled = False
        logging.getLogger(name).setLevel(logging.DEBUG)
        logging.getLogger(name).propagate = True
    aws.answer_in_turn(ok(entry("a", MARKER)))
    with monkeypatch.context() as patch:
        patch.setattr(aws_session, "silence_sdk_loggers", lambda: None)
        list(open_source(identity=SECRETIVE).fetch(refs("a"), deadline=soon()))
    aws_session.silence_sdk_loggers()
    assert MARKER in log.getvalue()


SMALL = """
import resource, sys, time
from secretsd.model import CloudIdentity, SecretRef
from secretsd.config.sources import AwsSecretsManager
from secretsd.refresh.messages import SourceJob
from secretsd.refresh.sources import registry
registry.preload(["aws-secretsmanager", "aws-ssm"])
pages = int(open("/proc/self/statm").read().split()[0])
limit = pages * resource.getpagesize() + (48 << 20)
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
table = AwsSecretsManager(type="aws-secretsmanager", region="us-east-1", endpoint_url=sys.argv[1])
identity = CloudIdentity("k", "s", None, 4e9, "iam-role")
source = registry.open_source("aws", SourceJob(table, identity=identity))
found = list(source.fetch([SecretRef("aws", "a")], deadline=time.monotonic() + 8.0))
print([(outcome.failure.code, outcome.failure.failure_class.value) for outcome in found], dict(source.calls))
"""


def test_an_answer_larger_than_memory_is_a_failure_and_is_not_asked_for_again(aws: ScriptedAws) -> None:
    aws.answer_in_turn(Answer(200, b'{"SecretString":"' + b"x" * (64 << 20) + b'"}'))
    ran = subprocess.run(
        [sys.executable, "-c", SMALL, aws.url], capture_output=True, text=True, check=False, timeout=30
    )
    assert ran.stdout == "[('incomplete-answer', 'transient')] {'GetSecretValue': 1}\n", ran.stderr
