"""The dialects by the names that the configuration uses."""

from __future__ import annotations

from secretsd.refresh.formats import docker, dotenv, env, files, json, node, universal
from secretsd.refresh.formats.interface import Format

FORMATS: dict[str, Format] = {
    "env": env.FORMAT,
    "docker": docker.FORMAT,
    "dotenv": dotenv.FORMAT,
    "node": node.FORMAT,
    "universal": universal.FORMAT,
    "json": json.FORMAT,
    "files": files.FORMAT,
}
