"""What a sandbox shows of this machine: the system, this Python, and nothing that people keep beside them."""

from __future__ import annotations

import contextlib
import functools
import os
import site
import sys
import sysconfig
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

SYSTEM = (
    "/usr/bin /usr/lib /usr/lib32 /usr/lib64 /usr/libexec /usr/share /usr/local/bin /usr/local/lib "
    "/usr/local/lib64 /bin /lib /lib32 /lib64 "
    "/etc/ld.so.cache /etc/alternatives /etc/fonts /etc/localtime"
)
PARTS = "bin include lib lib32 lib64 libexec"
OWN_PARTS = "etc fonts pyvenv.cfg share ssl"
"""Further parts of an environment. Elsewhere (/usr/local, ~/.local) they hold what is not Python's."""
ENVIRONMENT = ("pyvenv.cfg", "conda-meta")
"""What tells a folder that belongs to an environment alone."""
COURSE_FILES = {"gradebook.db", "nbgrader_config.py"}
COURSE_FOLDERS = ({"inbound", "outbound"}, {"source", "submitted"})
"""What a course, or a course's part of an exchange, has in it."""


def system_paths() -> list[str]:
    """What programs and shared libraries need of the system."""
    return [path for path in SYSTEM.split() if os.path.lexists(path)]


def python_paths() -> list[str]:
    """Files and folders of this Python and its packages, parents first."""
    paths = {sys.executable, os.path.realpath(sys.executable), *_packages()}
    for prefix in {sys.prefix, sys.base_prefix, sys.exec_prefix, sys.base_exec_prefix}:
        alone = any(os.path.exists(f"{prefix}/{name}") for name in ENVIRONMENT)
        names = f"{PARTS} {OWN_PARTS}" if alone else PARTS
        paths |= {f"{prefix}/{name}" for name in names.split()}
    return sorted(path for path in paths if os.path.exists(path))


def _packages() -> set[str]:
    """Folders that Python imports from."""
    paths = sysconfig.get_paths()
    named = {paths[name] for name in ("stdlib", "platstdlib", "purelib", "platlib")}
    return {path for path in named | set(site.getsitepackages()) if os.path.isdir(path)}


def _below(path: str, folders: Iterable[str]) -> bool:
    return any(Path(path).is_relative_to(folder) for folder in folders)


def covers(bound: Sequence[str], hidden: Sequence[Path]) -> list[str]:
    """Folders inside of `bound` to be covered up, parents first.

    These are the `hidden` ones, courses and exchanges of nbgrader wherever they lie, and what others may
    write to, except where Python imports from.
    """
    folders = {folder for path in bound for folder in _strange(path)}
    for path in bound:
        real = os.path.realpath(path)
        for folder in (os.path.realpath(each) for each in hidden):
            if os.path.isdir(folder) and folder != real and _below(folder, [real]):
                folders.add(os.path.join(path, os.path.relpath(folder, real)))
    return sorted(folders)


@functools.cache
def _strange(top: str) -> tuple[str, ...]:
    """Folders below `top` with a course in them, or open to others. Packages are not gone through."""
    imported = _packages()
    strange, left = [], [top] if os.path.isdir(top) else []
    while left:
        folder = left.pop()
        files, folders = _listing(folder)
        if folder != top and (_course(files, folders) or _open(folder, imported)):
            strange.append(folder)
        elif "__init__.py" not in files:
            left += [os.path.join(folder, name) for name in folders - {"__pycache__"}]
    return tuple(strange)


def _listing(folder: str) -> tuple[set[str], set[str]]:
    files: set[str] = set()
    folders: set[str] = set()
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            (folders if entry.is_dir(follow_symlinks=False) else files).add(entry.name)
    return files, folders


def _course(files: set[str], folders: set[str]) -> bool:
    return bool(files & COURSE_FILES) or any(both <= folders for both in COURSE_FOLDERS)


def _open(folder: str, imported: Iterable[str]) -> bool:
    """Whether others may write to a folder that Python does not import from."""
    with contextlib.suppress(OSError):
        if os.stat(folder).st_mode & 0o002:
            return not _below(folder, imported) and not any(_below(path, [folder]) for path in imported)
    return False


def mounts(binds: Sequence[tuple[str, str]], covered: Sequence[str]) -> Iterator[str]:
    """Options of bubblewrap that show `binds` (source, place) read-only, and nothing in `covered`.

    In the order of places: what a covered folder must show all the same comes after it.

    >>> list(mounts([("/a/b", "/a/b"), ("/a/b/c", "/a/b/c")], []))
    ['--dir', '/a', '--ro-bind', '/a/b', '/a/b']
    """
    needed = [
        (source, target) for source, target in binds if not _shown(target, [p for _, p in binds], covered)
    ]
    options = {target: _bound(source, target) for source, target in needed}
    options |= {target: ("--tmpfs", target) for target in covered}
    for target in list(options):
        for parent in map(str, Path(target).parents):
            options.setdefault(parent, ("--dir", parent))  # bubblewrap's own are closed to all but root
    del options["/"]
    for target in sorted(options):
        yield from options[target]
    for target in covered:
        yield from ("--remount-ro", target)


def _bound(source: str, target: str) -> tuple[str, str, str]:
    link = source == target and target in SYSTEM.split() and os.path.islink(target)
    return ("--symlink", os.readlink(source), target) if link else ("--ro-bind", source, target)


def _shown(target: str, targets: Sequence[str], covered: Sequence[str]) -> bool:
    """Whether a place is seen with a folder around it that is bound too."""
    around = [other for other in targets if other != target and _below(target, [other])]
    between = [cover for cover in covered if _below(target, [cover])]
    return any(not any(_below(cover, [other]) for cover in between) for other in around)
