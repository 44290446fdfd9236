"""The alert commands that the package ships, against a webhook and a mail server."""

from __future__ import annotations

import asyncio
import email
import json
import re
import shutil
from email.policy import default
from pathlib import Path

import pytest

from secretsd.observe import alert_program, events
from secretsd.observe.telling import Condition, Event, Trouble
from tests.observe.sinks import mail_server, webhook

EXAMPLES = Path(__file__).resolve().parents[2] / "packaging" / "examples"
REFUSED = Condition(
    Trouble("bot", "refresh"),
    "refused",
    'AWS denies reading <prod/bot> & says "no"; the last good generation stays',
    "allow secretsmanager:GetSecretValue \u2013 once",
    code="access-denied",
    since=1_000.0,
)

needs_curl = pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")


def told(*command: object, condition: Condition = REFUSED, suppressed: int = 0) -> str:
    event = Event(condition.trouble, condition.event, (), condition, None, suppressed)
    document = events.document(event, {}, host="host-1", now=2_000.0)
    return asyncio.run(alert_program.run(tuple(map(str, command)), events.encoded(document)))


def config(tmp_path: Path, url: str) -> Path:
    path = tmp_path / f"{url.partition(':')[0]}.curl"
    path.write_text(f'url = "{url}"\n')
    path.chmod(0o600)
    return path


@needs_curl
def test_slack_hears_what_is_wrong_and_how_to_mend_it(tmp_path: Path) -> None:
    with webhook() as slack:
        assert told(EXAMPLES / "secretsd-slack", config(tmp_path, slack.url), suppressed=2) == ""
    (body,) = slack.heard
    assert json.loads(body) == {
        "text": "*refused* bot/refresh on host-1\n"
        'AWS denies reading &lt;prod/bot&gt; &amp; says "no"; the last good generation stays\n'
        "fix: allow secretsmanager:GetSecretValue \u2013 once\n"
        "(2 more came and went since the last message)"
    }
    assert slack.paths == ["/services/fake-webhook-path"]


@needs_curl
def test_a_webhook_that_refuses_or_is_away_is_a_command_that_fails(tmp_path: Path) -> None:
    with webhook() as slack:
        slack.status = 403
        path = config(tmp_path, slack.url)
        assert told(EXAMPLES / "secretsd-slack", path) == "ended with 22"
    assert told(EXAMPLES / "secretsd-slack", path) == "ended with 7"


@needs_curl
def test_a_test_event_is_understood_too(tmp_path: Path) -> None:
    text = events.encoded(events.test_document(None, host="host-1", now=2_000.0))
    with webhook() as slack, mail_server() as desk:
        for command in (
            (EXAMPLES / "secretsd-slack", config(tmp_path, slack.url)),
            (EXAMPLES / "secretsd-mail", config(tmp_path, desk.url), "a@example.com", "b@example.com"),
        ):
            assert asyncio.run(alert_program.run(tuple(map(str, command)), text)) == ""
    assert "test" in json.loads(slack.heard[0])["text"]
    assert b"Subject: test: secretsd on host-1" in desk.heard[0]


@needs_curl
def test_a_mail_has_the_sentence_the_fix_and_the_whole_event(tmp_path: Path) -> None:
    with mail_server() as desk:
        path = config(tmp_path, desk.url)
        assert told(EXAMPLES / "secretsd-mail", path, "secretsd@example.com", "desk@example.com") == ""
    assert [line.split(" ")[1] for line in desk.paths] == [
        "FROM:<secretsd@example.com>",
        "TO:<desk@example.com>",
    ]
    (mail,) = desk.heard
    message = email.message_from_bytes(mail, policy=default)
    assert message["Subject"] == "refused: bot/refresh on host-1"
    body = message.get_content()
    assert REFUSED.message in body
    assert f"fix: {REFUSED.advice}" in body
    assert json.loads(body[body.index("{") :])["code"] == "access-denied"


@needs_curl
def test_nothing_in_an_event_can_write_a_header_of_the_mail(tmp_path: Path) -> None:
    planted = Condition(
        Trouble("bot\r\nBcc: thief@example.com", "refresh"), "refused", "x\r\n.\r\nQUIT", "", since=1.0
    )
    with mail_server() as desk:
        told(EXAMPLES / "secretsd-mail", config(tmp_path, desk.url), "a@example.com", "b@example.com",
             condition=planted)  # fmt: skip
    for mail in desk.heard:
        assert "Bcc" not in email.message_from_bytes(mail, policy=default)
    assert not any("thief" in line for line in desk.paths)


@pytest.mark.parametrize("name", ["secretsd-slack", "secretsd-mail"])
def test_the_webhook_and_the_password_never_stand_in_an_argument(name: str) -> None:
    text = (EXAMPLES / name).read_text(encoding="utf-8")
    (call,) = re.findall(r"exec curl.*", text)
    assert "--config" in call
    assert "-q" in call.split(), "no file of somebody's home directory is read"
