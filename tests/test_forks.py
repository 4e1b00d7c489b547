"""Forks: the rows of one process to the last bit, lost forks made good, and nothing left behind."""

import os
import signal
import subprocess
import sys
import textwrap
import time
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch

from rslib import load_prompts, store
from rslib.config import SampleConfig
from rslib.decoding import fitting_threads, forks, forks_for
from rslib.errors import ModelError
from rslib.models import load_policy, load_reward_model
from rslib.sampling import LogprobWarning, sample
from rslib.scoring import reference_logprobs, score
from rslib.stages import Stages
from rslib.tables import fingerprint

CONFIG = SampleConfig(n=2, max_new_tokens=12, seed=3)
linux = pytest.mark.skipif(sys.platform != "linux", reason="forks are made on Linux alone")


@contextmanager
def threads(count):
    """torch as a user has it who sets no OMP_NUM_THREADS."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@pytest.fixture
def two(monkeypatch):
    """Two forks, also on a machine with one core."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 1})
    with threads(2):
        yield


def squares(parts, run, count=2):
    return dict(forks.forked(run, parts, count))


def children():
    return psutil.Process().children()


@linux
def test_two_forks_share_the_parts():
    done = squares(range(5), lambda part: (part**2, os.getpid()))
    assert {number: square for number, (square, _) in done.items()} == {n: n**2 for n in range(5)}
    processes = {pid for _, pid in done.values()}
    assert len(processes) == 2 and os.getpid() not in processes and not children()


@linux
def test_what_a_lost_fork_or_an_error_leaves_undone_is_left_out():
    def run(part):
        if part == 2:
            os._exit(9)  # and 4, of the same fork, is never begun
        if part == 3:
            raise ValueError("odd")
        return part

    assert squares(range(6), run) == {0: 0, 1: 1} and not children()


@linux
def test_an_iterator_that_is_left_early_leaves_no_fork():
    forked = forks.forked(lambda part: time.sleep(60 * part), [0, 1, 0, 1], 2)
    assert next(forked)[0] == 0 and len(children()) == 2
    forked.close()
    assert not children()


@linux
def test_an_interrupt_while_forks_are_made_is_kept_and_leaves_none(monkeypatch):
    fork, made = forks._fork, []

    def interrupted():
        pid = fork()
        if pid:
            made.append(pid)
            os.kill(os.getpid(), signal.SIGINT)
        return pid

    monkeypatch.setattr(forks, "_fork", interrupted)
    with pytest.raises(KeyboardInterrupt):
        squares([0, 1], lambda part: time.sleep(60))
    assert len(made) == 2 and not children()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@linux
def test_a_fork_that_is_refused_leaves_its_parts_out(monkeypatch):
    fork, calls = forks._fork, []

    def second_refused():
        calls.append(1)
        if len(calls) == 2:
            raise BlockingIOError(11, "Resource temporarily unavailable")
        return fork()

    monkeypatch.setattr(forks, "_fork", second_refused)
    assert squares(range(4), abs) == {0: 0, 2: 2} and not children()


@linux
def test_where_somebody_else_waits_for_children_nothing_is_lost():
    before = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    try:
        assert squares(range(4), abs) == {n: n for n in range(4)}
    finally:
        signal.signal(signal.SIGCHLD, before)


@linux
def test_a_killed_parent_leaves_no_fork(tmp_path):
    script = """
        import os, pathlib, sys, time
        from rslib.decoding import forks
        def run(part):
            pathlib.Path(sys.argv[1], str(os.getpid())).touch()
            time.sleep(60)
        list(forks.forked(run, [0, 1], 2))
    """
    (tmp_path / "run.py").write_text(textwrap.dedent(script))
    (tmp_path / "pids").mkdir()
    root = str(Path(__file__).parents[1])
    call = [sys.executable, tmp_path / "run.py", tmp_path / "pids"]
    parent = subprocess.Popen(call, env=os.environ | {"PYTHONPATH": root})
    deadline = time.monotonic() + 60
    while len(os.listdir(tmp_path / "pids")) < 2 and time.monotonic() < deadline:
        time.sleep(0.05)
    left = psutil.Process(parent.pid).children(recursive=True)
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    _, alive = psutil.wait_procs(left, timeout=20)
    assert len(left) == 2 and not alive


@linux
def test_rows_rewards_and_log_probabilities_are_those_of_one_process_to_the_last_bit(two, made):
    policy, reward_model, prompts = (
        load_policy("tiny"),
        load_reward_model("tiny"),
        load_prompts("tiny", "train", 80),
    )
    prints, numbers = set(), []
    for count in (1, 2):
        torch.set_num_threads(count)
        made.clear()
        rows = score(
            reward_model, sample(policy, prompts, config=CONFIG, show_progress=False), show_progress=False
        )
        numbers.append(reference_logprobs(policy, rows))
        prints.add(fingerprint(rows))
        assert len(made) == (0 if count == 1 else 6)  # two forks for each of the three
    assert len(prints) == 1 and np.array_equal(*numbers)


@linux
def test_the_shards_of_a_stage_are_those_of_one_process_to_the_last_bit(two, made, tmp_path):
    prints = set()
    for count in (1, 2):
        torch.set_num_threads(count)
        with store.RunFolder(tmp_path / str(count), show=False) as folder:
            stages = Stages(folder, 4)
            policy, reward_model = (
                stages.models.policy_checkpoint("tiny"),
                stages.models.reward_checkpoint("tiny"),
            )
            drawn = stages.sample(policy, load_prompts("tiny", "train", 8), CONFIG, "drawn")
            prints.add(fingerprint(stages.score(reward_model, drawn, "scored")))
    assert len(prints) == 1 and len(made) == 4  # two forks for each of the two stages


@linux
def test_a_warning_in_a_fork_is_heard(two, made, tmp_path, monkeypatch):
    unlike = {"rows": 2, "tolerance": 0.0, "agree": False}
    monkeypatch.setattr("rslib.sampling.logprobs_agree", lambda policy, responses: unlike)
    with store.RunFolder(tmp_path, show=False) as folder, pytest.warns(LogprobWarning) as heard:
        stages = Stages(folder, 4)
        stages.sample(stages.models.policy_checkpoint("tiny"), load_prompts("tiny", "train", 8), CONFIG)
    assert len(heard) == 4 and made  # one a shard


@pytest.fixture
def made(monkeypatch):
    """The process numbers of all forks."""
    pids, fork = [], forks._fork

    def noting():
        pids.append(fork())
        return pids[-1]

    monkeypatch.setattr(forks, "_fork", noting)
    monkeypatch.setattr("rslib.scoring._WORTH_FORKS", 100)
    return pids


@linux
def test_an_error_in_a_fork_is_met_where_it_is_seen(two, made):
    policy = load_policy("tiny")
    torch.nn.init.constant_(policy.model.lm_head.weight, torch.nan)
    with pytest.raises(ModelError, match="not finite"):
        sample(policy, load_prompts("tiny", "train", 80), config=CONFIG, show_progress=False)
    assert len(made) == 2 and not children()


@linux
def test_little_work_is_done_here(two, made):
    sample(load_policy("tiny"), load_prompts("tiny", "train", 20), config=CONFIG, show_progress=False)
    assert not made


@linux
def test_as_many_forks_as_torch_may_use_threads_and_there_are_cores(monkeypatch):
    model = load_policy("tiny").model
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(4)))
    for count, wanted in ((1, 1), (2, 2), (6, 4)):
        with threads(count):
            assert forks_for(model) == wanted
    monkeypatch.setattr(forks, "is_small", lambda model: False)
    with threads(4):
        assert forks_for(model) == 1


def test_a_small_model_works_on_one_thread_and_gives_the_others_back():
    policy = load_policy("tiny")
    with threads(3):
        with fitting_threads(policy.model):
            assert torch.get_num_threads() == 1
        assert torch.get_num_threads() == 3


def test_rows_do_not_depend_on_the_number_of_threads():
    policy, prints = load_policy("tiny"), set()
    for count in (1, 2, 3):
        with threads(count):
            drawn = sample(policy, load_prompts("tiny", "train", 6), config=CONFIG, show_progress=False)
        prints.add(fingerprint(drawn))
    assert len(prints) == 1


def test_threads_wait_without_spinning_unless_the_user_says_otherwise():
    program = "import os, rslib; print(os.environ['OMP_WAIT_POLICY'])"
    plain = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"}
    for policy in ("PASSIVE", "ACTIVE"):
        given = plain if policy == "PASSIVE" else plain | {"OMP_WAIT_POLICY": policy}
        assert (
            subprocess.check_output([sys.executable, "-c", program], env=given, text=True).strip() == policy
        )
