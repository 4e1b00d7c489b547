"""Linux's Landlock, called directly: a process gives up for good what files and ports it does not need.

It needs no rights and no namespace, and holds for code in C as for Python. What it does not know of
(whether a file exists, its mode, its owner) is `reach`'s part.
"""

from __future__ import annotations

import contextlib
import os
import stat
import struct
from collections.abc import Iterable

from autograder.grading.inside.isolate import LIBC, NO_NEW_PRIVS, prctl
from rslib.errors import ConfigError

CREATE_RULESET, ADD_RULE, RESTRICT_SELF = 444, 445, 446
"""Numbers of the system calls, the same on all machines."""
VERSION, BENEATH = 1, 1
WRITE_FILE, READ_FILE, READ_DIR, TRUNCATE, IOCTL = 1 << 1, 1 << 2, 1 << 3, 1 << 14, 1 << 15
OF_FILES = WRITE_FILE | READ_FILE | TRUNCATE | IOCTL
READ = READ_FILE | READ_DIR
EXECUTE = 1
RIGHTS = {1: (1 << 13) - 1, 2: (1 << 14) - 1, 3: (1 << 15) - 1, 4: (1 << 15) - 1, 5: (1 << 16) - 1}
"""All rights over files by the version in which the system came to know them."""


def version() -> int:
    """The version of Landlock that this system has; 0 where it has none."""
    return max(0, LIBC.syscall(CREATE_RULESET, None, 0, VERSION))


def restrict(readable: Iterable[str], writable: Iterable[str]) -> bool:
    """Whether this process is restricted from now on; False where the system has no Landlock.

    readable, writable: files and folders with all below them. Nothing can be executed, no port of TCP used
    and no process outside signalled where the system's version knows of these. Raises ConfigError.
    """
    known = version()
    if not known:
        return False
    rights = RIGHTS[min(known, max(RIGHTS))]
    ports, scopes = (3 if known >= 4 else 0), (3 if known >= 6 else 0)
    rules = LIBC.syscall(CREATE_RULESET, struct.pack("QQQ", rights, ports, scopes), 24, 0)
    for paths, allowed in ((readable, READ), (writable, rights & ~EXECUTE)):
        for path in paths:
            with contextlib.suppress(FileNotFoundError):
                _allow(rules, path, allowed)
    prctl(NO_NEW_PRIVS, 1)
    refused = rules < 0 or LIBC.syscall(RESTRICT_SELF, rules, 0)
    if rules >= 0:
        os.close(rules)
    if refused:
        raise ConfigError("Landlock refuses to restrict the examining process")
    return True


def _allow(rules: int, path: str, allowed: int) -> None:
    """Add a rule for a file or a folder with all below it. Raises FileNotFoundError, ConfigError."""
    descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        if not stat.S_ISDIR(os.fstat(descriptor).st_mode):
            allowed &= OF_FILES
        if LIBC.syscall(ADD_RULE, rules, BENEATH, struct.pack("=Qi", allowed, descriptor), 0):
            raise ConfigError("Landlock takes no rule for a path", where=path)
    finally:
        os.close(descriptor)
