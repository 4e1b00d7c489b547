"""Paired timing of one work, the results file, and the table made from it."""

from __future__ import annotations

import platform
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Way:
    """One way to do the work: `act(*prepare())`, of which only `act` is timed.

    `target` is the ratio that we promise beside this peer, None where we only look.
    """

    name: str
    act: Callable[..., object]
    prepare: Callable[[], tuple[Any, ...]] = tuple
    target: float | None = None

    def seconds(self, clock: Callable[[], float]) -> float:
        """How long it takes, once."""
        ready = self.prepare()
        began = clock()
        self.act(*ready)
        return round(clock() - began, 9)


@dataclass(frozen=True)
class Work:
    """One thing to measure: ours, the peers, and a check, untimed, that raises when their results differ."""

    name: str
    case: str
    ours: Way
    peers: Sequence[Way] = ()
    check: Callable[[], object] = lambda: None


@dataclass(frozen=True)
class Measured:
    """Seconds per round of ours and of one peer; ratio = peer / ours: above 1 we are faster."""

    work: str
    case: str
    peer: str
    target: float | None
    ours_seconds: list[float]
    peer_seconds: list[float]
    ratio: float = field(init=False)
    low: float = field(init=False)
    high: float = field(init=False)

    def __post_init__(self) -> None:
        pairs = zip(self.peer_seconds, self.ours_seconds, strict=True)
        ratios = [theirs / ours for theirs, ours in pairs]
        for name, value in (
            ("ratio", statistics.median(ratios)),
            ("low", min(ratios)),
            ("high", max(ratios)),
        ):
            object.__setattr__(self, name, round(value, 2))


def measure(work: Work, rounds: int, clock: Callable[[], float] = time.perf_counter) -> list[Measured]:
    """One result per peer; without peers one result with our seconds alone.

    Each round runs ours and then every peer, so that whatever else the machine does falls on all of them.
    """
    work.check()
    ways = [work.ours, *work.peers]
    for way in ways:  # warm-up
        way.seconds(clock)
    seconds = [[way.seconds(clock) for way in ways] for _ in range(rounds)]
    ours, *theirs = (list(column) for column in zip(*seconds, strict=True))
    if not theirs:
        return [Measured(work.name, work.case, "", None, ours, ours)]
    pairs = zip(work.peers, theirs, strict=True)
    return [Measured(work.name, work.case, peer.name, peer.target, ours, found) for peer, found in pairs]


def machine(device: str, threads: int) -> dict[str, Any]:
    """What the numbers belong to."""
    return {
        "device": f"{device}-{threads}-thread{'s' if threads > 1 else ''}" if device == "cpu" else device,
        "processor": _processor(),
        "python": platform.python_version(),
        "versions": {name: metadata.version(name) for name in ("torch", "transformers")},
    }


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.is_file() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def merge_results(
    old: Mapping[str, Any], new: Mapping[str, Any], found: Sequence[Measured]
) -> dict[str, Any]:
    """The results file after a run that measured only some of the works: its cases replace the old ones."""
    again = {(one.work, one.case) for one in found}
    kept = [row for row in old.get("results", []) if (row["work"], row["case"]) not in again]
    rows = sorted([*kept, *map(asdict, found)], key=lambda row: (row["work"], row["case"]))
    return {**new, "results": rows}


def render(results: Mapping[str, Any]) -> str:
    """The results as a markdown table for the README.

    >>> row = {"work": "W2", "case": "prompt 256", "peer": "padded", "ratio": 6.9, "low": 6.5, "high": 7.2,
    ...        "target": 3.0, "ours_seconds": [1.0], "peer_seconds": [6.9]}
    >>> facts = {"device": "cpu-1-thread", "versions": {"torch": "2.13"}}
    >>> print(render({**facts, "results": [row]}).splitlines()[-1])
    | W2 | prompt 256 | padded | 6.9 (6.5 to 7.2) | 3 |
    """
    versions = ", ".join(f"{name} {version}" for name, version in results["versions"].items())
    rounds = " or ".join(map(str, sorted({len(row["ours_seconds"]) for row in results["results"]})))
    head = (
        f"Times faster than the peer on {results['device']} ({versions}); the median of {rounds} "
        "paired rounds, with their range."
    )
    lines = ["| work | case | peer | times faster | target |", "|---|---|---|---:|---:|"]
    for row in results["results"]:
        figure = f"{row['ratio']:.1f} ({row['low']:.1f} to {row['high']:.1f})"
        if not row["peer"]:
            figure = f"{statistics.median(row['ours_seconds']):.0f} s"
        target = f"{row['target']:g}" if row["target"] else "–"
        lines.append(f"| {row['work']} | {row['case']} | {row['peer'] or '–'} | {figure} | {target} |")
    return "\n".join([head, "", *lines])
