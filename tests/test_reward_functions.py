"""A function in the place of a reward model: what it is called with, what is refused, what is kept."""

import asyncio
import functools
import json
import os
import re
import subprocess
import sys
import threading
import time
from pathlib import Path

import fake_rewards
import numpy as np
import pytest
import torch
from datasets import Dataset

import rslib
from rslib import reward_functions, rl
from rslib.__main__ import main
from rslib.code_facts import facts_of
from rslib.errors import ConfigError, RewardError
from rslib.prompts import load_prompts
from rslib.reward_functions import RewardFunction, load_reward_function

TEXTS = ["a b", "a", "a b c", "", "d e", "a b"]


@pytest.fixture(autouse=True)
def nothing_known(monkeypatch):
    monkeypatch.setattr(reward_functions, "_rewards", {})
    monkeypatch.setattr(reward_functions, "_repeatable", set())


def table(texts=TEXTS, **columns):
    rows = [
        {"prompt_id": f"p{n // 2}", "prompt": f"Question {n // 2}?", "sample_id": n % 2, "response": text}
        for n, text in enumerate(texts)
    ]
    made = Dataset.from_list(rows)
    for name, values in columns.items():
        made = made.add_column(name, values)
    return made


def scored(function, responses=None):
    return rslib.score(function, responses or table(), show_progress=False)["reward"][:]


# What it is called with


def test_each_row_is_asked_alone_with_the_reference_of_its_prompt():
    references = ["a b", "x", "a b c", "x", "d e", "x"]
    assert scored(fake_rewards.exact, table(reference=references)) == [1, 0, 1, 0, 1, 0]
    assert scored(lambda prompt, response, reference: reference is None) == [1.0] * 6


@pytest.mark.parametrize(
    "function",
    [
        lambda prompt, response: len(response.split()),
        lambda p, r, f: np.float32(len(r.split())),
        lambda prompt, response, weight=1.0: weight * len(response.split()),
        lambda *values: len(values[1].split()),
        functools.partial(lambda scale, prompt, response: scale * len(response.split()), 1),
        RewardFunction(fake_rewards.length),
        type("Words", (), {"__call__": lambda self, prompt, response, **more: len(response.split())})(),
    ],
)
def test_functions_partials_and_objects_are_called_alike(function):
    assert scored(function) == [2, 1, 3, 0, 2, 2]


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda p: 1.0, "cannot be called with a prompt and a response"),
        (lambda prompts, completions, **columns: [], r"takes lists(.|\n)*\[response\]\)\[0\]"),
        (lambda completions, answer: [], "takes lists"),
        (lambda response, reference: 1.0, "in another order"),
        (lambda reference, prompt, response: 1.0, "in another order"),
        (lambda prompt, response, *, tolerance: 1.0, "cannot be called"),
        (fake_rewards.asynchronous, r"asynchronous: it returns no number(.|\n)*asyncio\.run"),
        (functools.partial(fake_rewards.asynchronous), "asynchronous"),
        (fake_rewards.Asynchronous(), "Asynchronous is asynchronous"),
        ("tiny", "a str can score nothing"),
        (None, "a NoneType can score nothing"),
        (1.0, "a float can score nothing"),
    ],
)
def test_another_signature_is_refused_before_anything_is_asked(function, message):
    with pytest.raises((ConfigError, RewardError), match=message):
        scored(function)


# What it gives


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        (float("nan"), "returned nan"),
        (-float("inf"), "returned -inf"),
        ("0.5", "returned '0.5'"),
        (None, "returned None"),
        (torch.tensor(1.0), "returned Tensor"),
        (np.ones(2), "returned ndarray"),
        ([1.0], "returned list"),
        (1j, "returned complex"),
        (10**400, "raised OverflowError"),
    ],
)
def test_what_is_no_finite_number_is_an_error_that_names_function_prompt_and_response(given, shown):
    with pytest.raises(RewardError, match=shown) as caught:
        scored(RewardFunction(lambda prompt, response: given, version="1"))
    assert "lambda" in caught.value.where and "'Question 0?'" in caught.value.where
    assert "prompt_id 'p0', sample_id 0" in caught.value.where and "'a b'" in caught.value.where


def test_an_exception_is_named_with_its_line_and_what_was_scored_is_kept():
    calls = []

    def breaks(prompt, response):
        calls.append(response)
        if response == "d e" and len(calls) < 20:
            raise ValueError("no number in here")
        return 1.0

    function = RewardFunction(breaks, version="1")
    with pytest.raises(RewardError, match=r"raised ValueError: no number in here \(test_rew.*, line \d+\)"):
        scored(function, table(TEXTS[:3] + ["e"] * 3 + TEXTS[3:]))
    before = len(calls)
    calls += [""] * 20
    assert scored(function, table(TEXTS[:3] + ["e"] * 3 + TEXTS[3:])) == [1.0] * 9
    again = calls[before + 20 :]
    assert "a" not in again and "a b c" not in again  # the rows before the one that failed


class Mute(Exception):
    def __str__(self):
        raise ValueError("no text")


@pytest.mark.parametrize(
    ("error", "shown"),
    [
        (asyncio.CancelledError("late"), "raised CancelledError: late"),
        (GeneratorExit(), "raised GeneratorExit"),
        (StopIteration("end"), "raised StopIteration: end"),
        (Mute(), r"raised Mute: \(its text cannot be read\)"),
        (ValueError("y" * 10**6), r"raised ValueError: y{500} \.\.\. \("),
    ],
)
def test_every_exception_is_named_and_a_long_text_is_cut(error, shown):
    def breaks(prompt, response):
        raise error

    with pytest.raises(RewardError, match=shown) as caught:
        scored(RewardFunction(breaks, version="1"))
    assert len(str(caught.value)) < 1200


@pytest.mark.filterwarnings("error")
def test_a_coroutine_is_an_error_and_nobody_is_warned_that_it_was_not_awaited():
    with pytest.raises(RewardError, match=r"returned coroutine(.|\n)*asyncio\.run"):
        scored(lambda prompt, response: fake_rewards.asynchronous(prompt, response))


def test_what_a_function_writes_into_a_conversation_or_reference_changes_no_other_call():
    def writes(prompt, response, reference):
        prompt.append({"role": "user", "content": "And then?"})
        reference.append("z")
        return len(prompt) + len(reference)

    rows = table().remove_columns("prompt").add_column("prompt", [[{"role": "user", "content": "Hm?"}]] * 6)
    assert scored(writes, rows.add_column("reference", [["x"]] * 6)) == [4.0] * 6


def test_working_folder_and_modes_of_torch_are_what_they_were(tmp_path):
    def changes(prompt, response):
        os.chdir(tmp_path)
        torch.set_grad_enabled(False)
        torch.set_default_dtype(torch.float64)
        return 1.0

    folder = os.getcwd()
    assert scored(changes) == [1.0] * 6
    assert os.getcwd() == folder and torch.is_grad_enabled() and torch.get_default_dtype() == torch.float32


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no forks here")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_child_that_a_function_forked_does_not_go_on_as_the_run(tmp_path):
    def forks(prompt, response):
        child = os.fork()
        if child:
            os.waitpid(child, 0)
        return float(bool(child))

    process = os.getpid()
    assert scored(forks) == [1.0] * 6
    assert os.getpid() == process


def test_sys_exit_is_an_error_and_ctrl_c_is_not():
    def leaves(prompt, response):
        raise SystemExit(1)

    def stopped(prompt, response):
        raise KeyboardInterrupt

    with pytest.raises(RewardError, match="raised SystemExit"):
        scored(leaves)
    with pytest.raises(KeyboardInterrupt):
        scored(stopped)


def test_a_reward_that_depends_on_what_was_asked_before_is_refused():
    seen = []

    def relative(prompt, response):
        seen.append(len(response))
        return len(response) - sum(seen) / len(seen)

    for _ in range(2):  # and is not believed the second time
        with pytest.raises(RewardError, match="asked again"):
            scored(RewardFunction(relative, version="1"))
    assert len(set(scored(RewardFunction(relative, version="1", deterministic=False)))) > 1


@pytest.mark.parametrize("version", range(3))
def test_it_is_refused_too_where_several_processes_are_asked(version):
    """Asked by any of four, about one in three would meet a process that has not seen the response."""
    function = RewardFunction(fake_rewards.new, version=version, timeout=20.0, workers=4)
    with pytest.raises(RewardError, match="gave 1 and, asked again, 0"):
        scored(function)


def test_rewards_do_not_depend_on_the_other_rows():
    whole = dict(zip(TEXTS, scored(fake_rewards.length), strict=True))
    reward_functions._rewards.clear()
    assert scored(fake_rewards.length, table([*reversed(TEXTS)])) == [whole[text] for text in reversed(TEXTS)]
    assert scored(fake_rewards.length, table(["d e"])) == [whole["d e"]]


# Processes


def test_a_hang_is_ended_and_named():
    began = time.monotonic()
    with pytest.raises(RewardError, match="took longer than 0.5 s") as caught:
        scored(RewardFunction(fake_rewards.hangs, timeout=0.5), table(["ok", "hang here"]))
    assert "'hang here'" in caught.value.where and time.monotonic() - began < 20


def test_workers_give_the_rewards_of_one_process_in_the_order_of_the_rows():
    texts = [" ".join("w" * (n % 7)) + f" {n}" for n in range(12)]
    alone = scored(fake_rewards.length, table(texts))
    reward_functions._rewards.clear()
    assert scored(RewardFunction(fake_rewards.length, workers=2, timeout=60), table(texts)) == alone
    several = RewardFunction(fake_rewards.process, workers=2, deterministic=False)
    assert len(set(scored(several, table(texts)))) == 2


def test_closures_and_lambdas_are_asked_in_processes_too_and_their_prints_do_no_harm():
    offset = 2
    function = RewardFunction(lambda prompt, response: offset + len(response), workers=2)
    assert scored(function, table(["a", "ab"])) == [3, 4]
    assert scored(RewardFunction(fake_rewards.talks, timeout=30), table(["a"])) == [1.0]


def test_a_process_that_ends_is_an_error_that_names_the_row():
    with pytest.raises(RewardError, match=r"ended its process \(exit code 3\)") as caught:
        scored(RewardFunction(fake_rewards.dies, workers=2), table(["ok", "fine", "die"]))
    assert "'die'" in caught.value.where


def test_what_cannot_be_sent_to_a_process_is_refused():
    lines = (line for line in "ab")
    function = RewardFunction(lambda p, r: float(next(lines) == r), version="1", timeout=5)
    with pytest.raises(ConfigError, match="cannot be sent to a process"):
        scored(function)


@pytest.mark.parametrize("options", [{"timeout": 0}, {"timeout": float("nan")}, {"workers": 0}])
def test_settings_out_of_range_are_refused(options):
    with pytest.raises(ConfigError, match=next(iter(options))):
        RewardFunction(fake_rewards.length, **options)


# What its fingerprint holds


def printed(source, **names):
    """The fingerprint of `reward`, as this source defines it."""
    names = {"__name__": "__main__"} | names
    exec(source, names)
    return RewardFunction(names["reward"]).fingerprint()


BASE = """
def helper(text):
    return len(text) * SCALE
def reward(prompt, response):
    return helper(response)
"""


def test_comments_and_lines_do_not_count_and_code_does():
    assert printed(BASE, SCALE=2) == printed("# a comment\n\n" + BASE.replace("\nd", "  # more\nd"), SCALE=2)
    others = [
        printed(BASE, SCALE=3),  # a global that a helper reads
        printed(BASE.replace("* SCALE", "+ SCALE"), SCALE=2),  # the helper's code
        printed(BASE.replace("helper(response)", "helper(prompt)"), SCALE=2),
        printed(BASE, SCALE=[2]),
        printed(BASE, SCALE={"a", "b"}),
        printed(BASE, SCALE=re.compile("a")),
        printed(BASE, SCALE=np.arange(3)),
        printed(BASE, SCALE=np.arange(4)),
    ]
    assert len({printed(BASE, SCALE=2), *others}) == 1 + len(others)


def test_captured_variables_defaults_and_attributes_count():
    def made(limit):
        return lambda prompt, response: len(response) < limit

    class Within:
        def __init__(self, limit):
            self.limit = limit

        def __call__(self, prompt, response, reference):
            return len(response) < self.limit

    def partial(limit):
        return functools.partial(made(1), limit=limit) if False else functools.partial(_limited, limit)

    for make in (made, Within, partial, lambda limit: Within(limit).__call__):
        assert key(make(3)) == key(make(3)) != key(make(4))
    first, second = (lambda p, r: 1.0), (lambda p, r: 2.0)
    assert key(first) != key(second)


def _limited(limit, prompt, response):
    return len(response) < limit


def key(function):
    return RewardFunction(function).fingerprint()


def test_functions_that_call_themselves_or_are_cached_have_one():
    source = "import functools\n@functools.cache\ndef depth(n):\n    return n and depth(n - {})\n"
    source += "def reward(p, r):\n    return depth(len(r))\n"
    assert printed(source.format(1)) == printed(source.format(1)) != printed(source.format(2))


def test_a_module_of_ones_own_counts_by_its_file(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    path = tmp_path / "own_helpers.py"
    path.write_text("def size(text):\n    return len(text)\n")
    import own_helpers

    source = "def reward(p, r):\n    return own_helpers.size(r)\n"
    before = printed(source, own_helpers=own_helpers)
    path.write_text("def size(text):\n    return 0\n")
    assert printed(source, own_helpers=own_helpers) != before
    assert facts_of(re.sub) == facts_of(re.sub)  # Python's own, by name


def test_what_cannot_be_hashed_is_refused_by_name_unless_there_is_a_version():
    client = threading.Lock()

    def asks(prompt, response):
        return float(client.locked())

    with pytest.raises(ConfigError, match=r"uses `client`, a lock(.|\n)*fn.version = '1'"):
        scored(asks)
    asks.version = "1"
    assert scored(asks) == [0.0] * 6
    first = key(asks)
    asks.version = "2"
    assert key(asks) != first


def test_the_same_twice_is_asked_once_and_a_changed_function_anew():
    calls = []
    function = RewardFunction(lambda prompt, response: calls.append(response) or 1.0, version="1")
    scored(function)
    count = len(calls)
    scored(function, table([*TEXTS, "new"]))
    assert calls[count:].count("new") >= 1 and set(calls[count:]) == {"new"}
    changed = RewardFunction(function.function, version="2")
    scored(changed, table(["new"]))
    assert len(calls) > count + 1


# By name


def test_a_name_finds_the_function_with_its_settings_and_misspelt_ones_are_refused():
    assert load_reward_function("fake_rewards:limited").timeout == 20.0
    assert load_reward_function("fake_rewards:limited").name == "fake_rewards:limited"
    with pytest.raises(ConfigError, match="Did you mean 'length'"):
        load_reward_function("fake_rewards:lenght")
    with pytest.raises(ConfigError, match="checks:exact"):
        load_reward_function("no_such_module:reward")


# Whole runs

SMALL = {"n": 4, "prompts": 6, "eval_prompts": 4, "eval_samples_per_prompt": 1, "epochs": 1}
SHORT = {"max_new_tokens": 8, "eval_max_new_tokens": 8, "show_progress": False}


def test_a_run_by_a_function_names_it_in_report_and_page_and_goes_on_after_it_was_mended(tmp_path, capsys):
    def reward(prompt, response):
        return 1 / 0

    with pytest.raises(RewardError, match="ZeroDivisionError"):
        rslib.run(out=tmp_path, reward_model=reward, **SMALL, **SHORT)

    def reward(prompt, response):
        return -len(response)

    report = rslib.run(out=tmp_path, reward_model=reward, judge=fake_rewards.length, **SMALL, **SHORT)
    name = report.settings["reward_model"]["name"]
    assert name.endswith("<locals>.reward") and report.settings["config"]["judge"] == "fake_rewards:length"
    assert "judge" in report.rounds[0]["arms"]["best_of_n"]
    again = rslib.run(
        out=tmp_path, reward_model=RewardFunction(reward), judge=fake_rewards.length, **SMALL, **SHORT
    )
    assert again.to_json() == report.to_json()


@pytest.mark.long
def test_a_run_that_a_failing_service_stopped_asks_for_nothing_twice(tmp_path, monkeypatch):
    prompts = [f"Say {n}." for n in range(9)]
    calls, fail = tmp_path / "calls", tmp_path / "calls.fail"
    monkeypatch.setenv("RECORDED", str(calls))
    settings = SMALL | {"prompts": str(tmp_path / "p.txt"), "eval_prompts": str(tmp_path / "e.txt")}
    (tmp_path / "p.txt").write_text("\n".join(prompts))
    (tmp_path / "e.txt").write_text("Say it.\nSay so.")
    counts = []
    for name, fails in (("whole", False), ("stopped", True)):
        calls.unlink(missing_ok=True)
        reward_functions._rewards.clear()
        reward_functions._repeatable.clear()
        if fails:
            fail.touch()
            with pytest.raises(RewardError, match="the service is down"):
                rslib.run(out=tmp_path / name, reward_model="fake_rewards:recorded", **settings, **SHORT)
            fail.unlink()
            reward_functions._rewards.clear()  # as in another process
        rslib.run(out=tmp_path / name, reward_model="fake_rewards:recorded", **settings, **SHORT)
        counts.append(len(calls.read_text().splitlines()))
    assert counts[1] <= counts[0] + 4  # the one that failed, and at most three that were asked for a trial


@pytest.mark.long
def test_a_killed_run_goes_on_behind_the_last_response_that_was_scored(tmp_path):
    calls = tmp_path / "calls"
    options = (
        "--prompts 20 --n 8 --eval-prompts 4 --max-new-tokens 8 --reward fake_rewards:limited_and_recorded"
    )
    command = [sys.executable, "-m", "rslib", "run", *options.split(), "--out", str(tmp_path / "run")]
    places = os.pathsep.join([str(Path(rslib.__file__).parents[1]), str(Path(__file__).parent)])
    options = {
        "env": os.environ | {"RECORDED": str(calls), "PYTHONPATH": places},
        "stdout": subprocess.DEVNULL,
    }
    process, deadline = subprocess.Popen(command, **options), time.monotonic() + 120
    while time.monotonic() < deadline and (not calls.exists() or len(calls.read_text()) < 2 * 80):
        time.sleep(0.02)
    process.kill()
    process.wait()
    time.sleep(1)  # a call that was on its way ends, and its process with it
    before = len(calls.read_text().splitlines())
    assert 80 <= before < 160
    subprocess.run(command, check=True, **options)
    [kept] = (tmp_path / "run").glob("rewards-*.txt")
    rewards, lines = len(kept.read_text().split("\n")) - 1, len(calls.read_text().splitlines())
    assert lines <= rewards + 2 * 6 + 2  # six trials each time, and what two processes did when it was killed


@pytest.mark.long
def test_the_commands_take_a_function_and_pass_its_name_on(tmp_path, capsys):
    name = "fake_rewards:length"
    options = ["--prompts", "3", "--n", "2", "--max-new-tokens", "8", "--reward", name]
    assert main(["sample", *options, "--out", str(tmp_path / "a")]) == 0
    assert f"--reward-model {name}" in capsys.readouterr().out
    assert main(["score", str(tmp_path / "a"), "--reward", name, "--out", str(tmp_path / "b")]) == 0
    assert main(["select", str(tmp_path / "b"), "--out", str(tmp_path / "c")]) == 0
    assert main(["finetune", str(tmp_path / "c"), "--epochs", "1", "--out", str(tmp_path / "d")]) == 0
    assert f"--reward-model {name}" in capsys.readouterr().out
    judged = [
        "--prompts",
        "2",
        "--samples-per-prompt",
        "1",
        "--max-new-tokens",
        "8",
        "--judge",
        "fake_rewards:process",
    ]
    assert main(["evaluate", "--policy", str(tmp_path / "d"), *judged, "--out", str(tmp_path / "e")]) == 0
    settings = json.loads((tmp_path / "e" / "report.json").read_text())["settings"]
    assert settings["reward function"] == name and settings["judge"] == "fake_rewards:process"
    assert name in (tmp_path / "e" / "report.html").read_text()


@pytest.mark.long
def test_reinforcement_learning_takes_a_function_and_goes_on_where_it_failed(tmp_path):
    policy, prompts = rslib.load_policy("tiny"), load_prompts([f"Say {n}." for n in range(8)])
    loop = rl.Loop(steps=2, prompts_per_step=4, n=2, minibatch=8, check_every=1)
    options = {"heldout": prompts, "show_progress": False}
    broken = []

    def reward(prompt, response):
        if len(broken) == 1:
            raise OSError("down")
        return len(response)

    reward.version = "1"
    whole = rl.train(policy, reward, prompts, rl.RLOO(), loop, out=tmp_path / "whole", **options)
    broken.append(1)
    reward_functions._rewards.clear()
    with pytest.raises(RewardError, match="down"):
        rl.train(policy, reward, prompts, rl.RLOO(), loop, out=tmp_path / "cut", **options)
    broken.append(1)
    cut = rl.train(policy, reward, prompts, rl.RLOO(), loop, out=tmp_path / "cut", **options)
    assert cut.fingerprint() == whole.fingerprint()
    record = json.loads((tmp_path / "cut" / "training.json").read_text())
    assert record["reward_model"] == key(reward)
