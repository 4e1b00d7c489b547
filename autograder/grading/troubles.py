"""What a machine refuses while a course is graded, as one sentence: disk, permissions, the gradebook."""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Iterator
from pathlib import Path

from rslib.errors import StoreError, translate_os_error

FULL = (errno.ENOSPC, errno.EDQUOT)
KEPT = "What was graded is kept: then run the same command again."
GRADEBOOK = {
    "locked": ("the gradebook is in use by another program", "Close formgrader, or wait until it has saved."),
    "readonly": ("the gradebook cannot be written", "Change its permissions, or those of its folder."),
    "unable to open": ("the gradebook cannot be opened", "Change its permissions, or those of its folder."),
    "full": ("no disk space left for the gradebook", "Free some space."),
    "disk i/o": ("the disk refused to store the gradebook", "Check the disk, and the space left on it."),
    "not a database": (
        "the gradebook is damaged",
        "Put a copy of it back, or move it away: points are written anew, scores given by hand are not.",
    ),
}
GRADEBOOK["malformed"] = GRADEBOOK["not a database"]
"""By a word of SQLite's: what is wrong, and what to do."""


class NoRoom(StoreError):
    """Too little of the disk is free to go on."""


def is_full(error: BaseException) -> bool:
    """Whether the disk had no room. A learner's exception never says so: it is rebuilt from its text alone.

    >>> is_full(OSError(28, "No space left on device")), is_full(OSError("No space left on device"))
    (True, False)
    """
    return isinstance(error, NoRoom) or (isinstance(error, OSError) and error.errno in FULL)


@contextlib.contextmanager
def told(root: Path) -> Iterator[None]:
    """Errors of disk and gradebook in the block become a StoreError with a way out. root: the course."""
    from sqlalchemy.exc import DBAPIError, PendingRollbackError

    try:
        yield
    except OSError as error:
        raise translate_os_error(error, str(error.filename or root)) from error
    except (DBAPIError, PendingRollbackError) as error:
        raise gradebook_error(str(error), root) from error


def gradebook_error(text: str, root: Path) -> StoreError:
    """What SQLite says, as a StoreError.

    >>> gradebook_error("(sqlite3.OperationalError) database is locked", Path("course")).what
    'the gradebook is in use by another program'
    """
    head = text.splitlines()[0] if text else ""
    known = [facts for word, facts in GRADEBOOK.items() if word in head.lower()]
    what, fix = known[0] if known else (f"the gradebook refused ({head[:200]})", "Check the gradebook.")
    return StoreError(what, where=str(root / "gradebook.db"), fix=f"{fix} {KEPT}")
