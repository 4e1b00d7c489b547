"""Work on a part of a table for the tests of many workers, in a module that a worker can import."""

import os
import time

from rslib.errors import DataError


def noted(model, part, folder):
    """The part itself, after its worker's process id was written down."""
    name = part["prompt_id"][0]
    (folder / f"{name}-{os.getpid()}-{time.time_ns()}").touch()
    time.sleep(0.3)
    return part


def failing(model, part):
    """Raises the engine's error on every part."""
    raise DataError("the part cannot be worked on", where="here", fix="None.")


def deadly(model, part, folder, safe):
    """The part itself; the first time that a process other than `safe` has it, that process dies."""
    mark = folder / part["prompt_id"][0]
    if os.getpid() != safe and not (folder / "died").exists():
        (folder / "died").touch()
        os._exit(9)
    mark.touch()
    return part
