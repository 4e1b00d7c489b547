"""Linux's own protections, called directly: namespaces, mounts, limits, rights, a filter of system calls.

`bubblewrap` shuts a whole fork server in; each learner's process is then shut in once more, by this module,
with namespaces of its own. Only the standard library is used here: it runs before anything else.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import platform
import resource
import shutil
import struct
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

LIBC = ctypes.CDLL(None, use_errno=True)
NEW_NS, NEW_UTS, NEW_IPC, NEW_USER, NEW_PID, NEW_NET = (
    0x00020000,
    0x04000000,
    0x08000000,
    0x10000000,
    0x20000000,
    0x40000000,
)
ALL_NEW = NEW_NS | NEW_UTS | NEW_IPC | NEW_USER | NEW_PID | NEW_NET
READ_ONLY, NOSUID, NODEV, NOEXEC, REMOUNT, BIND, MOVE, REC, PRIVATE = (
    1,
    2,
    4,
    8,
    32,
    4096,
    8192,
    16384,
    1 << 18,
)
PDEATHSIG, DUMPABLE, SECCOMP, CAPBSET_DROP, SUBREAPER, NO_NEW_PRIVS = 1, 4, 22, 24, 36, 38
WORK = "/submission"
"""The learner's own folder: a file system in memory that ends with the process."""
SETTINGS = "settings"
"""What the server itself keeps in /tmp."""


@dataclass(frozen=True)
class Limits:
    """What one submission may use. Bytes and seconds; `outputs` are the bytes of output kept of one cell."""

    memory: int = 3 << 30
    disk: int = 512 << 20
    file: int = 256 << 20
    processes: int = 96
    files: int = 256
    cell_seconds: float = 600.0
    total_seconds: float = 1800.0
    outputs: int = 100_000
    images: int = 1_500_000

    def plain(self) -> dict[str, Any]:
        """The limits as JSON."""
        return asdict(self)


def _check(result: int, what: str) -> None:
    if result != 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{what}: {os.strerror(code)}")


def mount(source: str, target: str, kind: str = "", flags: int = 0, options: str = "") -> None:
    """The system call mount. Raises OSError."""
    words = [word.encode() if word else None for word in (source, target, kind)]
    _check(LIBC.mount(*words, flags, options.encode() or None), f"mount {target}")


def prctl(option: int, value: int = 0) -> None:
    """The system call prctl. Raises OSError."""
    _check(LIBC.prctl(option, value, 0, 0, 0), f"prctl {option}")


def new_namespaces(flags: int = ALL_NEW) -> None:
    """Leave the namespaces of the parent; the next child is process 1 of its own. Raises OSError."""
    user, group = os.getuid(), os.getgid()
    _check(LIBC.unshare(flags), "unshare")
    for name, text in (
        ("setgroups", "deny"),
        ("uid_map", f"{user} {user} 1"),
        ("gid_map", f"{group} {group} 1"),
    ):
        Path(f"/proc/self/{name}").write_text(text)


def own_file_systems(disk: int) -> list[str]:
    """A mount namespace with fresh WORK, /tmp, /dev/shm and /proc; those of them that hold files in memory.

    Everything else is what the outer sandbox left, read-only. The parent keeps its mounts: its /proc must
    go on showing this process. Raises OSError.
    """
    _check(LIBC.unshare(NEW_NS), "unshare")
    mount("none", "/", flags=REC | PRIVATE)
    outer, bound = os.readlink("/proc/self"), os.open("/tmp", os.O_PATH)
    for target, size in ((WORK, disk), ("/tmp", disk // 4), ("/dev/shm", disk // 4)):
        mount("tmpfs", target, "tmpfs", NOSUID | NODEV, f"size={size},nr_inodes=20000,mode=755")
    _show_again(f"/proc/self/fd/{bound}", "/tmp")
    os.close(bound)
    try:
        mount("proc", "/proc", "proc", NOSUID | NODEV | NOEXEC)
    except OSError:  # where the outer /proc is partly covered, the kernel refuses a whole one
        _small_proc(outer)
    with contextlib.suppress(OSError):  # reads the same, but cannot be mapped as memory that nobody counts
        mount("/dev/full", "/dev/zero", flags=BIND)
    for name in ("tmp", "home"):
        os.mkdir(f"{WORK}/.{name}", 0o700)
    os.chdir(WORK)
    return [WORK, "/tmp", "/dev/shm"]


def _show_again(before: str, after: str) -> None:
    """Folders of a covered folder, read-only: Python may lie in /tmp. SETTINGS are the server's alone."""
    for name in set(os.listdir(before)) - {SETTINGS}:
        os.mkdir(f"{after}/{name}")
        mount(f"{before}/{name}", f"{after}/{name}", flags=BIND | REC)
        mount("none", f"{after}/{name}", flags=REMOUNT | BIND | READ_ONLY | NOSUID | NODEV)


def _small_proc(outer: str) -> None:
    """A /proc of this process and a few facts of the machine."""
    scratch = Path(WORK, ".proc")
    scratch.mkdir()
    mount("tmpfs", str(scratch), "tmpfs", NOSUID | NODEV | NOEXEC, "size=1m,mode=755")
    for name in ("cpuinfo", "meminfo", "stat", "version"):
        with contextlib.suppress(OSError):
            shutil.copyfile(f"/proc/{name}", scratch / name)
    (scratch / "self").mkdir()
    mount(f"/proc/{outer}", str(scratch / "self"), flags=BIND)
    mount(str(scratch), "/proc", flags=MOVE)


def own_limits(limits: Limits) -> None:
    """Bounds that the kernel keeps for each process of the learner's.

    Where the machine runs out of memory, these processes are the first to go, not the grader.
    """
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    room = pages * resource.getpagesize() + limits.memory + (1 << 30)
    seconds = int(limits.total_seconds) + 5
    for kind, value in (
        (resource.RLIMIT_AS, room),
        (resource.RLIMIT_NPROC, limits.processes),
        (resource.RLIMIT_NOFILE, limits.files),
        (resource.RLIMIT_FSIZE, limits.file),
        (resource.RLIMIT_CPU, seconds),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_MEMLOCK, 1 << 20),
        (resource.RLIMIT_MSGQUEUE, 0),
    ):
        with contextlib.suppress(ValueError):  # where less was allowed already, that stays
            resource.setrlimit(kind, (value, value))


def drop_rights() -> None:
    """No capability is left, and none comes back."""
    for number in range(64):
        LIBC.prctl(CAPBSET_DROP, number, 0, 0, 0)
    header, nothing = struct.pack("Ii", 0x20080522, 0), bytes(24)
    _check(LIBC.syscall(_NUMBERS[platform.machine()]["capset"], header, nothing), "capset")
    prctl(NO_NEW_PRIVS, 1)


def shut_in(limits: Limits) -> None:
    """Limits, no rights, filtered calls: the protections that need no namespace. Raises OSError."""
    own_limits(limits)
    drop_rights()
    filter_calls()


# The filter of system calls ---------------------------------------------------------------------------------

_X86 = """
capset=126 ptrace=101 syslog=103 mount=165 umount2=166 swapon=167 swapoff=168 reboot=169 pivot_root=155
chroot=161 acct=163 settimeofday=164 adjtimex=159 sethostname=170 setdomainname=171 iopl=172 ioperm=173
init_module=175 delete_module=176 quotactl=179 add_key=248 request_key=249 keyctl=250 unshare=272
kexec_load=246 clock_settime=227 clock_adjtime=305 perf_event_open=298 fanotify_init=300
name_to_handle_at=303 open_by_handle_at=304 setns=308 process_vm_readv=310 process_vm_writev=311 kcmp=312
finit_module=313 memfd_create=319 kexec_file_load=320 bpf=321 userfaultfd=323 memfd_secret=447
prctl=157 mmap=9 sched_setaffinity=203
shmget=29 shmat=30 msgget=68 semget=64 mq_open=240 io_uring_setup=425 io_uring_enter=426
io_uring_register=427 open_tree=428 move_mount=429 fsopen=430 fsconfig=431 fsmount=432 fspick=433
pidfd_getfd=438 mount_setattr=442 quotactl_fd=443 landlock_create_ruleset=444 personality=135
clone=56 clone3=435 socket=41
"""
_ARM = """
capset=91 ptrace=117 syslog=116 mount=40 umount2=39 swapon=224 swapoff=225 reboot=142 pivot_root=41
chroot=51 acct=89 settimeofday=170 adjtimex=171 sethostname=161 setdomainname=162
init_module=105 delete_module=106 quotactl=60 add_key=217 request_key=218 keyctl=219 unshare=97
kexec_load=104 clock_settime=112 clock_adjtime=266 perf_event_open=241 fanotify_init=262
name_to_handle_at=264 open_by_handle_at=265 setns=268 process_vm_readv=270 process_vm_writev=271 kcmp=272
finit_module=273 memfd_create=279 kexec_file_load=294 bpf=280 userfaultfd=282 memfd_secret=447
prctl=167 mmap=222 sched_setaffinity=122
shmget=194 shmat=196 msgget=186 semget=190 mq_open=180 io_uring_setup=425 io_uring_enter=426
io_uring_register=427 open_tree=428 move_mount=429 fsopen=430 fsconfig=431 fsmount=432 fspick=433
pidfd_getfd=438 mount_setattr=442 quotactl_fd=443 landlock_create_ruleset=444 personality=92
clone=220 clone3=435 socket=198
"""


def _table(text: str) -> dict[str, int]:
    return {name: int(number) for name, number in (pair.split("=") for pair in text.split())}


_NUMBERS = {"x86_64": _table(_X86), "aarch64": _table(_ARM)}
_ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
_SPECIAL = ("capset", "clone", "clone3", "socket", "prctl", "mmap")
LOAD, EQUAL, SET, RETURN, AND = 0x20, 0x15, 0x45, 0x06, 0x54
ALLOW, KILL, DENY = 0x7FFF0000, 0x80000000, 0x00050000
EPERM, ENOSYS, EAFNOSUPPORT = 1, 38, 97
UNNAMED = 0x21
"""MAP_SHARED and MAP_ANONYMOUS: memory that stays when its pages are unmapped, and that nobody can count."""
FAMILIES = (1, 2, 10)
"""unix, inet, inet6: the last two reach nothing in a network namespace that has no device."""


def _instruction(code: int, value: int, yes: int = 0, no: int = 0) -> bytes:
    return struct.pack("HBBI", code, yes, no, value)


def filter_program(machine: str) -> bytes:
    """A BPF program that refuses what no notebook needs: mounts, namespaces, tracing, keys, io_uring.

    Refused calls fail with EPERM, `clone3` with ENOSYS (its flags cannot be read; libc then uses `clone`);
    calls of another architecture end the process. Asking not to end with the supervisor changes nothing;
    memory can be shared by files alone, which are counted. Raises OSError for a machine whose numbers are
    not known.
    """
    if machine not in _NUMBERS:
        raise OSError(f"no table of system calls for {machine}")
    numbers = _NUMBERS[machine]
    program = [_instruction(LOAD, 4), _instruction(EQUAL, _ARCH[machine], 1, 0), _instruction(RETURN, KILL)]
    program.append(_instruction(LOAD, 0))
    if machine == "x86_64":  # the x32 numbers would slip past the list
        program += [_instruction(SET, 0x40000000, 0, 1), _instruction(RETURN, KILL)]
    for name, number in numbers.items():
        if name not in _SPECIAL:
            program += [_instruction(EQUAL, number, 0, 1), _instruction(RETURN, DENY | EPERM)]
    program += [_instruction(EQUAL, numbers["clone3"], 0, 1), _instruction(RETURN, DENY | ENOSYS)]
    program += [_instruction(EQUAL, numbers["clone"], 0, 4), _instruction(LOAD, 16)]
    program += [_instruction(SET, ALL_NEW | 0x02000000, 0, 1), _instruction(RETURN, DENY | EPERM)]
    program.append(_instruction(RETURN, ALLOW))
    program += [
        _instruction(EQUAL, numbers["mmap"], 0, 5),
        _instruction(LOAD, 40),
        _instruction(AND, UNNAMED),
    ]
    program += [_instruction(EQUAL, UNNAMED, 0, 1), _instruction(RETURN, DENY | EPERM)]
    program.append(_instruction(RETURN, ALLOW))
    program += [_instruction(EQUAL, numbers["prctl"], 0, 4), _instruction(LOAD, 16)]
    program += [_instruction(EQUAL, PDEATHSIG, 0, 1), _instruction(RETURN, DENY | 0)]  # "done", but it is not
    program.append(_instruction(RETURN, ALLOW))
    program += [_instruction(EQUAL, numbers["socket"], 1, 0), _instruction(RETURN, ALLOW)]
    program.append(_instruction(LOAD, 16))
    for index, family in enumerate(FAMILIES):  # a jump over the families that are left and the refusal
        program.append(_instruction(EQUAL, family, len(FAMILIES) - index, 0))
    program += [_instruction(RETURN, DENY | EAFNOSUPPORT), _instruction(RETURN, ALLOW)]
    return b"".join(program)


def filter_calls() -> None:
    """Install the filter for this process and all that come from it. Raises OSError."""
    program = filter_program(platform.machine())
    buffer = ctypes.create_string_buffer(program, len(program))
    head = struct.pack("HxxxxxxQ", len(program) // 8, ctypes.addressof(buffer))
    _check(LIBC.prctl(SECCOMP, 2, ctypes.create_string_buffer(head, len(head)), 0, 0), "seccomp")
