"""Which files the examining process of one submission reaches, and the refusal of all others.

A test cell works with values that a learner chose, with the instructor's rights: a path, a name or a number
among them must not reach the course, the grader's files or anybody's home. The system's Landlock holds where
the kernel has it; an audit hook of Python holds everywhere, says what was refused, and knows what Landlock
does not: modes, owners, links, signals, whether a file exists.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import os
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from autograder.grading import landlock
from autograder.grading.places import covers, python_paths, system_paths
from autograder.grading.sandbox import course_files, own_folders
from autograder.grading.visible import PACKAGE
from rslib.errors import RSError

READS = ("os.listdir", "os.scandir", "os.chdir", "os.listxattr", "os.getxattr")
CHANGES = {
    "os.remove": ((0, 1),),
    "os.rmdir": ((0, 1),),
    "os.mkdir": ((0, 2),),
    "os.rename": ((0, 2), (1, 3)),
    "os.link": ((0, 2), (1, 3)),
    "os.symlink": ((1, 2),),
    "os.chmod": ((0, 2),),
    "os.chown": ((0, 3),),
    "os.utime": ((0, 3),),
}
"""Audit events of changes: the places of their paths, and of the descriptors of the folders of these."""
CHANGES |= dict.fromkeys(("os.truncate", "os.setxattr", "os.removexattr", "sqlite3.connect"), ((0, 99),))
OF_NAMES = ("os.remove", "os.rmdir", "os.mkdir", "os.rename", "os.link", "os.symlink")
"""Events of names: what a link of that name leads to is not touched."""
FORBIDDEN = (
    *("os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.fork", "os.forkpty", "subprocess.Popen"),
    *("os.kill", "os.killpg", "signal.pthread_kill"),
    *("socket.connect", "socket.bind", "socket.sendto", "socket.sendmsg", "socket.getaddrinfo"),
    *("socket.gethostbyname", "socket.gethostbyaddr", "socket.getnameinfo", "socket.sethostname"),
    *("sqlite3.enable_load_extension", "sqlite3.load_extension"),
)
"""Audit events of programs, signals and connections: no test of values needs one."""
ASKS = ("stat", "lstat", "access", "readlink", "statvfs", "pathconf", "mkfifo", "mknod")
"""Functions of `os` that take a path and that Python tells no audit hook of."""
FACTS = "/proc/meminfo /proc/cpuinfo /proc/stat /proc/version /proc/loadavg /proc/filesystems"
DEVICES = ("/dev/null", "/dev/zero", "/dev/full", "/dev/urandom", "/dev/random")
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


class NotOutside(RSError):
    """Something that a test cell asks for and that is not done outside of the learner's process."""

    def __init__(self, what: str) -> None:
        fix = "Write the line `# trust: inside` into the cell: it is then run in the sandbox, and holds less."
        super().__init__(f"{what} is not done outside of the learner's process", fix=fix)


class OutOfReach(NotOutside, PermissionError):
    """A file that a test may not reach. It is an OSError too, as libraries look for files of settings."""

    def __init__(self, what: str, code: int = errno.EACCES) -> None:
        super().__init__(what)
        self.errno = code


@functools.cache
def shown() -> tuple[list[str], list[str], list[str]]:
    """What can be read of this machine, what is hidden below that, and the same without what is hidden."""
    paths = [*system_paths(), *python_paths()]
    hidden = [os.path.realpath(path) for path in covers(paths, own_folders())]
    readable = [*map(os.path.realpath, paths), *DEVICES]
    left, apart = list(readable), []
    while left:
        path = left.pop()
        if not any(_below(folder, [path]) for folder in hidden):
            apart.append(path)
        elif path not in hidden:
            left += [entry.path for entry in os.scandir(path) if not entry.is_symlink()]
    return readable, hidden, apart


class Reach:
    """The files that this process reaches: `private` ones to change, those of Python to read.

    lent: folders to read and change while `lending` is under way. process: one more of /proc, or 0.
    """

    def __init__(self, private: Path, lent: Sequence[Path] = (), process: int = 0) -> None:
        self.private, self.lent = [os.path.realpath(private)], [os.path.realpath(path) for path in lent]
        readable, self.hidden, self.apart = shown()
        self.readable = [*readable, *FACTS.split(), *([f"/proc/{process}/stat"] if process else [])]
        self.readable += [f"/proc/{os.getpid()}/{name}" for name in ("stat", "statm", "status")]
        self.package = os.path.realpath(PACKAGE)
        self.course = [os.path.realpath(path) for path, _ in course_files()]
        self.before = frozenset(filter(_is_open, map(int, os.listdir("/proc/self/fd"))))
        self.lends = self.busy = False

    def close(self) -> None:
        """Refuse everything else from now on, for good."""
        tempfile.tempdir = os.environ["TMPDIR"] = os.path.join(self.private[0], "tmp")
        os.makedirs(tempfile.tempdir, exist_ok=True)
        sys.dont_write_bytecode = True
        readable = [*self.apart, *self.course, str(PACKAGE), "/proc"]
        landlock.restrict(readable, [*self.private, *self.lent, DEVICES[0]])
        for name in ASKS:
            real = getattr(os, name)
            setattr(os, name, guarded := self._guarded(real))
            for functions in (os.supports_fd, os.supports_dir_fd, os.supports_follow_symlinks):
                functions |= {guarded} if real in functions else set()
        sys.addaudithook(self._audit)

    @contextlib.contextmanager
    def lending(self) -> Iterator[None]:
        """Have the lent folders reached in the block: an exercise of the course is checked."""
        self.lends = True
        try:
            yield
        finally:
            self.lends = False

    def may(self, path: Any, changing: bool = False) -> bool:
        """Whether a path, or a descriptor, is in reach."""
        if isinstance(path, int):
            return path < 0 or path not in self.before
        real = self._real(path)
        if _below(real, self.private) or real in DEVICES or (self.lends and _below(real, self.lent)):
            return True
        if changing:
            return False
        if self.lends and _below(real, [self.package]):  # graders read texts of exercises
            return True
        return _below(real, self.course) or (
            _below(real, self.readable) and not _below(real, self.hidden) or self._imports(real)
        )

    def _real(self, path: Any) -> str:
        self.busy = True  # resolving a path asks what is guarded
        try:
            return os.path.realpath(os.fsdecode(path))
        finally:
            self.busy = False

    def _imports(self, real: str) -> bool:
        """Whether Python's own import looks for a module of this package."""
        frame: Any = sys._getframe()
        while frame is not None and frame.f_code.co_filename == __file__:
            frame = frame.f_back
        imports = frame is not None and frame.f_code.co_filename.startswith("<frozen importlib")
        return imports and (real == str(PACKAGE.parent) or _below(real, [str(PACKAGE)]))

    def _audit(self, event: str, args: tuple[Any, ...]) -> None:
        if event == "open":
            self._opened(*args)
        elif event == "ctypes.dlopen":
            if args[0] and "/" in os.fsdecode(args[0]):
                self._check(args[0], False)
        elif event in READS:
            self._check(args[0], False)
        elif event in CHANGES:
            for index, folder in CHANGES[event]:
                self._check(_named(args[index], args[folder:], event in OF_NAMES), True)
        elif event in FORBIDDEN:
            raise NotOutside(f"`{event}`")

    def _opened(self, path: Any, mode: Any, flags: Any) -> None:
        writes = bool(flags & WRITING) if isinstance(flags, int) else False
        self._check(path, writes or (isinstance(mode, str) and bool(set(mode) & set("wax+"))))

    def _check(self, path: Any, changing: bool) -> None:
        """Raises OutOfReach. Where no path is named, it is the working folder."""
        if path is not None and not self.may(path, changing):
            raise OutOfReach("reaching a file that is neither the course's nor the test's own")

    def _guarded(self, real: Callable[..., Any]) -> Callable[..., Any]:
        """A function of `os` that does not tell of what is out of reach; folders on the way are known."""
        changing = real.__name__ in ("mkfifo", "mknod")

        @functools.wraps(real)
        def guarded(path: Any, *args: Any, **options: Any) -> Any:
            outside = not self.busy and options.get("dir_fd") is None and not self._known(path, changing)
            if outside and real.__name__ == "access":
                return False
            if outside:
                raise OutOfReach(
                    "asking for a file that is not the course's nor the test's own", errno.ENOENT
                )
            return real(path, *args, **options)

        return guarded

    def _known(self, path: Any, changing: bool) -> bool:
        try:
            if self.may(path, changing):
                return True
            real = self._real(path)
        except (TypeError, ValueError):  # no path: the system says so itself
            return True
        return not changing and any(_below(folder, [real]) for folder in (*self.private, *self.readable))


def _named(path: Any, folder: Sequence[Any], of_name: bool) -> Any:
    """A path from the folder whose descriptor goes with it; of a name, without following its last link."""
    if isinstance(path, int) or path is None:
        return path
    text = os.fsdecode(path).removeprefix("file:")
    if folder and type(folder[0]) is int and folder[0] >= 0:
        text = os.path.join(os.readlink(f"/proc/self/fd/{folder[0]}"), text)
    head, name = os.path.split(text)
    return (
        os.path.join(os.path.realpath(head or "."), name) if of_name and name not in ("", ".", "..") else text
    )


def _is_open(descriptor: int) -> bool:
    with contextlib.suppress(OSError):
        return bool(os.fstat(descriptor))
    return False


def _below(path: str, folders: Sequence[str]) -> bool:
    return any(path == folder or path.startswith(f"{folder.rstrip('/')}/") for folder in folders)
