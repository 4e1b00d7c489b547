"""SIGKILL at any moment, the same command again: the same report and checkpoints, no shard done twice."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FAST = [
    "--prompts",
    "24",
    "--n",
    "4",
    "--rounds",
    "2",
    "--epochs",
    "1",
    "--eval-prompts",
    "8",
    "--eval-samples-per-prompt",
    "2",
    "--shard-responses",
    "16",
]


def start(out, options):
    command = [
        sys.executable,
        "-m",
        "rslib",
        "run",
        "--policy",
        "tiny",
        "--seed",
        "0",
        *options,
        "--out",
        str(out),
    ]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def complete(out, options):
    process = start(out, options)
    _, errors = process.communicate()
    assert process.returncode == 0 and errors == b"", errors.decode()


def results(out):
    """The report without its wall-clock, and every file that a stage finished."""
    report = json.loads((out / "report.json").read_text())
    kept = {}
    for path in sorted(out.rglob("*")):
        if path.is_file() and path.suffix in (".arrow", ".safetensors"):
            kept[path.relative_to(out).as_posix()] = path.read_bytes()
    return timeless(report), kept


def timeless(value):
    if isinstance(value, dict):
        return {k: timeless(v) for k, v in value.items() if k != "seconds"}
    return [timeless(v) for v in value] if isinstance(value, list) else value


def finished(out):
    """Finished shards and checkpoint folders with their birth: inode and time of writing."""
    found = [*out.rglob("shard-*.arrow"), *out.rglob("finetune-*/stage.json")]
    found = [path for path in found if "rslib-tmp" not in path.as_posix()]
    return {path.relative_to(out).as_posix(): (path.stat().st_ino, path.stat().st_mtime_ns) for path in found}


def kill_when(out, options, ready):
    """Start the run, kill it when `ready()`; what was finished before has to be there, untouched, afterwards."""
    before = finished(out)
    process = start(out, options)
    while process.poll() is None and not ready():
        time.sleep(0.01)
    alive = process.poll() is None
    if alive:
        os.kill(process.pid, signal.SIGKILL)
    process.wait()
    process.stderr.close()
    after = finished(out)
    assert before.items() <= after.items(), "a finished shard was lost or redone"
    return alive


def test_a_killed_run_ends_in_the_same_bytes_as_one_that_was_left_alone(tmp_path):
    complete(tmp_path / "whole", FAST)
    out = tmp_path / "killed"
    for count in (3, 13):  # in the first sampling, and somewhere behind it
        assert kill_when(out, FAST, lambda count=count: len(finished(out)) >= count)
    before = finished(out)
    complete(out, FAST)
    assert before.items() <= finished(out).items(), "a finished shard was redone"
    assert results(out) == results(tmp_path / "whole")


@pytest.mark.slow
def test_twenty_kills_at_random_moments_change_nothing(tmp_path):
    options = os.environ.get("RSLIB_KILL_RUN", "--prompts 64 --n 8 --rounds 2 --eval-prompts 64").split()
    complete(tmp_path / "whole", options)
    draw, out, kills = random.Random(int(os.environ.get("RSLIB_KILL_SEED", "0"))), tmp_path / "killed", 0
    for _ in range(20):
        # A moment after start-up: up to a second after the next finished piece, or while nothing is finished
        # yet.
        target, extra = len(finished(out)) + draw.randrange(0, 4), draw.random()
        reached: list[float] = []

        def ready(target=target, extra=extra, reached=reached):
            if len(finished(out)) >= target and (out / "run.json").exists():
                reached.append(time.monotonic())
            return bool(reached) and time.monotonic() - reached[0] >= extra

        kills += kill_when(out, options, ready)
    before = finished(out)
    complete(out, options)
    assert before.items() <= finished(out).items(), "a finished shard was redone"
    assert results(out) == results(tmp_path / "whole")
    print(f"{kills} kills of 20 met a running process")
