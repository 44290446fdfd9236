"""How much the gate has searched."""

from __future__ import annotations

from dataclasses import dataclass, fields


@dataclass(slots=True)
class Tally:
    """A gate that has looked at nothing has found nothing either: the end of a run shows these figures."""

    tests: int = 0
    machines: int = 0
    daemons: int = 0
    processes: int = 0
    memory_bytes: int = 0
    files: int = 0
    answers: int = 0
    spent_s: float = 0.0

    def add(self, other: Tally) -> None:
        for each in fields(self):
            setattr(self, each.name, getattr(self, each.name) + getattr(other, each.name))

    def __str__(self) -> str:
        return (
            f"{self.tests} tests; looked at {self.machines} machines and {self.daemons} daemons, "
            f"{self.processes} processes, {self.memory_bytes / 2**20:.0f} MiB of their memory, "
            f"{self.files} files, {self.answers} answers in {self.spent_s:.1f} s"
        )
