"""The processes of a submission, seen by its supervisor: which there are, what memory they hold, their end.

Only the standard library is used: the supervisor is a fork of the server, which computes nothing.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from pathlib import Path

PATIENCE = 10.0
"""Seconds after which a process that cannot be ended is given up: it waits for a device."""
LOOKS = 50
"""Looks at all processes, in each of which one ended meanwhile, after which the last one has to do."""


def descendants(looks: int = 1) -> list[int]:
    """Processes that come from this process, children before grandchildren; looks: see `_children`."""
    children = _children(looks)
    all_of_them, front = [], [os.getpid()]
    while front:
        front = [child for parent in front for child in children.get(parent, [])]
        all_of_them += front
    return all_of_them


def _children(looks: int) -> dict[int, list[int]]:
    """The processes of this machine by their parents, all of one moment.

    What a process leaves that ends between the list and its turn to be read has another parent by then, or
    was not on the list: such a look is taken again, `looks` of them at most.
    """
    for _ in range(looks):
        children: dict[int, list[int]] = {}
        listed = [int(name) for name in os.listdir("/proc") if name.isdigit()]
        facts = {pid: stat(pid) for pid in listed}
        for pid, fields in facts.items():
            if fields:
                children.setdefault(int(fields[1]), []).append(pid)
        if all(facts.values()):
            break
    return children


def stat(pid: int) -> list[bytes]:
    """What the kernel says of a process, from its state on (see proc(5)); [] if it is gone.

    Before the state stands its name, which it chooses itself: any bytes, brackets too.
    """
    try:
        return Path("/proc", str(pid), "stat").read_bytes().rpartition(b")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return []
    except OSError:  # another user's that may not be read, so no child of ours
        return [b"?", *[b"0"] * 6]


def memory(folders: Sequence[int], limit: int) -> int:
    """Bytes that all descendants hold, in their processes and in files of `folders`, which lie in memory.

    Pages that processes share are counted for each of them, unless that comes to more than `limit`: then
    they are looked up and counted once. folders: descriptors of file systems; none without a sandbox.
    """
    pids, files = descendants(), sum(map(_used, folders))
    queued = _queued() if folders else 0
    rough = _sum(_facts(f"/proc/{pid}/status") for pid in pids)
    total = queued + sum(rough.get(name, 0) for name in ("RssAnon", "RssFile", "VmSwap"))
    total += max(files, rough.get("RssShmem", 0))  # a file that is mapped is in both
    if total <= limit:
        return total
    exact = _sum(_facts(f"/proc/{pid}/smaps_rollup") or _as_shared(pid) for pid in pids)
    shared = exact.get("Pss_Shmem", 0)
    return queued + exact.get("Pss", 0) - shared + exact.get("SwapPss", 0) + max(files, shared)


def _used(folder: int) -> int:
    system = os.fstatvfs(folder)
    return (system.f_blocks - system.f_bfree) * system.f_frsize


def _queued() -> int:
    """Bytes that may lie in the sockets of this network namespace, read by nobody."""
    with contextlib.suppress(OSError, ValueError):
        sockets = int(Path("/proc/self/net/sockstat").read_text().split(maxsplit=3)[2])
        return sockets * 2 * int(Path("/proc/sys/net/core/wmem_max").read_text())
    return 0


def _facts(path: str) -> dict[str, int]:
    """Lines `Name: 123 kB` of a file of the kernel's, in bytes; {} for a process that is gone or closed."""
    facts: dict[str, int] = {}
    with contextlib.suppress(OSError, ValueError):
        # A process chooses its name itself: one that is no text must not hide the rest of the file.
        for line in Path(path).read_text("utf-8", "replace").splitlines():
            name, _, value = line.partition(":")
            if value.endswith(" kB"):
                facts[name] = 1024 * int(value.split()[0])
    return facts


def _as_shared(pid: int) -> dict[str, int]:
    """What a process that does not let itself be looked into holds, shared pages in full."""
    status = _facts(f"/proc/{pid}/status")
    return {
        "Pss": status.get("VmRSS", 0),
        "Pss_Shmem": status.get("RssShmem", 0),
        "SwapPss": status.get("VmSwap", 0),
    }


def _sum(several: Iterable[Mapping[str, int]]) -> dict[str, int]:
    total: dict[str, int] = {}
    for facts in several:
        for name, value in facts.items():
            total[name] = total.get(name, 0) + value
    return total


def end_all(first: int) -> int:
    """Kill the process `first` and all other descendants; how many could not be ended within PATIENCE.

    Where `first` is process 1 of a namespace of its own, the kernel ends all in it with it, at once: nothing
    can fork away from that. Elsewhere processes are stopped before they are killed, again and again.
    """
    limit = time.monotonic() + PATIENCE
    _send(signal.SIGKILL, [first] if first else [])
    while True:
        left = descendants(LOOKS)
        _send(signal.SIGSTOP, left)
        _send(signal.SIGKILL, left)
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        if not left or time.monotonic() > limit:
            return len(left)
        time.sleep(0.002)


def end_strays(known: AbstractSet[int]) -> set[int]:
    """End children of this process that it did not start, and what they started; its children of `known`.

    Without a sandbox a notebook can kill its supervisor; what it started is then nobody's. A supervisor that
    is just ending still has its children, though the grader may know of its end: it is waited for.
    """
    limit = time.monotonic() + PATIENCE / 2
    while True:
        mine = _children(LOOKS).get(os.getpid(), [])
        strays = [pid for pid in mine if pid not in known]
        _send(signal.SIGSTOP, strays)
        _send(signal.SIGKILL, strays)
        if not (strays or any(map(_ending, known.intersection(mine)))) or time.monotonic() > limit:
            return known.intersection(mine)
        time.sleep(0.002)


def _ending(pid: int) -> bool:
    """Whether a process has begun to end: the kernel's flag PF_EXITING, set before its sockets are closed."""
    fields = stat(pid)
    return bool(fields) and bool(int(fields[6]) & 4)


def _send(number: int, pids: Iterable[int]) -> None:
    for pid in pids:
        with contextlib.suppress(OSError):
            os.kill(pid, number)
