"""The fallback where bubblewrap cannot work: a docker or podman container for every submission.

Nothing is warm there, so Python and its packages start anew each time. The image needs the environment of the
course; the engine and this package are mounted, read-only.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import socket
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

from autograder.grading.inside.isolate import WORK, Limits
from autograder.grading.sandbox import CONTAINER, COURSE, RESULTS, SUBMISSION_USER, course_files, environment
from rslib.cache import READ
from rslib.errors import ConfigError

ENGINES = ("docker", "podman")


def engine(image: str) -> str:
    """The program that runs containers here. Raises ConfigError where none has the image."""
    for name in ENGINES:
        if shutil.which(name) is None:
            continue
        done = subprocess.run([name, "image", "inspect", image], capture_output=True, timeout=60)
        if done.returncode == 0:
            _without_keys(name, image)
            return name
    fix = "Start docker or podman, build the image (docs/instructor.md), and give its name."
    raise ConfigError(f"no container engine here has the image {image!r}", fix=fix)


LOOK = """
import importlib.util, pathlib
spec = importlib.util.find_spec("autograder")
print(bool(spec) and (pathlib.Path(spec.origin).parent / "keys").exists())
"""


def _without_keys(name: str, image: str) -> None:
    """Raise ConfigError where the image holds the keys: a submission could read them there."""
    call = [name, "run", "--rm", "--network", "none", image, "python", "-P", "-s", "-c", LOOK]
    done = subprocess.run(call, capture_output=True, text=True, timeout=120)
    if done.returncode or "True" in done.stdout:
        what = "holds the keys of the exercises" if "True" in done.stdout else "does not run python"
        fix = "Install the package for learners in it (make learner), not the repository."
        raise ConfigError(f"the image {image!r} {what}", fix=fix)


@dataclass
class ContainerChild:
    """A learner's process in a container; the wire is the container's standard input and output."""

    engine: str
    name: str
    wire: socket.socket
    process: subprocess.Popen

    def end(self) -> str:
        """Take the container away with everything in it."""
        self.wire.close()
        subprocess.run([self.engine, "rm", "-f", self.name], capture_output=True, timeout=120)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(30)
        self.process.kill()
        code = self.process.wait()
        return "more memory than is allowed" if code == 137 else ""


@dataclass
class Containers:
    """Makes a container for each submission. As `Sandbox`, a context manager."""

    modules: Sequence[str]
    image: str
    engine: str
    results: Path | None = None
    isolation: str = CONTAINER

    def __enter__(self) -> Containers:
        return self

    def __exit__(self, *_: object) -> None:
        """Every container was taken away by its child."""

    def spawn(self, limits: Limits, seed: int) -> ContainerChild:
        """Start the container of one submission."""
        wire, theirs = socket.socketpair()
        name = f"submission-{uuid4().hex[:12]}"
        with theirs:
            call = self.command(name, limits, seed)
            process = subprocess.Popen(call, stdin=theirs, stdout=theirs, stderr=subprocess.DEVNULL)
        return ContainerChild(self.engine, name, wire, process)

    def alive(self) -> bool:
        """There is no server that could end."""
        return True

    def command(self, name: str, limits: Limits, seed: int) -> list[str]:
        """The whole command: no network, no rights, nothing to write on but bounded memory."""
        command = [self.engine, "run", "--rm", "-i", "--name", name]
        command += ["--network", "none", "--read-only", "--cap-drop", "ALL"]
        command += ["--security-opt", "no-new-privileges", "--pids-limit", str(limits.processes)]
        command += ["--memory", str(limits.memory), "--memory-swap", str(limits.memory), "--cpus", "1"]
        command += ["--user", f"{SUBMISSION_USER}:{SUBMISSION_USER}"]
        command += ["--ipc", "private", "--hostname", "submission"]
        command += ["--shm-size", str(limits.disk // 4), "--workdir", WORK]
        for mount_point in (WORK, "/tmp"):
            command += ["--tmpfs", f"{mount_point}:rw,nosuid,nodev,size={limits.disk},mode=1777"]
        for key, value in environment(COURSE, f"{WORK}/.home").items():
            command += [] if key == "PATH" else ["--env", f"{key}={value}"]
        for source, target in course_files():
            command += ["--volume", f"{source}:{COURSE}/{target}:ro"]
        if self.results:
            command += ["--volume", f"{self.results}:{RESULTS}:ro", "--env", f"{READ}={RESULTS}"]
        once = json.dumps({"limits": limits.plain(), "seed": seed})
        program = ["python", "-P", "-s", "-m", "autograder.grading.inside.server", "once", once]
        return [*command, self.image, *program, ",".join(self.modules)]
