"""The one exception tree of rslib: every message says what happened, where, and what to do."""

from __future__ import annotations

import errno
import re
from functools import partial


class RSError(Exception):
    """Base of all errors that rslib raises on purpose.

    `what` is the fact, `where` the place (file, row, prompt), `fix` what to do about it.

    >>> print(RSError("n is 0", where="SampleConfig.n", fix="Use n >= 1."))
    n is 0
      where: SampleConfig.n
      what to do: Use n >= 1.
    """

    def __init__(self, what: str, *, where: str = "", fix: str = "") -> None:
        self.what, self.where, self.fix = what, where, fix
        lines = [what]
        lines += [f"  where: {where}"] if where else []
        lines += [f"  what to do: {fix}"] if fix else []
        super().__init__("\n".join(lines))

    def __reduce__(self) -> tuple:
        # Exceptions cross process borders by pickling; the keyword arguments must survive.
        return partial(type(self), self.what, where=self.where, fix=self.fix), ()


class ConfigError(RSError):
    """A setting is out of range, unknown, or contradicts another."""


class DataError(RSError):
    """A table lacks a column, breaks an invariant, or is empty."""


class RewardError(RSError):
    """Rewards are missing, NaN or infinite."""


class ModelError(RSError):
    """A model folder cannot be loaded, or the loaded model cannot do what is asked of it."""


class StoreError(RSError):
    """The run folder cannot be read or written, or what it holds was changed."""


class BudgetError(RSError):
    """Memory or a budget ran out (a full disk is a StoreError)."""


_FULL = ("no disk space left", "Free some space or choose another folder, then run again.")
_CLOSED = ("the folder cannot be written or read", "Change its permissions or choose another.")
_OS_FIX = {
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT, errno.EFBIG), _FULL),
    **dict.fromkeys((errno.EROFS, errno.EACCES, errno.EPERM), _CLOSED),
    errno.ENOENT: ("no such file or folder", "Check the path for spelling."),
    errno.ENOTDIR: ("part of the path is a file, not a folder", "Choose another folder or remove that file."),
    errno.EISDIR: ("the path is a folder, not a file", "Name a file."),
    errno.EEXIST: ("something of that name already exists", "Choose another name or remove it."),
    errno.EMFILE: ("too many files are open", "Close other programs or raise `ulimit -n`, then run again."),
}
_OTHER = ("the operating system refused", "Check the path and the disk, then run again.")


def os_error_number(err: BaseException) -> int | None:
    """The errno of `err`, also where a library carries it in the message alone (safetensors, Arrow).

    >>> os_error_number(RuntimeError("I/O error: No space left on device (os error 28)"))
    28
    """
    number = getattr(err, "errno", None)
    if isinstance(number, int):
        return number
    match = re.search(r"(?:os error|errno) (\d+)", str(err), flags=re.IGNORECASE)
    return int(match.group(1)) if match else None


def translate_os_error(err: BaseException, where: str) -> StoreError:
    """A StoreError that says what the operating system refused at `where` and what to do about it.

    Use as `raise translate_os_error(err, where=str(path)) from err`.

    >>> print(translate_os_error(OSError(28, "No space left on device"), "runs/x"))
    no disk space left (No space left on device)
      where: runs/x
      what to do: Free some space or choose another folder, then run again.
    """
    number = os_error_number(err)
    detail = getattr(err, "strerror", None) or str(err) or type(err).__name__
    what, fix = _OS_FIX.get(number, _OTHER)
    return StoreError(f"{what} ({detail})", where=where, fix=fix)


def is_out_of_memory(err: BaseException) -> bool:
    """True for the errors by which Python and torch, on a CPU or a GPU, say that memory ran out.

    >>> is_out_of_memory(RuntimeError("CUDA out of memory.")), is_out_of_memory(OSError())
    (True, False)
    """
    text = str(err).lower()
    says_so = "out of memory" in text or "allocate memory" in text
    return isinstance(err, MemoryError) or (isinstance(err, RuntimeError) and says_so)
