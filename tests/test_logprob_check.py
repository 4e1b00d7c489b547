"""Stored log-probabilities are the policy's own: a sample of every run is read again."""

import warnings

import pytest

import rslib
from rslib.models import load_policy
from rslib.sampling import LogprobWarning, logprobs_agree
from tests.small_models import ARCHITECTURES

PROMPTS = ["Hi", "What is the capital of France?"]


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_what_sampling_stores_is_the_policys_own_at_every_setting(model_folder, arch):
    policy = load_policy(model_folder(arch))
    for settings in ({}, {"temperature": 0.0}, {"temperature": 0.5, "top_k": 3, "min_new_tokens": 5}):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            responses = rslib.sample(policy, PROMPTS, n=2, show_progress=False, **settings)
        assert logprobs_agree(policy, responses) == {"rows": 2, "tolerance": 1e-3, "agree": True}


def test_log_probabilities_of_another_policy_are_noticed(model_folder):
    policy, other = (load_policy(model_folder("llama", seed=seed)) for seed in (0, 1))
    responses = rslib.sample(policy, PROMPTS, n=2, show_progress=False)
    assert not logprobs_agree(other, responses)["agree"]


def test_a_run_whose_engine_stores_others_warns_and_says_so_in_its_report(tmp_path, monkeypatch):
    settings = {"n": 2, "prompts": 2, "eval_prompts": 4, "eval_samples_per_prompt": 1, "show_progress": False}
    report = rslib.run(out=tmp_path / "right", **settings)
    assert report.rounds[0]["provenance"]["logprobs"] == {"rows": 2, "tolerance": 1e-3, "agree": True}

    from rslib.decoding import engine

    drawn = engine.sample_tokens

    def shifted(*args):
        tokens, logprobs = drawn(*args)
        return tokens, logprobs - 0.01

    monkeypatch.setattr(engine, "sample_tokens", shifted)
    with pytest.warns(LogprobWarning, match="more than 0.001 nats a token"):
        report = rslib.run(out=tmp_path / "shifted", seed=1, **settings)
    assert any("Stored log-probabilities differ" in line for line in report.headlines())


def test_the_run_says_on_which_day_its_template_was_printed(model_folder, tmp_path):
    from tests.small_models import CHAT_TEMPLATE, build_tokenizer

    folder = model_folder(
        "llama", tokenizer=build_tokenizer(chat_template="{{ strftime_now('%d %b %Y') }}" + CHAT_TEMPLATE)
    )
    settings = {"n": 2, "prompts": 2, "eval_prompts": 2, "eval_samples_per_prompt": 1, "max_new_tokens": 4}
    report = rslib.run(policy=str(folder), out=tmp_path / "run", show_progress=False, epochs=1, **settings)
    assert report.settings["policy"]["date"] == report.settings["config"]["date"] == "2024-07-26"
    other = rslib.run(
        policy=str(folder),
        date="2026-01-02",
        out=tmp_path / "other",
        show_progress=False,
        epochs=1,
        **settings,
    )
    assert other.settings["policy"]["fingerprint"] != report.settings["policy"]["fingerprint"]
