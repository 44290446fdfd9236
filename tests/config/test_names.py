from __future__ import annotations

import pytest

from secretsd.config.names import is_dangerous, is_valid_name


@pytest.mark.parametrize(
    "name",
    [
        "LD_PRELOAD", "LD_LIBRARY_PATH", "LD_ANYTHING_NEW", "BASH_ENV", "BASH_FUNC_ls%%", "ENV",
        "PATH", "HOME", "PYTHONPATH", "PYTHONSTARTUP", "NODE_OPTIONS", "PERL5OPT", "RUBYOPT",
        "JAVA_TOOL_OPTIONS", "IFS", "UID", "EUID", "PPID", "RANDOM", "SRANDOM", "OPTIND", "HISTCMD",
        "BASHOPTS", "SHELLOPTS", "BASH_VERSINFO", "GROUPS", "FUNCNAME", "DIRSTACK", "SECONDS",
        "EPOCHSECONDS", "LINENO", "BASHPID", "PIPESTATUS", "NOTIFY_SOCKET", "INVOCATION_ID",
        "LISTEN_FDS", "WATCHDOG_USEC", "CREDENTIALS_DIRECTORY", "PROMPT_COMMAND", "GIT_SSH_COMMAND",
        "GCONV_PATH", "GLIBC_TUNABLES", "_",
    ],
)  # fmt: skip
def test_a_name_that_runs_code_or_breaks_the_reader_is_dangerous(name: str) -> None:
    assert is_dangerous(name)


@pytest.mark.parametrize(
    "name",
    [
        "BINANCE_API_KEY", "TRADING_MODE", "AWS_REGION", "AWS_ACCESS_KEY_ID", "DATABASE_URL", "SLACK_WEBHOOK",
        "PYTHON_BOT_KEY", "PATHS", "MY_PATH", "LDAP_PASSWORD", "ENVIRONMENT", "USERNAME", "path", "A", "_A",
    ],
)  # fmt: skip
def test_a_bots_own_names_are_not(name: str) -> None:
    assert is_valid_name(name)
    assert not is_dangerous(name)


@pytest.mark.parametrize(
    "name", ["", "1A", "A-B", "A B", "A=B", "A\n", "\n", "Ä", "A\u0660", "BASH_FUNC_ls%%", "A.B", "A\x00"]
)
def test_what_some_reader_would_drop_is_no_name(name: str) -> None:
    assert not is_valid_name(name)
