"""The programs that the package installs, as they run from this checkout."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

_INSTALLED = "/usr/lib/secretsd"


def notify_helper(directory: Path) -> Path:
    """What secretsd-notify.service runs, written into `directory`; its modules are those of this checkout."""
    text = (ROOT / "packaging" / "libexec" / "notify-helper").read_text(encoding="utf-8")
    assert text.count(_INSTALLED) == 1
    program = directory / "notify-helper"
    program.write_text(text.replace(_INSTALLED, str(ROOT)), encoding="utf-8")
    program.chmod(0o755)
    return program
