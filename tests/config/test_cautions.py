"""What is allowed, and dangerous outside of development, is said."""

from __future__ import annotations

from secretsd.config.cautions import cautions
from secretsd.config.models import Config


def said(key: str, runtime_dir: str) -> tuple[str, ...]:
    return cautions(Config.model_validate({"daemon": {"seal_key": key, "runtime_dir": runtime_dir}}))


def test_a_seal_key_in_clear_on_the_disk_of_the_installed_service_is_told() -> None:
    (text,) = said("file:/etc/seal-key", "/run/secretsd")
    assert "in clear" in text
    assert "seal-setup" in text
    assert said("credential:seal-key", "/run/secretsd") == ()
    assert said("file:/home/me/seal-key", "/dev/shm/me") == ()
