"""A whole small run on the embedded models: what it reports and caches, how it goes on, what it refuses."""

import functools
import json
import re

import numpy as np
import pytest
from datasets import Dataset

import rslib
from rslib import pipeline, store, tables
from rslib.config import RunConfig
from rslib.errors import ConfigError, DataError, StoreError
from rslib.pipeline import Round, report_hash, run
from rslib.selection import select
from rslib.stages import with_gold

SMALL = {
    "n": 4,
    "prompts": 10,
    "eval_prompts": 8,
    "eval_samples_per_prompt": 2,
    "epochs": 1,
    "rounds": 2,
    "shard_responses": 16,
    "max_new_tokens": 24,
    "eval_max_new_tokens": 24,
}


def small_run(out, **changes):
    kind = changes.pop("kind", Round)
    return run(RunConfig(**(SMALL | changes)), out=out, kind=kind)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """An uninterrupted run: its folder and its report."""
    out = tmp_path_factory.mktemp("finished") / "run"
    return out, small_run(out)


def written(out):
    return json.loads((out / "report.json").read_text())


def shards(out):
    return {p.relative_to(out).as_posix(): p.read_bytes() for p in sorted(out.rglob("*.arrow"))}


def weights(out):
    return {p.relative_to(out).as_posix(): p.read_bytes() for p in sorted(out.rglob("*.safetensors"))}


# The report


def test_the_report_has_every_arm_with_every_promised_number_in_every_round(finished):
    report = written(finished[0])
    assert [entry["round"] for entry in report["rounds"]] == [1, 2]
    for entry in report["rounds"]:
        assert set(entry["arms"]) == {"base", "random", "best_of_n"}
        for arm in entry["arms"].values():
            assert {"mean", "low", "high"} == set(arm["gold"]) == set(arm["proxy"])
            assert {"kl", "entropy", "length", "truncation_rate", "unique_ratio", "selection_gap"} <= set(arm)
            assert arm["gold"]["low"] <= arm["gold"]["mean"] <= arm["gold"]["high"]


def test_the_provenance_leads_from_the_prompts_to_the_checkpoints(finished):
    out, _ = finished
    first, second = (entry["provenance"] for entry in written(out)["rounds"])
    for found in (first, second):
        assert {
            "prompts",
            "samples",
            "scores",
            "selection",
            "parent",
            "child",
            "versions",
            "seeds",
            "seconds",
        } <= set(found)
        assert all(
            re.fullmatch("[0-9a-f]{64}", found[name]) for name in ("prompts", "samples", "scores", "parent")
        )
        scored = store.read_table(out / found["places"]["score"])
        assert tables.fingerprint(scored) == found["scores"]
    assert second["parent"] == first["child"]["best_of_n"]
    tuned = rslib.load_policy(str(out / first["places"]["finetune-best_of_n"]))
    assert tuned.fingerprint() == first["child"]["best_of_n"]


def test_each_round_draws_from_the_tuned_policy_on_fresh_prompts_with_a_fresh_seed(finished):
    first, second = (entry["provenance"] for entry in written(finished[0])["rounds"])
    stage_tables = [store.read_table(finished[0] / found["places"]["sample"]) for found in (first, second)]
    assert not set(stage_tables[0]["prompt"]) & set(stage_tables[1]["prompt"])
    assert not set(stage_tables[0]["seed"]) & set(stage_tables[1]["seed"])


def test_the_control_has_as_many_rows_of_the_same_pool_and_the_same_parent(finished):
    found = written(finished[0])["rounds"][0]
    stage_tables = {
        arm: store.read_table(finished[0] / found["provenance"]["places"][f"select-{arm}"])
        for arm in ("random", "best_of_n")
    }
    assert len(stage_tables["random"]) == len(stage_tables["best_of_n"]) == 10
    assert set(stage_tables["random"]["prompt_id"]) == set(stage_tables["best_of_n"]["prompt_id"])
    assert sum(stage_tables["random"]["reward"]) < sum(stage_tables["best_of_n"]["reward"])
    assert found["provenance"]["child"]["random"] != found["provenance"]["child"]["best_of_n"]


def test_the_base_has_no_distance_to_itself(finished):
    assert all(entry["arms"]["base"]["kl"] == 0 for entry in written(finished[0])["rounds"])


def test_wall_clock_stands_under_seconds_alone_and_no_path_of_the_machine_in_the_report(finished):
    out, _ = finished
    text = (out / "report.json").read_text()
    assert str(out) not in text and out.name + "/" not in text
    assert written(out)["report_hash"] == report_hash(written(out))


# Caching and resuming


def test_a_second_call_does_no_work_and_says_so(finished, capsys):
    out, report = finished
    before = {p: p.stat().st_mtime_ns for p in out.rglob("shard-*")}
    again = small_run(out)
    assert {p: p.stat().st_mtime_ns for p in out.rglob("shard-*")} == before
    assert again.to_dict() == report.to_dict()
    lines = capsys.readouterr().out.splitlines()
    assert "round 1: sample: 40 responses, cached" in lines
    assert all(line.endswith("cached") for line in lines)


class Stop(Exception):
    """Ends a run at a chosen step, as a kill would."""


def stopping(step, at):
    """Healthy rounds, but `step` dies at its call number `at`."""
    calls = []
    healthy = getattr(Round, step)

    @functools.wraps(healthy)  # the name of the code goes into the keys
    def dies(*args, **settings):
        calls.append(1)
        if len(calls) == at:
            raise Stop
        return healthy(*args, **settings)

    return type("Stopping", (Round,), {step: staticmethod(dies)})


@pytest.mark.parametrize(("step", "at"), [("score_part", 5), ("finetune_policy", 1)])
def test_a_run_that_died_goes_on_to_the_same_report_and_the_same_bytes(finished, tmp_path, step, at):
    with pytest.raises(Stop):
        small_run(tmp_path / "run", kind=stopping(step, at))
    kept = shards(tmp_path / "run")
    small_run(tmp_path / "run")
    assert kept.items() <= shards(tmp_path / "run").items()
    assert shards(tmp_path / "run") == shards(finished[0])
    assert weights(tmp_path / "run") == weights(finished[0])
    assert written(tmp_path / "run")["report_hash"] == written(finished[0])["report_hash"]


def test_a_changed_setting_redoes_only_what_depends_on_it(finished, tmp_path, capsys):
    import shutil

    out = shutil.copytree(finished[0], tmp_path / "run")
    small_run(out, epochs=2, rounds=1)
    text = capsys.readouterr().out
    assert "epochs was 1, is 2" in text
    assert "round 1: score: 40 responses, cached" in text
    assert "round 1: finetune best_of_n: cached" not in text


# What is noticed


@pytest.fixture
def prompt_file(tmp_path):
    rows = [{"prompt": p} for p in rslib.load_prompts("tiny", "train", 8)["prompt"]]
    path = tmp_path / "prompts.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_a_changed_prompt_file_is_named(tmp_path, prompt_file, capsys):
    small_run(tmp_path / "run", prompts=str(prompt_file), rounds=1)
    prompt_file.write_text(prompt_file.read_text() + '{"prompt": "How do I boil an egg, please?"}\n')
    capsys.readouterr()
    small_run(tmp_path / "run", prompts=str(prompt_file), rounds=1)
    assert "content of prompts was" in capsys.readouterr().out


def test_a_changed_policy_is_named(finished):
    tuned = next(finished[0].glob("round-1/finetune-best_of_n-*"))
    with pytest.raises(StoreError, match="policy changed since this run began"):
        small_run(finished[0], policy=str(tuned))


def test_a_changed_reward_model_is_named(finished):
    with pytest.raises(StoreError, match="reward model changed since this run began"):
        small_run(finished[0], reward_model="tiny-blind")


def test_more_fresh_prompts_than_there_are_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="too few for 50 rounds"):
        small_run(tmp_path, rounds=50, prompts=1000)


def test_a_file_is_split_over_the_rounds(prompt_file):
    slices, _ = pipeline.planned_prompts(RunConfig(prompts=str(prompt_file), rounds=2))
    assert [len(part) for part in slices] == [4, 4]
    assert not set(slices[0]["prompt"]) & set(slices[1]["prompt"])


def test_a_policy_and_prompts_of_ones_own_need_evaluation_prompts(tmp_path, prompt_file):
    with pytest.raises(ConfigError, match="no evaluation prompts"):
        run(policy="some/folder", prompts=str(prompt_file), out=tmp_path / "run")


def test_an_unknown_setting_is_refused_with_the_closest_name(tmp_path):
    with pytest.raises(ConfigError, match="Did you mean 'temperature'"):
        run(temprature=1.0, out=tmp_path / "run")


# Single functions


def test_the_control_matches_ragged_selections_prompt_by_prompt():
    rows = [
        {"prompt_id": f"p{i}", "prompt": "x", "sample_id": k, "response": "r", "reward": float(k)}
        for i, n in enumerate((3, 5, 2))
        for k in range(n)
    ]
    pool = Dataset.from_list(rows)
    kept = pool.select([1, 2, 6])
    control = select(pool, "random", seed=0, like=kept)
    assert list(control["prompt_id"]) == ["p0", "p0", "p1"]
    assert len(set(zip(control["prompt_id"], control["sample_id"], strict=True))) == 3


def test_the_control_is_uniform_over_the_responses():
    # 2000 prompts, 4 responses each: every count is within 5.5 standard deviations of 500; false alarm <
    # 1e-6.
    rows = [
        {"prompt_id": f"p{i}", "prompt": "x", "sample_id": k, "response": "r", "reward": float(k)}
        for i in range(2000)
        for k in range(4)
    ]
    pool = Dataset.from_list(rows)
    picks = select(pool, "random", seed=0, like=pool.select(range(0, 8000, 4)))["sample_id"][:]
    counts = np.bincount(picks, minlength=4)
    assert np.abs(counts - 500).max() < 5.5 * np.sqrt(2000 * 0.25 * 0.75)


def test_prompts_come_from_the_world_a_file_or_a_list(prompt_file):
    assert rslib.load_prompts("tiny", split="test", limit=3)["split"][:] == ["test"] * 3
    assert len(rslib.load_prompts(prompt_file)) == 8
    assert rslib.load_prompts(["a b", "c d"])["prompt"][:] == ["a b", "c d"]
    with pytest.raises(ConfigError):
        rslib.load_prompts(["a"], limit=2)
    with pytest.raises(DataError):
        rslib.load_prompts([])


def test_gold_is_added_for_the_worlds_prompts_and_for_no_others():
    safe = rslib.load_prompts("tiny", "train", 1)["prompt"][0]
    row = {"prompt_id": "a", "prompt": safe, "sample_id": 0, "response": "Of course!", "finish_reason": "eos"}
    assert "gold" in with_gold(Dataset.from_list([row])).column_names
    assert "gold" not in with_gold(Dataset.from_list([row | {"prompt": "Who are you?"}])).column_names


def test_the_report_of_evaluate_compares_two_policies_on_the_same_prompts(finished):
    first = written(finished[0])["rounds"][0]
    tuned = rslib.load_policy(str(finished[0] / first["provenance"]["places"]["finetune-best_of_n"]))
    report = rslib.evaluate(
        tuned,
        baseline=rslib.load_policy("tiny"),
        reward_model=rslib.load_reward_model("tiny"),
        prompts=rslib.load_prompts("tiny", "test", 6),
        config=pipeline.EvaluateConfig(samples_per_prompt=2, max_new_tokens=16),
        show_progress=False,
    )
    arms = report.rounds[0]["arms"]
    assert list(report.rounds[0]["order"]) == ["base", "tuned"]
    assert arms["base"]["kl"] == 0 and arms["tuned"]["gold"] is not None
