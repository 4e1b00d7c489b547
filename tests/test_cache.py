"""Calls of the engine that are kept: equal calls are computed once and give the same bytes."""

import os
from dataclasses import dataclass, replace

import pytest

import rslib
from rslib import cache, finetuning, rl, sampling, scoring, store, tables
from rslib.config import FinetuneConfig
from rslib.rl.unified import Unified, policy_gradient

SMALL = {"epochs": 1, "learning_rate": 1e-3}
LOOP = rl.Loop(steps=1, prompts_per_step=4, n=2, minibatch=8, learning_rate=1e-3)


@pytest.fixture(scope="module")
def policy():
    return rslib.load_policy("tiny")


@pytest.fixture(scope="module")
def judge():
    return rslib.load_reward_model("tiny")


@pytest.fixture(scope="module")
def prompts():
    return rslib.load_prompts("tiny", "train", 4)


@pytest.fixture(autouse=True)
def nothing_stays_in_use():
    yield
    cache.use()


def kept(folder):
    return {path.name: path.read_bytes() for path in folder.glob("*")}


def pool(policy, judge, prompts, seed=0):
    drawn = sampling.sample(policy, prompts, n=4, seed=seed, max_new_tokens=12, show_progress=False)
    return rslib.score(judge, drawn, show_progress=False)


def rounds(policy, judge, prompts, out):
    """Everything that is kept, once: tables, a vector, weights with their records."""
    table = pool(policy, judge, prompts)
    tuned = finetuning.finetune(policy, table, out / "sft", show_progress=False, **SMALL)
    dpo = rl.finetune_dpo(policy, table, out / "dpo", show_progress=False)
    free = rl.train(policy, judge, prompts, rl.RLOO(), LOOP, out=out / "rl", show_progress=False)
    found = [store.table_bytes(table), scoring.reference_logprobs(tuned, table).tobytes()]
    for each in (tuned, dpo, free):
        record = store.read_json(out / each.path / "training.json")
        record.get("ledger", {}).update(seconds=0, cpu_seconds=0)
        found += [each.fingerprint(), record]
    return found


def test_what_is_recalled_is_what_was_computed(policy, judge, prompts, tmp_path, monkeypatch):
    plain = rounds(policy, judge, prompts, tmp_path / "plain")
    cache.use(write=tmp_path / "kept")
    first = rounds(policy, judge, prompts, tmp_path / "first")
    assert len(kept(tmp_path / "kept")) == 6
    cache.use(read=[tmp_path / "kept"])
    for name in ("token_rewards", "_weighed"):
        monkeypatch.setattr(scoring, name, never)
    for module, name in (
        (finetuning, "fit"),
        (sampling, "_responses"),
        (rl.dpo, "fit"),
        (rl.loop, "_trained"),
    ):
        monkeypatch.setattr(module, name, never)
    assert plain == first == rounds(policy, judge, prompts, tmp_path / "again")


def never(*args, **options):
    raise AssertionError("this was computed again")


@pytest.mark.parametrize("change", ["seed", "prompt", "weights", "versions"])
def test_another_call_does_not_meet_the_result(policy, judge, prompts, tmp_path, monkeypatch, change):
    cache.use(read=[tmp_path], write=tmp_path)
    before = pool(policy, judge, prompts)
    many = len(kept(tmp_path))
    if change == "weights":
        policy = finetuning.finetune(
            policy, before, tmp_path.with_name("tuned"), show_progress=False, **SMALL
        )
        many += 1
    if change == "prompt":
        prompts = tables.take(prompts, [0, 1, 3, 2])
    if change == "versions":
        monkeypatch.setattr(cache, "versions", lambda: {"rslib": "another"})
    pool(policy, judge, prompts, seed=int(change == "seed"))
    assert len(kept(tmp_path)) == many + 2


def test_a_folder_tells_nothing_and_a_damaged_entry_is_computed_anew(policy, judge, prompts, tmp_path):
    cache.use(read=[tmp_path], write=tmp_path)
    right = pool(policy, judge, prompts)
    said = [text for text in right["response"][:] if len(text) > 20]
    for name, content in kept(tmp_path).items():
        assert len(name) == 64 and not any(text.encode() in content for text in said)
        for damaged in (b"", content[:40], content[:-1] + bytes([content[-1] ^ 1]), b"x" * 5000):
            (tmp_path / name).write_bytes(damaged)
            assert store.table_bytes(pool(policy, judge, prompts)) == store.table_bytes(right)
            assert (tmp_path / name).read_bytes() == content


def test_a_method_of_the_learners_is_never_taken_for_the_engines(policy, judge, prompts, tmp_path):
    @dataclass(frozen=True)
    class RLOO(rl.RLOO):
        pass

    free = Unified(lambda draw, rows, logprobs, _: policy_gradient(logprobs, draw.rewards[rows, None]))
    cache.use(read=[tmp_path / "kept"], write=tmp_path / "kept")
    for number, method in enumerate((RLOO(), free)):
        rl.train(policy, judge, prompts, method, LOOP, out=tmp_path / str(number), show_progress=False)
    timed = rl.Loop(steps=1, prompts_per_step=4, n=2, budget=1e-6, budget_unit="seconds")
    rl.train(policy, judge, prompts, rl.RLOO(), timed, out=tmp_path / "timed", show_progress=False)
    kinds = [len(content) > 1_000_000 for content in kept(tmp_path / "kept").values()]
    assert not any(kinds), "weights were kept"


def test_nothing_is_kept_or_read_unless_asked(policy, judge, prompts, tmp_path, monkeypatch):
    pool(policy, judge, prompts)
    monkeypatch.setenv(cache.READ, str(tmp_path))
    pool(policy, judge, prompts)
    assert not kept(tmp_path)


def test_a_folder_that_cannot_be_written_costs_no_result(policy, judge, prompts, tmp_path):
    (tmp_path / "file").write_text("no folder")
    cache.use(write=tmp_path / "file" / "kept")
    assert len(pool(policy, judge, prompts)) == 16


def test_the_oldest_entries_go_first(tmp_path):
    for age, name in enumerate("abc"):
        (tmp_path / name).write_bytes(bytes(100))
        os.utime(tmp_path / name, (1000 - age, 1000 - age))
    cache.trim(tmp_path, 250)
    assert sorted(kept(tmp_path)) == ["a", "b"]


# A folder that holds the result of the very same call


def tunings(policy, judge, prompts, table, out, **settings):
    """One way after the other to tune into `out`."""
    loop = replace(LOOP, **settings)
    yield lambda: rl.train(policy, judge, prompts, rl.RLOO(), loop, out=out / "rl", show_progress=False)
    config = FinetuneConfig(**SMALL | settings)
    yield lambda: finetuning.finetune(policy, table, out / "sft", config=config, show_progress=False)
    yield lambda: rl.finetune_dpo(policy, table, out / "dpo", config=config, show_progress=False)


def forbid(monkeypatch):
    for module, name in ((finetuning, "fit"), (rl.dpo, "fit"), (rl.loop, "_trained")):
        monkeypatch.setattr(module, name, never)


def test_the_same_call_finds_what_it_left_in_its_folder(policy, judge, prompts, tmp_path, monkeypatch):
    table = pool(policy, judge, prompts)
    before = [tune().fingerprint() for tune in tunings(policy, judge, prompts, table, tmp_path)]
    records = [path.read_bytes() for path in sorted(tmp_path.rglob("training.json"))]
    forbid(monkeypatch)
    again = [tune() for tune in tunings(policy, judge, prompts, table, tmp_path)]
    assert [found.fingerprint() for found in again] == before
    assert [path.read_bytes() for path in sorted(tmp_path.rglob("training.json"))] == records
    for tune in tunings(policy, judge, prompts, table, tmp_path, seed=1):
        with pytest.raises(AssertionError, match="computed again"):
            tune()


@pytest.mark.parametrize("name", ["training.json", "model.safetensors"])
def test_a_folder_that_was_changed_is_tuned_anew(policy, judge, prompts, tmp_path, monkeypatch, name):
    table = pool(policy, judge, prompts)
    [_, tune, _] = tunings(policy, judge, prompts, table, tmp_path)
    right = tune().fingerprint()
    path = tmp_path / "sft" / name
    content = path.read_bytes()
    for damaged in (b"", b"[]", content[:100], content[:-1] + bytes([content[-1] ^ 1])):
        path.write_bytes(damaged)
        assert tune().fingerprint() == right
        assert path.read_bytes() == content
