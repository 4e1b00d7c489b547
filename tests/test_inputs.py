"""What a run reads: all prompts are checked before the first token; what was done stays when some change."""

import functools
import json

import numpy as np
import pytest
from datasets import Dataset

import rslib
from rslib import store, tables
from rslib.config import RunConfig, SampleConfig
from rslib.errors import ConfigError, DataError, ModelError, RSError
from rslib.inputs import Inputs
from rslib.lengths import fit_all, fit_policy, fit_reward_model
from rslib.pipeline import run
from rslib.prompts import PromptRows, load_prompts, read_prompts
from tests.small_models import CONTEXT, build_tokenizer

SMALL = {
    "n": 2,
    "epochs": 1,
    "max_new_tokens": 8,
    "eval_samples_per_prompt": 1,
    "shard_responses": 8,
    "show_progress": False,
}
LONG = "egg " * 300


def written(path, prompts):
    path.write_text("".join(json.dumps({"prompt": prompt}) + "\n" for prompt in prompts))
    return str(path)


@pytest.fixture
def files(tmp_path):
    questions = [f"Question {number}: how do I boil an egg?" for number in range(16)]
    return written(tmp_path / "train.jsonl", questions[:12]), written(tmp_path / "eval.jsonl", questions[12:])


def drawn(out):
    return sorted(path.name for path in out.rglob("*.arrow"))


# Before the first token


@pytest.mark.parametrize("place", ["prompts", "eval_prompts"])
def test_a_prompt_without_room_is_named_by_line_before_anything_is_drawn(files, tmp_path, place):
    train, held_out = files
    bad = written(tmp_path / "bad.jsonl", ["How do I boil an egg?", LONG])
    settings = {"prompts": train, "eval_prompts": held_out} | {place: bad}
    with pytest.raises(DataError, match=r"(.|\n)*line 2 of .*bad\.jsonl(.|\n)*--too-long drop"):
        run(out=tmp_path / "run", **settings, **SMALL)
    assert not drawn(tmp_path / "run")


def test_the_reward_models_context_counts_with_the_evaluations_own_length(files, tmp_path):
    train, held_out = files
    settings = {"prompts": train, "eval_prompts": held_out, **SMALL}
    with pytest.raises(DataError, match=r"reward model's context is 256(.|\n)*Lower --eval-max-new-tokens"):
        run(out=tmp_path / "run", eval_max_new_tokens=250, **settings)
    with pytest.raises(DataError, match="Lower --max-new-tokens"):
        run(out=tmp_path / "run", **settings | {"max_new_tokens": 250})
    assert not drawn(tmp_path / "run")


def test_the_evaluation_inherits_the_limits_of_sampling_unless_told_otherwise():
    config = RunConfig(max_new_tokens=16, batch_size=32)
    assert (config.evaluation().max_new_tokens, config.evaluation().batch_size) == (16, 32)
    assert RunConfig(max_new_tokens=16, eval_max_new_tokens=24).evaluation().max_new_tokens == 24
    assert RunConfig().evaluation().max_new_tokens is None


def test_with_drop_a_run_ends_with_the_others_and_its_report_counts_them(files, tmp_path, capsys):
    train = written(tmp_path / "bad.jsonl", ["One egg?", LONG, " ", "Two eggs?", "One egg?", "Three eggs?"])
    report = run(out=tmp_path / "run", prompts=train, eval_prompts=files[1], too_long="drop", **SMALL)
    facts = report.settings["inputs"]["prompts"]
    assert (facts["used"], facts["left out"], facts["cut"]) == (3, 3, 0)


def test_truncate_cuts_the_beginning_and_the_report_counts_it(files, tmp_path):
    train = written(tmp_path / "long.jsonl", ["One egg?", LONG + "at the end?"])
    report = run(out=tmp_path / "run", prompts=train, eval_prompts=files[1], too_long="truncate", **SMALL)
    assert report.settings["inputs"]["prompts"]["cut"] == 1
    [folder] = (tmp_path / "run" / "round-1").glob("sample-*")
    longest = max(store.read_table(folder)["prompt"], key=len)
    assert longest.endswith("egg at the end?") and 150 < len(longest) < len(LONG)


def test_what_can_happen_to_a_long_prompt_is_one_of_three(files):
    with pytest.raises(ConfigError, match="Use error, drop, truncate"):
        RunConfig(too_long="cut")


def test_an_evaluation_of_two_policies_checks_the_reward_models_context_first(capsys):
    policy, reward_model = rslib.load_policy("tiny"), rslib.load_reward_model("tiny")
    config = rslib.pipeline.EvaluateConfig(max_new_tokens=250, samples_per_prompt=1)
    with pytest.raises(DataError, match="Lower max_new_tokens"):
        rslib.evaluate(policy, baseline=policy, reward_model=reward_model, prompts=["An egg?"], config=config)
    assert "evaluate base" not in capsys.readouterr().out


def test_sampling_and_evaluating_from_python_can_drop_and_truncate_as_the_commands_can(models, capsys):
    policy, reward_model = models
    asked = ["aa", "b" * 999, "cc", "cc"]
    for read in (rslib.sample, functools.partial(evaluated, reward_model=reward_model)):
        with pytest.raises(DataError, match=r"row 1 of prompts(.|\n)*in Python too_long=") as caught:
            read(policy, asked[:3], n=1)
        assert "--too-long truncate" in str(caught.value)
        with pytest.raises(ConfigError, match="too_long"):
            read(policy, asked[:1], n=1, too_long="cut")
    drawn = rslib.sample(policy, asked, n=2, max_new_tokens=4, too_long="drop", show_progress=False)
    assert drawn["prompt"][:] == ["aa"] * 2 + ["cc"] * 2
    assert capsys.readouterr().out.count("left out: ") == 2
    whole = rslib.sample(policy, ["aa", "cc"], n=2, max_new_tokens=4, show_progress=False)
    assert drawn["response"][:2] == whole["response"][:2]
    cut = rslib.sample(policy, asked[:2], n=1, max_new_tokens=4, too_long="truncate", show_progress=False)
    assert cut["prompt"][0] == "aa" and len(policy.encode(cut["prompt"][1])) == CONTEXT - 4
    for way, kept in (("drop", 1), ("truncate", 2)):
        report = evaluated(policy, asked[:2], n=2, reward_model=reward_model, too_long=way)
        assert report.rounds[0]["arms"]["base"]["responses"] == 2 * kept


def evaluated(policy, prompts, n, *, reward_model, **settings):
    asked = {"baseline": policy, "reward_model": reward_model, "prompts": prompts}
    drawn = {"samples_per_prompt": n, "max_new_tokens": 4, "show_progress": False}
    return rslib.evaluate(policy, **asked, **drawn, **settings)


NO_SYSTEM = (
    "{% for m in messages %}{% if m.role == 'system' %}{{ raise_exception('System role not supported') }}"
    "{% endif %}<|user|>{{ m.content }}{% endfor %}{% if add_generation_prompt %}<|user|>{% endif %}"
)


def test_a_template_that_refuses_a_system_turn_names_the_row_in_every_stage(model_folder, tmp_path):
    tokenizer = build_tokenizer(chat_template=NO_SYSTEM)
    policy = rslib.load_policy(model_folder("llama", tokenizer=tokenizer))
    reward_model = rslib.load_reward_model(model_folder("llama", "reward", tokenizer=tokenizer))
    talk = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Why?"}]
    for asked, row in ((["fine", talk], 1), ([talk], 0)):
        with pytest.raises(RSError, match=rf"System role not supported(.|\n)*row {row} of prompts"):
            rslib.sample(policy, asked)
    rows = [{"prompt": "fine"}, {"prompt": talk}]
    kept = tables.stack([Dataset.from_list([row | {"response": "Yes."}]) for row in rows[1:]])
    with pytest.raises(ModelError, match=r"System role not supported(.|\n)*row 0 of the selected rows"):
        rslib.finetune(policy, kept, tmp_path / "t")
    table = tables.with_column(tables.with_column(kept, "prompt_id", ["a"]), "sample_id", [0])
    with pytest.raises(ModelError, match=r"System role not supported(.|\n)*Be brief."):
        rslib.score(reward_model, table, show_progress=False)


# How much room there is


@pytest.fixture(scope="module")
def models(model_folder):
    reward_model = rslib.load_reward_model(model_folder("llama", "reward"))
    return rslib.load_policy(model_folder("llama")), reward_model


def rows(*prompts):
    return PromptRows(load_prompts(list(prompts)), "prompts")


def of_length(policy, tokens):
    """A prompt of so many tokens."""
    text = "a" * tokens
    return text[len(policy.encode(text)) - tokens :]


def test_a_policy_needs_room_for_one_token_and_a_reward_model_for_the_whole_response(models):
    policy, reward_model = models
    fits, over = (of_length(policy, CONTEXT - 1 + more) for more in (0, 1))
    assert len(policy.encode(fits)) == CONTEXT - 1
    assert not fit_policy(rows(fits), policy, SampleConfig(max_new_tokens=9))[0].refused
    with pytest.raises(DataError, match="256 tokens; the policy's context is 256"):
        fit_policy(rows(over), policy, SampleConfig(max_new_tokens=9))[0].settled()
    room = CONTEXT - len(reward_model.encode("aa", ""))
    for tokens in (room, room + 1):
        checked, drawing = fit_policy(rows("aa"), policy, SampleConfig(max_new_tokens=tokens))
        if tokens == room:
            assert not fit_reward_model(checked, reward_model, drawing).refused
        else:
            with pytest.raises(DataError, match=rf"Lower --max-new-tokens \(now {tokens}\) to {room}"):
                fit_reward_model(checked, reward_model, drawing).settled()


def test_a_function_as_reward_model_has_room_for_all(models):
    checked = fit_all(
        rows("aa"), [models[0]], [lambda prompt, response: 1.0], SampleConfig(max_new_tokens=999)
    )
    assert len(checked.table) == 1


def test_of_a_conversation_the_oldest_turns_go_first_and_the_system_turn_stays(models):
    def turn(role, text):
        return {"role": role, "content": text}

    old = [turn("user", "x " * 150), turn("assistant", "y")]
    talk = [
        turn("system", "Be brief."),
        *old,
        turn("user", "Now?"),
        turn("assistant", "No."),
        turn("user", "Why?"),
    ]
    [cut] = fit_all(rows(talk), [models[0]], [], SampleConfig(), too_long="truncate").table["prompt"][:]
    assert [message["content"] for message in cut] == ["Be brief.", "Now?", "No.", "Why?"]
    talk = [turn("system", "Be brief."), turn("user", "z " * 300 + "Why?")]
    short = SampleConfig(max_new_tokens=9)
    [cut] = fit_all(rows(talk), [models[0]], [], short, too_long="truncate").table["prompt"][:]
    assert cut[0]["content"] == "Be brief." and cut[1]["content"].endswith("z Why?")
    assert len(models[0].encode(cut)) == CONTEXT - 9
    with pytest.raises(DataError, match="the policy's context"):
        huge = [turn("system", "x " * 300), turn("user", "Why?")]
        fit_all(rows(huge), [models[0]], [], SampleConfig(), too_long="truncate")


def test_a_conversation_that_the_template_refuses_is_one_row_among_others(model_folder):
    strict = (
        "{% for m in messages %}{% if (m.role == 'user') != (loop.index0 % 2 == 0) %}"
        "{{ raise_exception('roles must alternate') }}{% endif %}<|user|>{{ m.content }}{% endfor %}"
        "{% if add_generation_prompt %}<|user|>{% endif %}"
    )
    policy = rslib.load_policy(model_folder("llama", tokenizer=build_tokenizer(chat_template=strict)))
    twice = [{"role": "user", "content": "a"}, {"role": "user", "content": "b"}]
    with pytest.raises(DataError, match=r"roles must alternate(.|\n)*prompt_id 'p00001'"):
        fit_all(rows("fine", twice), [policy], [], SampleConfig())
    assert len(fit_all(rows("fine", twice), [policy], [], SampleConfig(), too_long="drop").table) == 1


def test_a_response_longer_than_was_foreseen_is_scored_by_its_beginning_if_asked(models, capsys):
    policy, reward_model = models
    responses = rslib.sample(policy, ["aa"], n=2, max_new_tokens=4, show_progress=False)
    long = tables.with_column(responses, "response", ["b" * 999, "short"])
    work = functools.partial(rslib.score, show_progress=False)
    with pytest.raises(DataError, match="or leave it out: 'drop'"):
        work(reward_model, long)
    with pytest.raises(ConfigError, match="truncate"):
        work(reward_model, long, too_long="truncated")
    scored = work(reward_model, long, too_long="truncate")
    assert scored["response"][:] == long["response"][:]
    longest = max(size for size in range(999) if len(reward_model.encode("aa", "b" * size)) <= CONTEXT)
    begun = work(reward_model, tables.with_column(long, "response", ["b" * longest, "short"]))
    assert scored["reward"][:] == begun["reward"][:]
    assert "1 of 2 responses do not fit" in capsys.readouterr().out
    kept = work(reward_model, long, too_long="drop")
    assert kept["response"][:] == ["short"] and kept["reward"][0] == scored["reward"][1]
    assert "left out: 1 of 2 responses do not fit" in capsys.readouterr().out
    with pytest.raises(DataError, match="1 of 1 responses do not fit"):
        work(reward_model, tables.take(long, [0]), too_long="drop")


# What stays when prompts change


def test_removing_or_mending_a_prompt_redoes_that_prompt_alone(files, tmp_path, capsys):
    train, held_out = files
    settings = {"prompts": train, "eval_prompts": held_out} | SMALL
    run(out=tmp_path / "run", **settings)
    lines = (tmp_path / "train.jsonl").read_text().splitlines()
    lines[3] = json.dumps({"prompt": "A mended prompt?"})
    (tmp_path / "train.jsonl").write_text("\n".join(lines[:7] + lines[8:]) + "\n")
    capsys.readouterr()
    run(out=tmp_path / "run", **settings | {"show_progress": True})
    shown = capsys.readouterr().out
    assert "round 1: sample: what was done for 10 prompts before is used again" in shown
    assert "round 1: score: what was done for 10 prompts before is used again" in shown
    assert "evaluate base sample: 4 responses, cached" in shown
    run(out=tmp_path / "fresh", **settings)
    [sampled], [scored] = ([*(tmp_path / "fresh/round-1").glob(f"{name}-*")] for name in ("sample", "score"))
    for path in sampled.glob("*.arrow"):
        assert path.read_bytes() == (tmp_path / "run/round-1" / sampled.name / path.name).read_bytes()
    rewards = [
        store.read_table(tmp_path / out / "round-1" / scored.name)["reward"] for out in ("run", "fresh")
    ]
    assert np.allclose(*rewards, atol=1e-5)


def test_when_prompts_are_removed_alone_nothing_is_drawn_again(files, tmp_path, capsys):
    settings = {"prompts": files[0], "eval_prompts": files[1]} | SMALL
    run(out=tmp_path / "run", **settings)
    lines = (tmp_path / "eval.jsonl").read_text().splitlines()
    (tmp_path / "eval.jsonl").write_text("\n".join(lines[:1] + lines[2:]) + "\n")
    run(out=tmp_path / "run", **settings | {"show_progress": True})
    shown = capsys.readouterr().out
    assert "round 1: finetune best_of_n: cached" in shown
    for stage in ("evaluate base sample", "evaluate base score", "round 1: evaluate random reference"):
        assert f"{stage}: what was done for 3 prompts before is used again" in shown


def test_a_prompts_place_in_the_run_does_not_depend_on_the_others(files):
    train, held_out = files
    before, _ = rslib.pipeline.planned_prompts(RunConfig(prompts=train, eval_prompts=held_out))
    lines = open(train).read().splitlines()
    with open(train, "w") as file:
        file.write("\n".join(lines[:5] + lines[6:]))
    after, _ = rslib.pipeline.planned_prompts(RunConfig(prompts=train, eval_prompts=held_out))
    removed = json.loads(lines[5])["prompt"]
    assert after[0]["prompt"][:] == [p for p in before[0]["prompt"][:] if p != removed]


def test_a_system_turn_reaches_training_and_evaluation_prompts(files):
    inputs = Inputs.read(RunConfig(prompts=files[0], eval_prompts=files[1], system="Be brief."))
    for table in (inputs.training.table, inputs.heldout.table):
        assert all(talk[0] == {"role": "system", "content": "Be brief."} for talk in table["prompt"][:])


# Ten thousand


def test_among_ten_thousand_prompts_the_bad_ones_are_named_by_line_and_others_stay(files, tmp_path, capsys):
    lines = [f"Question {number}: how do I boil an egg?".encode() for number in range(10_000)]
    lines[17], lines[404], lines[5000], lines[9000] = b"", "œuf?".encode("cp1252"), lines[1], LONG.encode()
    (tmp_path / "many.txt").write_bytes(b"\n".join(lines))
    settings = {
        "prompts": str(tmp_path / "many.txt"),
        "eval_prompts": files[1],
        "out": tmp_path / "run",
        **SMALL,
    }
    with pytest.raises(DataError, match="4 prompts cannot be used") as caught:
        run(**settings)
    assert all(f"line {number}" in str(caught.value) for number in (18, 405, 5001, 9001))
    policy, reward_model = rslib.load_policy("tiny"), rslib.load_reward_model("tiny")
    rows = read_prompts(tmp_path / "many.txt")
    left = fit_all(rows, [policy], [reward_model], SampleConfig(max_new_tokens=16), too_long="drop")
    assert (len(left.table), left.dropped) == (9996, 4)
    shown = capsys.readouterr().out
    assert all(f"line {number}" in shown for number in (18, 405, 5001, 9001))


def test_bad_prompts_of_training_and_evaluation_are_named_in_one_error(files, tmp_path):
    train, held_out = (written(tmp_path / name, ["One egg?", LONG]) for name in ("a.jsonl", "b.jsonl"))
    with pytest.raises(DataError, match=r"line 2 of .*a\.jsonl; line 2 of .*b\.jsonl"):
        run(out=tmp_path / "run", prompts=train, eval_prompts=held_out, **SMALL)
