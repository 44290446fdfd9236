"""One real daemon in the foreground, all that an operator and a source can do to it, and its trail."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path
from typing import Any

from tests.lab.aws import FAKE_CREDENTIALS, FakeAws
from tests.lab.foreground import ForegroundDaemon
from tests.lab.push import FakePush

_SOON_S = 20.0
_CONFIGURATION = """
[sources.aws]
type = "aws-secretsmanager"
region = "us-east-1"
{push}
[bundles.bot]
sealed_copy = {{ max_age = "7d" }}
[[bundles.bot.secrets]]
source = "aws"
id = "prod/bot"
[bundles.bot.variables]
TOKEN = {{ min_length = 3 }}
[[bundles.bot.on_change]]
unit = "bot.service"
action = "reload"
"""
_OTHER = """
[[bundles.other.secrets]]
source = "aws"
id = "prod/other"
[bundles.other.variables]
TOKEN = {}
"""
# Everything of the refresher that does not need a disk or a host that fails.
_WANTED = {
    *("open", "start", "configure", "fetch", "refetch", "publish", "seal", "notify", "drift", "refresh"),
    *("push", "hint", "discard", "reload", "hold", "resume", "rollback", "release", "plan", "diff", "doctor"),
    *("ack", "remove", "stop", "unusual"),
}


class Run:
    """The daemon, its fake AWS and queue."""

    def __init__(self, folder: Path, aws: FakeAws) -> None:
        aws.create("prod/bot", {"TOKEN": "not-a-real-token-1"})
        self.aws, self.push = aws, FakePush(aws)
        endpoint = f'endpoint_url = "{aws.url}"'
        table = f'[sources.aws.push]\nqueue_url = "{self.push.queue_url}"\n{endpoint}'
        seal_key = folder / "seal.key"
        seal_key.touch(0o600)
        seal_key.write_bytes(bytes(range(32)))
        helper = f'notify_socket = "{folder / "no-helper"}"'
        self.configuration = f'{helper}\nseal_key = "file:{seal_key}"\n{_CONFIGURATION.format(push=table)}'
        environment = {**FAKE_CREDENTIALS, "AWS_ENDPOINT_URL": aws.url}
        self.daemon = ForegroundDaemon(folder, self.configuration, environment)
        self._audit = folder / "state" / "audit"

    def records(self, *words: str) -> list[dict[str, Any]]:
        said = self.daemon.secretsctl("log", "--from", str(self._audit), "--json", *words)
        assert said.code == 0, said.text
        return [json.loads(line) for line in said.text.splitlines()]

    def until(self, action: str, count: int = 1) -> None:
        until = time.monotonic() + _SOON_S
        while len(self.records("--action", action)) < count:
            assert time.monotonic() < until, f"no {action}:\n{self.daemon.log.read_text()}"
            time.sleep(0.1)

    def live(self) -> None:
        """A day in the life of it."""
        do, push = self.daemon.secretsctl, self.push
        with self.daemon:
            for action in ("seal", "notify", "push"):
                self.until(action)
            push.put("prod/bot", {"TOKEN": "not-a-real-token-2"})
            self.until("publish", 2)
            push.send("no event")
            self.until("discard")
            (self.daemon.run_dir / "bot" / "env").write_text("TOKEN=evil\n")
            self.until("drift")
            for words in (
                ["ack", "bot", "3"],
                ["hold", "bot"],
                ["resume", "bot"],
                ["plan"],
                ["diff", "bot"],
                ["doctor"],
            ):
                do(*words)
            do("rollback", "bot", "--to", "1")
            push.put("prod/bot", {"TOKEN": "not-a-real-token-3"})
            self.until("release")
            self.aws.put("prod/bot", {"WRONG": "not-a-real-token-4"})
            self.daemon.configure(self.configuration + _OTHER)
            do("reload")
            self.until("refresh")
            self.aws.put("prod/bot", {"TOKEN": "not-a-real-token-5"})
            self.aws.create("prod/other", {"TOKEN": "not-a-real-token-6"})
            do("reload")
            os.kill(self.daemon.pid, signal.SIGHUP)
            self.until("refetch")
            self.daemon.configure(self.configuration)
            do("reload")
            self.until("remove")


def test_all_that_happens_to_a_daemon_is_on_record_with_who_and_when(tmp_path: Path, aws: FakeAws) -> None:
    run = Run(tmp_path, aws)
    run.live()
    told = run.records()
    for action in sorted({each["action"] for each in told}):
        example = [each for each in told if each["action"] == action][-1]
        print(json.dumps({name: example[name] for name in example if name not in ("hash", "seq", "daemon")}))
    assert {each["action"] for each in told} >= _WANTED
    assert all(each["host"] == os.uname().nodename and each["time"] and each["actor"] for each in told)
    assert [each["result"] for each in told if each["action"] in ("seal", "push", "hint")].count("ok") > 3
    orders = [each for each in told if each["action"] in ("hold", "resume", "rollback", "ack")]
    assert {each["actor"]["uid"] for each in orders} == {os.getuid()}
    assert all(each["actor"]["pid"] and each["actor"]["start"] for each in orders)
    assert "not-a-real-token" not in json.dumps(told)
    assert "prod/bot" in json.dumps(told), "the check finds what is planted"
    assert run.daemon.secretsctl("log", "--verify", str(tmp_path / "state" / "audit")).code == 0
