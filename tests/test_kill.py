"""SIGKILL at any moment, the same command again: the same report and checkpoints, no shard done twice."""

import json
import multiprocessing
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from rslib.__main__ import main

ROOT = Path(__file__).parents[1]
FAST = [
    "--prompts",
    "12",
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
    "--max-new-tokens",
    "32",
    "--eval-max-new-tokens",
    "32",
]


FORKS = multiprocessing.get_context("forkserver")  # the imports are done once, every run is a fresh process
FORKS.set_forkserver_preload(
    ["rslib.__main__", "rslib.pipeline", "rslib.sampling", "rslib.finetuning", "rslib.page"]
)


def command(out, options):
    return ["run", "--policy", "tiny", "--seed", "0", *options, "--out", str(out)]


def quiet_main(arguments, errors):
    """The command in this process, its output put away."""
    for descriptor, path in ((1, os.devnull), (2, errors)):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND), descriptor)
    sys.exit(main(arguments))


def fork(out, options):
    process = FORKS.Process(target=quiet_main, args=(command(out, options), f"{out}.errors"))
    process.start()
    return process


class Shell:
    """The command as a user types it, with the interface of a multiprocessing.Process."""

    def __init__(self, out, options):
        self.errors = open(f"{out}.errors", "ab")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "rslib", *command(out, options)],
            cwd=ROOT,
            stdout=subprocess.DEVNULL,
            stderr=self.errors,
        )
        self.pid = self.process.pid

    def is_alive(self):
        return self.process.poll() is None

    def join(self):
        self.process.wait()
        self.errors.close()

    @property
    def exitcode(self):
        return self.process.returncode


def complete(out, options, start):
    process = start(out, options)
    process.join()
    assert process.exitcode == 0 and Path(f"{out}.errors").read_text() == ""


def results(out):
    """The report without its wall-clock, and every file that a stage finished."""
    report = json.loads((out / "report.json").read_text())
    kept = {}
    for path in sorted(out.rglob("*")):
        model = path.parent.name.startswith("finetune-") and path.name != "stage.json"
        if path.is_file() and (path.suffix == ".arrow" or model):
            kept[path.relative_to(out).as_posix()] = path.read_bytes()
    return timeless(report), kept


def timeless(value):
    if isinstance(value, dict):
        return {k: timeless(v) for k, v in value.items() if k != "seconds"}
    return [timeless(v) for v in value] if isinstance(value, list) else value


def finished(out):
    """Finished shards and checkpoint folders with their birth: inode and time of writing."""
    # os.walk passes over a folder that the run renames meanwhile; Path.rglob would raise.
    files = [Path(folder, name) for folder, _, names in os.walk(out) for name in names]
    pieces = [path for path in files if path.match("shard-*.arrow") or path.match("finetune-*/stage.json")]
    pieces = [path for path in pieces if "rslib-tmp" not in path.as_posix()]
    return {
        path.relative_to(out).as_posix(): (path.stat().st_ino, path.stat().st_mtime_ns) for path in pieces
    }


def kill_when(out, options, start, ready):
    """Start the run, kill it when `ready()`; what was finished before is there, untouched, afterwards."""
    before = finished(out)
    process = start(out, options)
    while process.is_alive() and not ready():
        time.sleep(0.01)
    alive = process.is_alive()
    if alive:
        os.kill(process.pid, signal.SIGKILL)
    process.join()
    assert before.items() <= finished(out).items(), "a finished shard was lost or redone"
    return alive


def same_in_the_end(out, whole, options, start):
    """The last start finishes the run without doing anything twice, and ends where the whole run ended."""
    before = finished(out)
    complete(out, options, start)
    assert before.items() <= finished(out).items(), "a finished shard was redone"
    assert results(out) == results(whole)


@pytest.mark.long
def test_a_killed_run_ends_in_the_same_bytes_as_one_that_was_left_alone(tmp_path):
    complete(tmp_path / "whole", FAST, fork)
    out = tmp_path / "killed"
    for count in (2, 9, 20):  # in the first sampling, before the first checkpoint, and in the second round
        assert kill_when(out, FAST, fork, lambda count=count: len(finished(out)) >= count)
    same_in_the_end(out, tmp_path / "whole", FAST, fork)


@pytest.mark.slow
def test_twenty_kills_at_random_moments_change_nothing(tmp_path):
    options = os.environ.get("RSLIB_KILL_RUN", "--prompts 64 --n 8 --rounds 2 --eval-prompts 64").split()
    complete(tmp_path / "whole", options, Shell)
    draw, out, kills = random.Random(int(os.environ.get("RSLIB_KILL_SEED", "0"))), tmp_path / "killed", []
    for _ in range(20):
        target, extra = len(finished(out)) + draw.randrange(0, 3), draw.random()
        reached: list[float] = []

        def ready(target=target, extra=extra, reached=reached):
            # Up to a second after some of the next pieces are finished.
            if not reached and len(finished(out)) >= target and (out / "run.json").exists():
                reached.append(time.monotonic())
            return bool(reached) and time.monotonic() - reached[0] >= extra

        kills.append(kill_when(out, options, Shell, ready) and len(finished(out)))
    same_in_the_end(out, tmp_path / "whole", options, Shell)
    print(f"finished pieces at each kill (False: the run had ended before): {kills}")
