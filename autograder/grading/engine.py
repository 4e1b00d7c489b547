"""Results of the engine that a course keeps, so that what a class computes alike is computed once.

Two folders in the course's .grading/. `shown` holds what the instructor's own solution computed: learners'
processes may read it, and an entry opens only for the very call that made it (`rslib.cache`). `judged` holds
what the trusted side measured; no learner's process sees it. Neither is ever written by a learner's process,
and where learners' processes run without a sandbox neither is used.
"""

from __future__ import annotations

import contextlib
import re
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from autograder.grading.inside.isolate import WORK
from autograder.grading.remote import Lost, Remote
from autograder.grading.sandbox import NONE
from rslib import cache
from rslib.cache import atomic_write
from rslib.errors import StoreError

SHOWN, JUDGED = "shown", "judged"
OWN = f"{WORK}/.engine"
"""Where the instructor's own process keeps what it computes."""
ENTRY = re.compile(r"[0-9a-f]{64}")
MOST = 1 << 30
"""Bytes of a folder from which on its oldest entries go."""
KEEP = f"__import__('rslib.cache').cache.use(read=[{OWN!r}], write={OWN!r})"
LIST = f"_kept = [path.name for path in __import__('pathlib').Path({OWN!r}).glob('*')]"


def folder(grading: Path) -> Path:
    """The place of both folders in a course's .grading/."""
    return grading / ".engine"


def prepare(course: Path) -> Path | None:
    """Make both folders of a course, and take the oldest entries out of full ones.

    Returns the folder that learners may read; None where there is no course, or nothing can be written: that
    is told by what has to write there.
    """
    grading = course.resolve() / ".grading"
    try:
        grading.mkdir(mode=0o700, exist_ok=True)  # nobody else may read it
        for name in (SHOWN, JUDGED):
            target = folder(grading) / name
            target.mkdir(parents=True, exist_ok=True)
            target.chmod(0o711)
            cache.trim(target, MOST)
    except OSError:
        return None
    return folder(grading) / SHOWN


@contextlib.contextmanager
def forgotten(course: Path, isolation: str) -> Iterator[None]:
    """Delete both folders after a run without a sandbox: any notebook may have written into them."""
    try:
        yield
    finally:
        if isolation == NONE:
            shutil.rmtree(folder(course / ".grading"), ignore_errors=True)


def folders(job: Mapping[str, Any]) -> list[Path]:
    """The folders that judging this job changes: none without an engine's results."""
    names = (JUDGED, *((SHOWN,) if job["engine"] and _fills(job) else ())) if job["engine"] else ()
    return [Path(job["engine"], name) for name in names]


def begin(job: Mapping[str, Any], remote: Remote) -> None:
    """Let this process keep what it measures, and the instructor's own solution what it computes."""
    if job["engine"]:
        judged = Path(job["engine"], JUDGED)
        cache.use(read=[judged], write=judged)
        if _fills(job):
            with contextlib.suppress(Lost):
                remote.run(KEEP, 60)


def end(job: Mapping[str, Any], remote: Remote) -> None:
    """Take over what the instructor's own solution computed. An entry that is lost costs time, no result."""
    if not job["engine"] or not _fills(job):
        return
    shown = Path(job["engine"], SHOWN)
    with contextlib.suppress(Lost, OSError, StoreError):
        remote.run(LIST, 60)
        names = remote.names(["_kept"]).get("_kept")
        for name in names if isinstance(names, list) else []:
            if isinstance(name, str) and ENTRY.fullmatch(name) and not (shown / name).exists():
                atomic_write(shown / name, remote.value({"do": "file", "path": f"{OWN}/{name}"}))


def _fills(job: Mapping[str, Any]) -> bool:
    """Whether this is the instructor's own solution, of a notebook that uses the engine."""
    return bool(job.get("explain")) and any(
        word in cell["source"] for cell in job["cells"] for word in ("rslib", "autograder")
    )
