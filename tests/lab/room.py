"""The room a lab machine stands in: a disk and a network that outlive its reboots.

One process holds a mount namespace and a network namespace; in them an overlay over the read-only root and
a loopback with the address of the metadata service. When that process ends, the kernel takes mounts and
network away. It ends when the test does, however that ends, and takes what still runs of the machine along.
"""

from __future__ import annotations

import subprocess
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from tests.lab import cgroups
from tests.lab.network import NamespaceNetwork

IMDS_ADDRESS = "169.254.169.254"

# /run of the namespace becomes a tmpfs of ours: there the writable layer lives, and there nspawn keeps its
# locks and its propagation directory instead of in the test machine's own /run.
_SETUP = """
set -e
mount -t tmpfs -o mode=755,size=4g secretsd-lab /run
mkdir -p /run/lab/upper /run/lab/work /run/lab/root
mount -t overlay -o "lowerdir=$1,upperdir=/run/lab/upper,workdir=/run/lab/work" overlay /run/lab/root
chroot /run/lab/root ip link set lo up
chroot /run/lab/root ip address add "$2/32" dev lo
echo ready
shift 2
# Until the test closes our standard input, or dies. From here on errors are groups that are gone already.
set +e
exec 2>/dev/null
cat >/dev/null
for attempt in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
    pids=$(find "$@" -name cgroup.procs -exec cat {} +)
    [ -n "$pids" ] || break
    kill -KILL $pids
    sleep 0.05
done
find "$@" -depth -type d -exec rmdir {} +
"""

ROOT_INSIDE = "/run/lab/root"
_DISK_INSIDE = "run/lab/upper"


class Room:
    """Holds the namespaces from `__enter__` to `__exit__`; `root` is the read-only tree below the overlay."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._holder: subprocess.Popen[str] | None = None
        self.groups: list[Path] = []

    def __enter__(self) -> Self:
        command = ["unshare", "--mount", "--net", "--propagation", "private", "sh", "-c", _SETUP, "sh"]
        self.groups = cgroups.make()
        self._holder = subprocess.Popen(
            [*command, str(self._root), IMDS_ADDRESS, *map(str, self.groups)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            # A Ctrl-C is for the test alone: the holder has to clean up after it.
            start_new_session=True,
        )
        if _pipe(self._holder.stdout).readline() != "ready\n":
            reason = _pipe(self._holder.stderr).read().strip()
            self.__exit__(None, None, None)
            raise RuntimeError(f"the lab machine's disk and network could not be made: {reason}")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._holder is None:
            return
        self._holder.communicate(timeout=10)
        self._holder = None
        # There are some only where the holder did not come far enough to remove them itself.
        cgroups.remove([group for group in self.groups if group.exists()])

    @property
    def pid(self) -> int:
        """The process that holds the namespaces."""
        if self._holder is None:
            raise RuntimeError("the room is closed")
        return self._holder.pid

    @property
    def network(self) -> NamespaceNetwork:
        return NamespaceNetwork(self.pid)

    @property
    def disk(self) -> Path:
        """All that the machine has written to its disk, seen from outside."""
        return Path(f"/proc/{self.pid}/root/{_DISK_INSIDE}")

    def enter(self, *, mounts: bool, network: bool) -> list[str]:
        """The start of a command line that runs its rest in this room."""
        flags = ["--mount"] * mounts + ["--net"] * network
        return ["nsenter", "--target", str(self.pid), *flags, "--"]


def _pipe(stream: IO[str] | None) -> IO[str]:
    assert stream is not None, "the holder is started with pipes"
    return stream
