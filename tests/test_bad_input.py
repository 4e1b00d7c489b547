"""Bad input on the command line: one typed error with what, where and what to do; nothing is lost."""

import json
import math
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from datasets import Dataset

import rslib
from rslib import store
from rslib.__main__ import main
from rslib.errors import RewardError, StoreError

ROOT = Path(__file__).parents[1]
RUN = [
    "run",
    "--policy",
    "tiny",
    "--n",
    "4",
    "--prompts",
    "6",
    "--eval-prompts",
    "4",
    "--epochs",
    "1",
    "--max-new-tokens",
    "16",
    "--eval-max-new-tokens",
    "16",
    "--eval-samples-per-prompt",
    "1",
]


def refused(capsys, arguments, *words, code=2):
    """The command fails with `code`, prints one typed error with all `words`, and no traceback."""
    assert main([str(a) for a in arguments]) == code
    shown = capsys.readouterr().err
    assert "Traceback" not in shown
    assert shown.split(":")[0] in (
        "ConfigError",
        "DataError",
        "RewardError",
        "ModelError",
        "StoreError",
        "BudgetError",
    )
    assert "what to do: " in shown
    for word in words:
        assert word in shown
    return shown


# Settings


@pytest.mark.parametrize(
    ("option", "value", "words"),
    [
        ("--n", 0, ("ConfigError", "n is 0", "n >= 1")),
        ("--temperature", -1, ("ConfigError", "temperature is -1.0")),
        ("--temperature", "nan", ("ConfigError", "temperature is nan")),
        ("--top-p", 0, ("ConfigError", "top_p is 0.0")),
        ("--rounds", 0, ("ConfigError", "rounds is 0")),
        ("--prompts", 0, ("ConfigError", "prompts is 0")),
        ("--selector", "best_of", ("ConfigError", "unknown selector 'best_of'", "best_of_n")),
        ("--learning-rate", -1, ("ConfigError", "learning_rate is -1.0")),
    ],
)
def test_a_setting_out_of_range_is_refused(capsys, tmp_path, option, value, words):
    refused(capsys, [*RUN, option, value, "--out", tmp_path / "run"], *words)


def test_an_unknown_selector_is_refused_before_anything_is_sampled(capsys, tmp_path):
    refused(capsys, [*RUN, "--selector", "wurst", "--out", tmp_path / "run"], "worst")
    assert not list(tmp_path.rglob("*.arrow"))


# Prompts


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("empty.jsonl", "", ("DataError", "there are no prompts", "empty.jsonl")),
        (
            "blank.jsonl",
            '{"prompt": "a"}\n{"prompt": "  "}\n',
            ("DataError", "the prompt is empty", "line 2"),
        ),
        (
            "twice.jsonl",
            '{"prompt": "a", "prompt_id": "x"}\n{"prompt": "b", "prompt_id": "x"}\n',
            ("DataError", "'x' stands twice", "line 1", "line 2"),
        ),
        ("broken.jsonl", '{"prompt": \n', ("DataError", "not valid JSON", "line 1")),
        ("column.csv", "text\nhello\n", ("DataError", "no 'prompt'")),
        ("empty.txt", "\n\n", ("DataError", "there are no prompts")),
    ],
)
def test_a_bad_prompt_file_is_refused_with_its_line(capsys, tmp_path, name, text, words):
    (tmp_path / name).write_text(text)
    refused(capsys, [*RUN, "--prompts", tmp_path / name, "--out", tmp_path / "run"], *words)


def test_a_missing_prompt_file_is_named(capsys, tmp_path):
    refused(
        capsys, [*RUN, "--prompts", tmp_path / "none.jsonl", "--out", tmp_path / "run"], "none.jsonl", code=1
    )


def test_a_prompt_longer_than_the_context_is_named(capsys, tmp_path):
    (tmp_path / "long.txt").write_text("How do I boil an egg?\n" + "egg " * 3000 + "\n")
    refused(
        capsys, ["sample", "--prompts", tmp_path / "long.txt", "--n", 2, "--out", tmp_path / "s"], "line 2 of"
    )


# Models


def test_a_missing_model_folder_is_named(capsys, tmp_path):
    refused(
        capsys, [*RUN, "--policy", tmp_path / "no-model", "--out", tmp_path / "run"], "ModelError", "no-model"
    )


def test_a_base_language_model_as_reward_model_is_refused(capsys, tmp_path):
    base = rslib.load_policy("tiny").path
    refused(capsys, [*RUN, "--reward-model", base, "--out", tmp_path / "run"], "ModelError", "score.weight")


def test_a_corrupt_weight_file_is_named(capsys, tmp_path):
    folder = shutil.copytree(rslib.load_policy("tiny").path, tmp_path / "model")
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    refused(capsys, [*RUN, "--policy", folder, "--out", tmp_path / "run"], "ModelError", "model.safetensors")


# Tables


@pytest.fixture
def responses(tmp_path):
    """A folder as `sample` writes it."""
    rows = [
        {"prompt_id": f"p{i}", "prompt": "How do I boil an egg?", "sample_id": k, "response": f"Egg {k}."}
        for i in range(3)
        for k in range(2)
    ]
    return table_folder(tmp_path / "responses", Dataset.from_list(rows))


def table_folder(path, table):
    store.Stage(path, {"stage": "test"}, show=False).table([table], lambda part: part, label="test")
    return path


def test_select_before_score_says_run_score_first(capsys, tmp_path, responses):
    refused(
        capsys, ["select", "--input", responses, "--out", tmp_path / "k"], "no reward column: run score first"
    )


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_rewards_that_are_not_finite_are_refused_by_row(capsys, tmp_path, responses, value):
    table = store.read_table(responses)
    scored = table_folder(tmp_path / "scored", table.add_column("reward", [1.0, 2.0, 3.0, value, 5.0, 6.0]))
    shown = refused(capsys, ["select", "--input", scored, "--out", tmp_path / "k"], "RewardError", "NaN")
    assert "p1" in shown and "1" in shown
    with pytest.raises(RewardError):
        rslib.select(store.read_table(scored), "best_of_n")


def test_a_folder_that_no_stage_wrote_is_refused(capsys, tmp_path):
    refused(capsys, ["score", "--input", tmp_path, "--out", tmp_path / "s"], "stage.json", code=1)


def test_the_same_folder_for_input_and_output_loses_nothing(capsys, tmp_path, responses):
    before = {p.name: p.read_bytes() for p in responses.iterdir()}
    refused(capsys, ["score", "--input", responses, "--out", responses], "other settings", code=1)
    assert before.items() <= {p.name: p.read_bytes() for p in responses.iterdir()}.items()


# A run folder that somebody touched


def test_a_touched_run_is_named_file_by_file_and_mends_as_it_says(capsys, tmp_path):
    out = tmp_path / "run"
    assert main([*RUN, "--out", str(out)]) == 0
    before = json.loads((out / "report.json").read_text())["report_hash"]
    shard = next(out.glob("round-1/score-*/shard-00000.arrow"))
    whole = shard.read_bytes()
    shard.write_bytes(whole[:-100])
    shown = refused(capsys, [*RUN, "--out", out], "StoreError", "was truncated", str(shard), code=1)
    assert "delete that one file" in shown
    shard.write_bytes(whole.replace(b"p", b"q", 1))
    refused(
        capsys, [*RUN, "--out", out], "StoreError", "was changed after it was written", str(shard), code=1
    )
    shard.unlink()
    weights = next(out.glob("round-1/finetune-best_of_n-*/model.safetensors"))
    kept = weights.read_bytes()
    weights.write_bytes(kept[:-1])
    refused(capsys, [*RUN, "--out", out], "StoreError", "model.safetensors was changed", str(weights), code=1)
    weights.write_bytes(kept)
    assert main([*RUN, "--out", str(out)]) == 0
    assert shard.read_bytes() == whole
    assert json.loads((out / "report.json").read_text())["report_hash"] == before


# The disk


def mounted(folder, options):
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
    if (
        shutil.which("mount") is None
        or os.geteuid() != 0
        or subprocess.run(command, capture_output=True).returncode
    ):
        pytest.skip("needs the right to mount a small file system")
    return folder


@pytest.fixture
def small_disk(tmp_path):
    """1 MB of disk, as a file system of its own."""
    folder = mounted(tmp_path / "disk", "size=1m")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@pytest.fixture
def closed_disk(tmp_path):
    """A file system that cannot be written."""
    folder = mounted(tmp_path / "disk", "size=1m,ro")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_is_named_and_finished_shards_stay_good(capsys, small_disk):
    out = small_disk / "run"
    many = [*RUN, "--prompts", "40", "--shard-responses", "16", "--out", out]
    refused(capsys, many, "StoreError", "no disk space left", str(out), code=1)
    assert not list(out.rglob("*rslib-tmp*"))
    finished = list(out.rglob("*.arrow"))
    assert finished and all(len(store.read_shard(path)) for path in finished)


def test_a_read_only_output_folder_is_named(capsys, closed_disk):
    refused(capsys, [*RUN, "--out", closed_disk / "run"], "StoreError", str(closed_disk), code=1)


def test_an_output_folder_below_a_file_is_named(capsys, tmp_path):
    (tmp_path / "file").write_text("")
    refused(capsys, [*RUN, "--out", tmp_path / "file" / "run"], "StoreError", "file", code=1)


# Ctrl-C


def test_ctrl_c_stops_within_two_seconds_keeps_shards_and_says_how_to_go_on(tmp_path):
    out = tmp_path / "run"
    # SIGINT may be ignored in a background job's children; the command installs its own handler anyway.
    process = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "rslib",
            "run",
            "--prompts",
            "200",
            "--n",
            "16",
            "--shard-responses",
            "64",
            "--out",
            str(out),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )
    limit = time.monotonic() + 90
    while len(list(out.rglob("*.arrow"))) < 2 and time.monotonic() < limit:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    began = time.monotonic()
    shown, errors = process.communicate(timeout=30)
    seconds = time.monotonic() - began
    assert process.returncode == 130, errors
    assert seconds <= 2, f"stopped after {seconds:.1f} s"
    assert errors == ""
    assert f"python -m rslib run --prompts 200 --n 16 --shard-responses 64 --out {out}" in shown
    finished = list(out.rglob("*.arrow"))
    assert len(finished) >= 2 and all(len(store.read_shard(path)) == 64 for path in finished)
    assert json.loads((out / "run.json").read_text())


def test_a_run_that_another_process_holds_is_refused(capsys, tmp_path):
    with store.RunFolder(tmp_path / "run"), pytest.raises(StoreError), store.RunFolder(tmp_path / "run"):
        pass
    with store.RunFolder(tmp_path / "run"):
        refused(capsys, [*RUN, "--out", tmp_path / "run"], "another process", str(os.getpid()), code=1)
