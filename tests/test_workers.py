"""Worker processes: the rows of one process, lost workers replaced, and nothing left behind."""

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import psutil
import pytest
import torch

from rslib import load_prompts, store
from rslib.config import SampleConfig
from rslib.decoding import fitting_threads
from rslib.errors import DataError
from rslib.models import load_policy
from rslib.sampling import sample
from rslib.stages import Models, ModelWork, Stages
from rslib.tables import fingerprint
from rslib.workers import Workers
from tests.fake_work import deadly, failing, noted

CONFIG = SampleConfig(n=2, max_new_tokens=12, seed=3)


def work(function, **settings):
    return ModelWork(Models(), "policy", "tiny", function, settings)


@pytest.fixture(scope="module")
def parts():
    return dict(enumerate(store.cut(load_prompts("tiny", "train", 6), 1)))


@pytest.fixture(scope="module")
def two():
    """Two workers that start at once."""
    return Workers(2, start_up=0)


def test_two_workers_share_the_parts_and_keep_their_models(two, parts, tmp_path):
    done = {n: table for n, table, _ in two.each(work(noted, folder=tmp_path), parts)}
    assert {n: fingerprint(table) for n, table in done.items()} == {
        n: fingerprint(p) for n, p in parts.items()
    }
    processes = {path.name.split("-")[-2] for path in tmp_path.iterdir()}
    assert str(os.getpid()) in processes or len(processes) == 2  # the first part may be this process's


def test_the_rows_are_those_of_one_process_to_the_last_bit(two, tmp_path):
    prints = set()
    for each in (store.in_turn, two.each):
        with store.RunFolder(tmp_path / str(len(prints)), show=False) as folder:
            stages = Stages(folder, 4, each=each)
            policy, reward_model = (
                stages.models.policy_checkpoint("tiny"),
                stages.models.reward_checkpoint("tiny"),
            )
            drawn = stages.sample(policy, load_prompts("tiny", "train", 8), CONFIG, "drawn")
            prints.add(fingerprint(stages.score(reward_model, drawn, "scored")))
    assert len(prints) == 1


def test_an_error_of_the_work_comes_back_as_it_is(two, parts):
    with pytest.raises(DataError, match="cannot be worked on"):
        list(two.each(work(failing), parts))


@pytest.mark.long
def test_a_lost_worker_is_replaced_and_its_part_done_again(parts, tmp_path, capsys):
    workers = Workers(2, start_up=0)
    done = dict(
        (n, table) for n, table, _ in workers.each(work(deadly, folder=tmp_path, safe=os.getpid()), parts)
    )
    assert sorted(done) == sorted(parts)
    assert "a worker process was lost" in capsys.readouterr().out


def test_little_work_starts_no_process(parts, tmp_path):
    list(Workers(2, start_up=60).each(work(noted, folder=tmp_path), parts))
    assert {path.name.split("-")[-2] for path in tmp_path.iterdir()} == {str(os.getpid())}


@pytest.mark.long
def test_a_killed_parent_leaves_no_worker_behind(tmp_path):
    script = f"""
        import functools, pathlib, sys
        from rslib import load_prompts, store
        from rslib.workers import Workers
        from tests.test_workers import work
        from tests.fake_work import noted
        if __name__ == "__main__":
            parts = dict(enumerate(store.cut(load_prompts("tiny", "train", 400), 1)))
            slow = work(noted, folder=pathlib.Path({str(tmp_path)!r}))
            list(Workers(2, start_up=0).each(slow, parts))
    """
    (tmp_path / "run.py").write_text(textwrap.dedent(script))
    root = str(Path(__file__).parents[1])
    parent = subprocess.Popen([sys.executable, tmp_path / "run.py"], env=os.environ | {"PYTHONPATH": root})
    deadline = time.monotonic() + 90
    while len({p.name.split("-")[-2] for p in tmp_path.glob("*-*")}) < 3 and time.monotonic() < deadline:
        time.sleep(0.1)
    children = psutil.Process(parent.pid).children(recursive=True)
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    _, alive = psutil.wait_procs(children, timeout=20)
    assert children and not alive


def test_a_small_model_works_on_one_thread_and_gives_the_others_back():
    policy, before = load_policy("tiny"), torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        with fitting_threads(policy.model):
            assert torch.get_num_threads() == 1
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)


def test_rows_do_not_depend_on_the_number_of_threads():
    policy, before, prints = load_policy("tiny"), torch.get_num_threads(), set()
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            drawn = sample(policy, load_prompts("tiny", "train", 6), config=CONFIG, show_progress=False)
            prints.add(fingerprint(drawn))
    finally:
        torch.set_num_threads(before)
    assert len(prints) == 1


def test_threads_wait_without_spinning_unless_the_user_says_otherwise():
    program = "import os, rslib; print(os.environ['OMP_WAIT_POLICY'])"
    plain = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"}
    for policy in ("PASSIVE", "ACTIVE"):
        given = plain if policy == "PASSIVE" else plain | {"OMP_WAIT_POLICY": policy}
        assert (
            subprocess.check_output([sys.executable, "-c", program], env=given, text=True).strip() == policy
        )
