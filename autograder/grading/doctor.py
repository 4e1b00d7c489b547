"""`python -m autograder doctor`: prove every protection of `grade` with a harmless probe on this machine."""

from __future__ import annotations

import argparse
import os
import platform
import re
import socket
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from string import Template

from bs4 import BeautifulSoup

from autograder.grading.examine import hello
from autograder.grading.inside.isolate import Limits
from autograder.grading.inside.processes import descendants
from autograder.grading.remote import Lost, Remote
from autograder.grading.sandbox import BUBBLEWRAP, REFUSAL, Sandbox, bubblewrap_works

LIMITS = Limits(
    memory=600 << 20, disk=64 << 20, file=16 << 20, processes=32, cell_seconds=2, total_seconds=20
)
SECRET = "a text that no submission may read"
CELLS = Path(__file__).with_name("probes.txt")
"""The probes, and further cells; its first lines say how they are written."""


@dataclass(frozen=True)
class Probe:
    """A harmless try to get past one protection, which held where `pattern` is all that the cell printed."""

    name: str
    pattern: str
    cell: str
    seconds: float = LIMITS.cell_seconds

    def holds(self, sandbox: Sandbox) -> bool:
        """Whether it held, in a process of its own."""
        limits = replace(LIMITS, total_seconds=max(LIMITS.total_seconds, self.seconds + 10))
        text = printed(sandbox, self.cell, self.seconds, limits).strip()
        return re.fullmatch(self.pattern, text, re.DOTALL) is not None


def probes(secret: Path = Path("/x"), port: int = 0) -> Iterator[Probe]:
    """The probes of CELLS; `secret`: a file of the grader's; `port`: of a server of ours on this machine."""
    beside = secret.parent / "x"
    values = {"secret": repr(str(secret)), "folder": secret.parent, "beside": repr(str(beside)), "port": port}
    for (name, *facts), cell in _cells():
        if facts:
            seconds = float(facts[1]) if facts[1:] else LIMITS.cell_seconds
            cell = Template(cell).safe_substitute(values)
            yield Probe(Template(name).safe_substitute(values), facts[0], cell, seconds)


def _cells() -> Iterator[tuple[list[str], str]]:
    """(parts of the header, code) of every cell of CELLS."""
    _, *parts = re.split(r"^# %% (.*)\n", CELLS.read_text(encoding="utf-8"), flags=re.MULTILINE)
    yield from ((header.split(" | "), cell) for header, cell in zip(parts[::2], parts[1::2], strict=True))


def _cell(*names: str) -> str:
    """The cells of these names, one after the other."""
    known = {name: cell for (name, *_), cell in _cells()}
    return "".join(known[name] for name in names)


def printed(
    sandbox: Sandbox, cell: str, seconds: float = LIMITS.cell_seconds, limits: Limits = LIMITS
) -> str:
    """What a cell prints in a process of its own; "" if the process is lost over it."""
    child = sandbox.spawn(limits, 0)
    try:
        remote = Remote(child.channel(), 10.0)
        hello(child.wire)
        outputs, _ = remote.run(cell, seconds)
    except Lost:
        return ""
    finally:
        child.end()
    return "".join(str(o.get("text", "")) for o in outputs if isinstance(o, dict))


def clean_next(sandbox: Sandbox) -> bool:
    """Whether a second submission finds nothing of the first."""
    printed(sandbox, _cell("leave something"))
    traces = printed(sandbox, _cell("look for it"))
    return "left" not in traces and "False" in traces


def time_is_bounded(sandbox: Sandbox) -> bool:
    """Whether a process that hears no signal is ended when the time of the whole notebook is over."""
    start = time.monotonic()
    printed(sandbox, _cell("be deaf", "go on for ever"), 4, replace(LIMITS, total_seconds=2))
    return time.monotonic() - start < 8


def nothing_is_left(sandbox: Sandbox) -> bool:
    """Whether a first process that hears nothing, and its daemon, are gone at the end."""
    sandbox.spawn(LIMITS, 0).end()
    before = set(descendants())
    printed(sandbox, _cell("be deaf", "have a daemon", "go on for ever"))
    limit = time.monotonic() + 1
    while left := set(descendants()) - before:
        if time.monotonic() > limit:
            return not left
        time.sleep(0.01)
    return True


WHOLE = {
    "the next submission starts clean": clean_next,
    "the time of a whole notebook is bounded": time_is_bounded,
    "nothing of a submission outlives its end": nothing_is_left,
}
"""Probes that look at more than what a cell prints."""


def milliseconds(sandbox: Sandbox, count: int = 15) -> float:
    """Median time of a process with one cell, from its birth to its end."""
    spent = []
    for _ in range(count):
        start = time.monotonic()
        printed(sandbox, "x = 1")
        spent.append(1000 * (time.monotonic() - start))
    return statistics.median(spent)


def main(argv: Sequence[str] | None = None) -> int:
    """Print every probe with its result; 0 if untrusted submissions can be graded here."""
    argparse.ArgumentParser(
        prog="python -m autograder doctor", description="Try every protection of the sandbox on this machine."
    ).parse_args(argv)
    print(f"{platform.system()} {platform.release()}, Python {platform.python_version()}, user {os.getuid()}")
    why = bubblewrap_works()
    if why:
        print(f"NO   bubblewrap {why}\n\nUntrusted submissions are refused: {REFUSAL.format(why=why)}.")
        return 1
    print("ok   bubblewrap works")
    with tempfile.TemporaryDirectory() as folder, socket.create_server(("127.0.0.1", 0)) as server:
        secret = Path(folder, "secret")
        secret.write_text(SECRET)
        os.environ["DOCTOR_PROBE"] = SECRET
        with Sandbox(("numpy",), BUBBLEWRAP) as sandbox:
            protections = {probe.name: probe.holds for probe in probes(secret, server.getsockname()[1])}
            failed = [_line(name, holds(sandbox)) for name, holds in (protections | WHOLE).items()].count(
                False
            )
            print(f"     a process with one cell takes {milliseconds(sandbox):.0f} ms (median)")
    if why := no_pages():
        print(f"NO   formgrader's pages: {why}")
    print(
        "\nUntrusted submissions can be graded here."
        if not failed
        else f"\n{failed} protections do not hold: do not grade untrusted submissions."
    )
    return 1 if failed else 0


def no_pages() -> str:
    """Why formgrader and nbgrader's feedback cannot show a notebook here, or "".

    nbconvert asks this question of every page. Python below 3.11.5 misreads patterns of soupsieve from 3.0
    on, and then each page of formgrader is an error of the server.
    """
    try:
        pictures = BeautifulSoup("<img><img alt='x'>", "html.parser").select("img:not([alt])")
    except Exception as error:  # whichever: soupsieve has errors of its own
        fix = "`pip install 'soupsieve<3'`, or use Python 3.11.5 or newer"
        return f"{type(error).__name__} with Python {platform.python_version()}; {fix}."
    return "" if len(pictures) == 1 else "a page's pictures are not found"


def _line(name: str, held: bool) -> bool:
    print(f"{'ok  ' if held else 'NO  '} {name}", flush=True)
    return held
