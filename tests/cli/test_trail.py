"""`secretsctl log`: what it shows is what happened, and what was done to the files it finds."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from secretsd.audit import chain, record
from secretsd.cli import main, trail, usage
from tests.audit.trails import OPERATOR, Writer, at, fetched, notified, published, signatures
from tests.control.asking import NOBODY, needs_root

_ROOT = Path(__file__).resolve().parents[2]


class Trails:
    """Both daemons' directories, and what `secretsctl` prints of them."""

    def __init__(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.own, self.signers = tmp_path / "own", tmp_path / "signer"
        self.refresher = Writer(self.own, "refresher", per_file=3)
        self.signer = Writer(self.signers, "signer", per_file=4)
        self.refresher.add(0, fetched("prod/bot"), published("bot", 1, "prod/bot"))
        self.signer.add(1, *signatures("orders", range(1, 4)))
        self.refresher.add(2, notified("bot", 1, "trading-bot.service"))
        order = record.order("hold", OPERATOR, 1, {"bundle": "bot"})
        refused = record.event("reload", OPERATOR, request=2, result="refused", reason="not-allowed")
        self.refresher.add(3, order, record.event("hold", OPERATOR, request=1, details={"bundle": "bot"}))
        again = {"source": "aws", "count": 2, "secrets": ["prod/bot", "prod/other"]}
        self.refresher.add(4, record.event("refetch", details=again), refused)
        self._capsys = capsys

    def run(self, *words: object) -> tuple[int, str]:
        self._capsys.readouterr()
        try:
            code = main.run(list(map(str, words)))
        except SystemExit as wrong:  # of the parser
            code = int(wrong.code or 0)
        written = self._capsys.readouterr()
        return code, written.out + written.err

    def records(self, *words: object) -> list[dict[str, Any]]:
        code, text = self.run("log", "--json", *words)
        assert code == 0, text
        return [json.loads(line) for line in text.splitlines()]

    def actions(self, *words: object) -> list[str]:
        return [each["action"] for each in self.records(*words)]

    def verified(self, *words: object) -> tuple[int, list[dict[str, Any]]]:
        code, text = self.run("log", "--json", "--verify", *words)
        return code, json.loads(text)["chains"]


@pytest.fixture
def trails(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Trails:
    found = Trails(tmp_path, capsys)
    monkeypatch.setattr(trail, "DIRECTORIES", (found.own, found.signers))
    return found


# --- what is shown -------------------------------------------------------------------------------------


def test_both_chains_are_one_story_over_all_their_files(trails: Trails) -> None:
    assert len(list(trails.own.iterdir())) == 3
    told = trails.records()
    assert [each["time"] for each in told] == sorted(each["time"] for each in told)
    assert len(told) == 7 + 6
    for daemon, count in (("refresher", 7), ("signer", 6)):
        assert [each["seq"] for each in told if each["daemon"] == daemon] == list(range(1, count + 1))


@pytest.mark.parametrize(
    ("words", "actions"),
    [
        (["bot"], ["fetch", "publish", "notify", "hold", "hold", "refetch"]),
        (["bot", "--since", "2026-03-01T12:03:30"], ["refetch"]),
        (["bot", "--action", "hold", "--action", "publish"], ["publish", "hold", "hold"]),
        (["bot", "--action", "hold", "--result", "ok"], ["hold"]),
        (["no-such-bundle"], []),
        (["--key", "orders", "--key", "other", "--action", "verify"], []),
        (
            ["--actor", "root", "--actor", "daemon", "--action", "notify", "--action", "reload"],
            ["notify", "reload"],
        ),
        (["--secret", "prod/bot", "--secret", "prod/other", "--action", "refetch"], ["refetch"]),
        (["--result", "refused", "--result", "failed"], ["reload"]),
        (["--secret", "prod/bot"], ["fetch", "publish", "refetch"]),
        (["--secret", "prod/other"], ["refetch"]),
        (["--key", "orders", "--result", "ok"], ["sign"] * 3),
        (["--actor", "trading-bot.service"], ["sign"] * 6),
        (["--actor", "1001"], ["sign"] * 6),
        (["--actor", "root"], ["hold", "hold", "reload"]),
        (["--actor", "daemon", "--action", "notify"], ["notify"]),
        (["--result", "refused"], ["reload"]),
        (["--since", "2026-03-01T12:03", "--until", "2026-03-01T12:04"], ["hold", "hold"]),
        (["--since", "2026-03-01T13:03+01:00", "--action", "refetch"], ["refetch"]),
        (["--since", "2026-03-02"], []),
        (["--since", "1h"], []),
    ],
)
def test_a_filter_lets_through_what_it_names_and_nothing_else(
    trails: Trails, words: list[str], actions: list[str]
) -> None:
    assert trails.actions(*words) == actions


def test_a_line_says_when_what_who_and_how_it_went(trails: Trails) -> None:
    _, text = trails.run("log")
    lines = text.splitlines()
    assert (
        "sign        key=orders  mechanism=sha2-256  version=1  by trading-bot.service uid 1001 pid 4242  ok"
        in (text)
    )
    assert lines[0].startswith("2026-03-01 12:00:00.000  fetch       source=aws  secret=prod/bot")
    assert any(line.endswith("by uid 0 pid 77  ...") for line in lines)
    assert any(line.endswith("refused (not-allowed)") for line in lines)
    assert "hash" not in text


def test_a_name_with_an_escape_sequence_does_not_reach_the_terminal(trails: Trails) -> None:
    trails.refresher.add(9, fetched("evil\x1b[2Jname"))
    _, text = trails.run("log")
    assert "evil\\x1b[2Jname" in text
    assert "\x1b" not in text


def test_a_clock_that_was_set_back_does_not_reorder_a_chain(trails: Trails) -> None:
    trails.refresher.add(60, fetched("late"))
    trails.refresher.add(5, fetched("early"))
    told = [each["secret"] for each in trails.records("--action", "fetch")]
    assert told == ["prod/bot", "late", "early"]


def test_a_torn_line_and_a_record_in_two_files_are_shown_once(trails: Trails) -> None:
    lines = trails.signer.path.read_bytes().splitlines(keepends=True)
    trails.signer.path.write_bytes(b"".join([*lines, lines[-1], b'{"seq":99,"ti']))
    assert trails.actions("--key", "orders") == ["sign"] * 6


@needs_root
def test_who_may_not_read_is_told_who_may(trails: Trails, tmp_path: Path) -> None:
    for directory in (trails.own, trails.signers):
        directory.chmod(0o750)
    program = f"""
import os, sys
from pathlib import Path
from secretsd.cli import main, trail
from secretsd.audit import archive, query, reading
trail.DIRECTORIES = (Path({str(trails.own)!r}),)
main.make_parser().format_help()  # and what it needs for that: others may not read the interpreter's files
os.setgroups([]); os.setgid({NOBODY}); os.setuid({NOBODY})
sys.exit(main.run(["log"]))
"""
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=_ROOT, check=False, capture_output=True, text=True
    )
    assert done.returncode == 77
    assert "members of the group secretsd-audit may" in done.stderr


def test_a_reader_that_has_seen_enough_is_no_error(trails: Trails) -> None:
    for number in range(3000):  # more than a pipe holds
        trails.refresher.add(10, fetched(f"secret-{number}"))
    program = f"""
import sys
from pathlib import Path
from secretsd.cli import __main__, trail
trail.DIRECTORIES = (Path({str(trails.own)!r}),)
sys.argv = ["secretsctl", "log"]
__main__.main()
"""
    with subprocess.Popen(
        [sys.executable, "-c", program], cwd=_ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as reading:
        assert reading.stdout is not None
        assert reading.stderr is not None
        reading.stdout.readline()
        reading.stdout.close()
        assert reading.stderr.read() == b""


def test_a_host_without_a_trail_says_so(
    trails: Trails, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(trail, "DIRECTORIES", (tmp_path / "nothing",))
    code, text = trails.run("log")
    assert code == 74
    assert "no audit trail in" in text


def test_the_places_of_a_daemon_in_the_foreground_are_taken_from_its_configuration(
    trails: Trails, tmp_path: Path
) -> None:
    config = tmp_path / "secretsd.toml"
    state = tmp_path / "state"
    state.mkdir()
    trails.own.rename(state / "audit")
    config.write_text(f'[daemon]\nstate_dir = "{state}"\n')
    assert "publish" in trails.actions("--config", config)
    # Before the command's name it means the same: it must not be the installed daemon's trail that is shown.
    shutil.rmtree(trails.signers)
    code, text = trails.run("--config", config, "log")
    assert code == 0, text
    assert "publish" in text


def test_follow_shows_what_comes_over_a_rotation(trails: Trails) -> None:
    program = f"""
import sys
from pathlib import Path
from secretsd.cli import main, trail
trail.DIRECTORIES = (Path({str(trails.own)!r}), Path({str(trails.signers)!r}))
sys.exit(main.run(["log", "--follow", "--since", "2026-03-01T12:30", "--json"]))
"""
    following = subprocess.Popen([sys.executable, "-u", "-c", program], cwd=_ROOT, stdout=subprocess.PIPE)
    try:
        assert following.stdout is not None
        told = []
        for number in range(8):
            trails.refresher.add(40 + number, fetched(f"secret-{number}"))
            told.append(json.loads(following.stdout.readline())["secret"])
            time.sleep(0.05)
        assert told == [f"secret-{number}" for number in range(8)]
    finally:
        following.terminate()
        following.wait()
        following.stdout.close() if following.stdout else None


# --- whether it is whole -------------------------------------------------------------------------------


def test_a_whole_trail_verifies_and_prints_its_anchors(trails: Trails) -> None:
    code, chains = trails.verified()
    assert code == 0
    found = [(each["daemon"], each["first"], each["last"], len(each["files"])) for each in chains]
    assert found == [("refresher", 1, 7, 3), ("signer", 1, 6, 2)]
    assert chains[0]["anchor"] == f"refresher:7:{trails.refresher.head.hash.decode()}"
    code, text = trails.run("log", "--verify")
    assert code == 0
    assert "refresher: fits, records 1 to 7 in 3 files" in text
    _, text = trails.run("log", "--verify", trails.own / "refresher-00000000000000000001.jsonl")
    assert "in 1 file of" in text


def test_an_edited_byte_is_found_with_its_file_line_and_record(trails: Trails) -> None:
    path = trails.own / "refresher-00000000000000000004.jsonl"
    path.write_bytes(path.read_bytes().replace(b'"uid":0', b'"uid":9', 1))
    code, (own, other) = trails.verified()
    assert code == 65
    assert other["flaw"] is None
    flaw = own["flaw"]
    assert (flaw["file"], flaw["line"], flaw["record"]) == (str(path), 2, 4)
    assert "its hash does not fit" in flaw["why"]
    code, text = trails.run("log", "--verify", trails.own)
    assert code == 65
    assert f"record 4, {path} line 2" in text


def test_a_dropped_record_is_found(trails: Trails) -> None:
    path = trails.signer.path
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([lines[0], *lines[2:]]))
    code, (found,) = trails.verified(trails.signers)
    assert (code, found["flaw"]["record"]) == (65, 5)
    assert "missing" in found["flaw"]["why"]


def test_a_cut_end_is_found_by_an_anchor_alone(trails: Trails) -> None:
    anchor = f"signer:6:{trails.signer.head.hash.decode()}"
    assert trails.verified("--anchor", anchor)[0] == 0
    lines = trails.signer.path.read_bytes().splitlines(keepends=True)
    trails.signer.path.write_bytes(b"".join(lines[:-1]))
    assert trails.verified()[0] == 0, "known: a chain alone does not show it"
    code, (_, found) = trails.verified("--anchor", anchor)
    assert (code, found["flaw"]["record"]) == (65, 6)
    assert "the end was cut off" in found["flaw"]["why"]


def test_a_chain_that_was_computed_anew_is_found_by_an_anchor_alone(trails: Trails, tmp_path: Path) -> None:
    files = sorted(trails.own.iterdir())
    heads = [
        chain.head_of(line) for path in files for line in path.read_bytes().splitlines(keepends=True)[1:]
    ]
    anchors = [f"refresher:{head.seq}:{head.hash.decode()}" for head in heads if head is not None]
    forged = Writer(tmp_path / "forged", "refresher", per_file=3)
    for number in range(7):
        forged.add(number, fetched("prod/forged"))
    assert trails.verified(tmp_path / "forged")[0] == 0
    for anchor in anchors:
        code, (found,) = trails.verified(tmp_path / "forged", "--anchor", anchor)
        assert code == 65
        assert "computed anew" in found["flaw"]["why"]
        assert trails.verified(trails.own, "--anchor", anchor)[0] == 0


def test_old_files_that_were_taken_away_are_said_and_no_flaw(trails: Trails) -> None:
    (trails.own / "refresher-00000000000000000001.jsonl").unlink()
    code, (own, _) = trails.verified()
    assert (code, own["first"], own["flaw"]) == (0, 4, None)
    _, text = trails.run("log", "--verify")
    assert "it begins behind record 3" in text
    code, (own, _) = trails.verified("--anchor", f"refresher:1:{'0' * 64}")
    assert (code, own["flaw"]["record"]) == (65, 1)


def test_a_file_that_lacks_in_the_middle_is_named(trails: Trails) -> None:
    (trails.own / "refresher-00000000000000000004.jsonl").unlink()
    code, (own, _) = trails.verified()
    assert (code, own["flaw"]["record"]) == (65, 4)
    assert "does not go on where the one before ended" in own["flaw"]["why"]


def test_a_copy_of_several_hosts_is_several_chains(trails: Trails, tmp_path: Path) -> None:
    for host in ("a", "b"):
        Writer(tmp_path / "copy" / host, "signer").add(0, *signatures("orders", [1]))
    code, chains = trails.verified(tmp_path / "copy")
    assert (code, len(chains)) == (0, 2)
    code, text = trails.run("log", "--verify", tmp_path / "copy", "--anchor", f"1:{'0' * 64}")
    assert code == 64
    assert "DAEMON:SEQ:HASH" in text


def test_a_file_without_its_opening_and_no_file_at_all_are_told(trails: Trails, tmp_path: Path) -> None:
    path = trails.signer.path
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[1:]))
    code, (found,) = trails.verified(trails.signers)
    assert (code, found["flaw"]["file"]) == (65, str(path))
    (tmp_path / "empty").mkdir()
    assert trails.run("log", "--verify", tmp_path / "empty")[0] == 64
    assert trails.run("log", "--verify", tmp_path / "nothing")[0] == 74


def test_verifying_while_the_daemon_begins_new_files_finds_nothing_wrong(
    tmp_path: Path, trails: Trails
) -> None:
    """Neither a file that is missed nor a line that is being written is a flaw."""
    writing = subprocess.Popen(
        [sys.executable, "-c", _WRITE, str(tmp_path / "busy")], cwd=_ROOT, stdout=subprocess.PIPE
    )
    try:
        assert writing.stdout is not None
        writing.stdout.readline()
        heads = []
        for _ in range(20):
            code, (found,) = trails.verified(tmp_path / "busy")
            assert code == 0, found
            heads.append(found["last"])
        assert heads == sorted(heads)
        assert len(list((tmp_path / "busy").iterdir())) > 5, "it was writing meanwhile"
    finally:
        writing.kill()
        writing.wait()
        writing.stdout.close() if writing.stdout else None


_WRITE = """
import asyncio, pathlib, sys
from tests.audit.test_log import append, committed
from secretsd.audit.log import AuditLog

async def main():
    audit = AuditLog(pathlib.Path(sys.argv[1]), group=None, max_file_bytes=2000)
    audit.open()
    print("open", flush=True)
    while True:
        append(audit, 5)
        await committed(audit)

asyncio.run(main())
"""


def test_times_are_those_of_the_records() -> None:
    assert at(61) == "2026-03-01T13:01:00.000000Z"
    assert trail.moment("2026-03-01T13:01") == at(61)


# --- who uses what -------------------------------------------------------------------------------------


def test_usage_says_who_has_used_which_key_and_secret(trails: Trails, tmp_path: Path) -> None:
    code, text = trails.run("usage", "--config", configured(trails, tmp_path))
    assert code == 0
    lines = [" ".join(line.split()) for line in text.splitlines()]
    assert any(line.startswith("orders trading-bot.service 3 ") for line in lines)
    at = [line.startswith("prod/bot (aws) 2 read ") and line.endswith(", for bot") for line in lines].index(
        True
    )
    assert lines[at + 1].startswith("trading-bot.service 1 ")
    assert lines[at + 1].endswith(", has it")
    at = lines.index("prod/never (aws) 0 never read")
    assert lines[at + 1] == "nobody 0 never"
    assert "secrets: from records since 2026-03-01 12:00:00" in text
    assert "keys: from records since 2026-03-01 12:01:00" in text


def test_a_record_that_is_none_of_ours_does_not_end_the_answer(trails: Trails, tmp_path: Path) -> None:
    trails.refresher.add(5, record.event("fetch"), record.event("publish", details={"secrets": [7]}))
    trails.refresher.add(6, record.event("refetch", details={"source": "aws", "secrets": 5}))
    code, text = trails.run("usage", "--config", configured(trails, tmp_path))
    assert code == 0, text
    assert "prod/bot" in text


def test_what_was_unused_for_days_is_listed_alone(trails: Trails, tmp_path: Path) -> None:
    config = configured(trails, tmp_path)
    code, text = trails.run("usage", "--unused", 1, "--json", "--config", config)
    document = json.loads(text)
    assert code == 0
    assert "prod/never" in {each["secret"] for each in document["secrets"]}
    assert document["configured"] is True


def test_usage_without_a_configuration_says_what_it_cannot_know(
    trails: Trails, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(usage, "INSTALLED_CONFIG", tmp_path / "nothing.toml")
    code, text = trails.run("usage")
    assert code == 0
    assert "what nobody has ever used is not listed" in text


def configured(trails: Trails, tmp_path: Path) -> Path:
    """A configuration that names both daemons' directories, and a secret that nobody has ever asked for."""
    for name, directory in (("state", trails.own), ("signer-state", trails.signers)):
        (tmp_path / name).mkdir()
        directory.rename(tmp_path / name / "audit")
    config = tmp_path / "secretsd.toml"
    config.write_text(f"""
[daemon]
runtime_dir = "{tmp_path}/run"
state_dir = "{tmp_path}/state"
[sources.aws]
type = "aws-secretsmanager"
region = "us-east-1"
[[bundles.bot.secrets]]
source = "aws"
id = "prod/never"
variable = "TOKEN"
[signer]
module = "/usr/lib/fake.so"
token = "fake"
pin = "credential:fake"
state_dir = "{tmp_path}/signer-state"
""")
    return config
