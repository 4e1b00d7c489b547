"""Score: equal to transformers' own reward model on the row alone, in any batch; reference log-probs."""

import copy
import dataclasses

import numpy as np
import pytest
import torch
from datasets import Dataset

from rslib.errors import ConfigError, DataError, RewardError
from rslib.models import PromptBlindRewardModel, load_policy, load_reward_model
from rslib.sampling import sample
from rslib.scoring import reference_logprobs, score
from rslib.tables import with_column
from tests.small_models import ARCHITECTURES
from tests.test_decoding import PROMPTS, full_logprobs

TEXTS = [
    "Paris.",
    "",
    "Mix flour, water, salt and yeast, then wait.",
    "42",
    "42!",
    "I cannot help with that request.",
]


def table(prompts=PROMPTS, texts=TEXTS):
    rows = [
        {"prompt_id": f"p{i}", "prompt": prompt, "sample_id": j, "response": text}
        for i, prompt in enumerate(prompts)
        for j, text in enumerate(texts[: 1 + (i + 5) % len(texts)])
    ]
    return Dataset.from_list(rows)


@torch.no_grad()
def alone(reward_model, row):
    ids = torch.tensor([reward_model.encode(row["prompt"], row["response"])]).to(reward_model.model.device)
    return reward_model.model(input_ids=ids).logits[0, 0].item()


@pytest.fixture(scope="module", params=ARCHITECTURES)
def any_reward_model(request, model_folder):
    return load_reward_model(str(model_folder(request.param, "reward")))


@pytest.fixture(scope="module")
def reward_model(model_folder):
    return load_reward_model(str(model_folder("llama", "reward")))


@pytest.fixture(scope="module")
def policy(model_folder):
    return load_policy(str(model_folder("llama")))


def rewards(reward_model, responses, **options):
    return np.array(score(reward_model, responses, show_progress=False, **options)["reward"])


def test_rewards_equal_those_of_transformers_on_each_row_alone(any_reward_model):
    responses = table()
    wanted = [alone(any_reward_model, row) for row in responses]
    assert np.ptp(wanted) > 0.1
    np.testing.assert_allclose(rewards(any_reward_model, responses), wanted, atol=1e-5)


@pytest.mark.parametrize("batch_tokens", [1, 60, 300, 100_000])
def test_batches_do_not_change_rewards(reward_model, batch_tokens):
    responses = table()
    found = rewards(reward_model, responses, batch_tokens=batch_tokens)
    np.testing.assert_allclose(found, rewards(reward_model, responses), atol=1e-5)


def test_rows_keep_their_order_and_columns_and_an_old_reward_is_replaced(reward_model):
    responses = table()
    order = np.random.default_rng(0).permutation(len(responses))
    shuffled = responses.select(order)
    np.testing.assert_allclose(
        rewards(reward_model, shuffled), rewards(reward_model, responses)[order], atol=1e-5
    )
    again = score(reward_model, score(reward_model, shuffled, show_progress=False), show_progress=False)
    assert again.column_names == [*responses.column_names, "reward"]
    assert again["response"][:] == shuffled["response"][:]


def test_the_prefix_of_a_prompt_is_computed_once(reward_model):
    seen = []
    hook = reward_model.model.get_input_embeddings().register_forward_hook(
        lambda module, inputs, embedded: seen.append(inputs[0].numel())
    )
    responses = table([PROMPTS[2]], [f"{text} and so on" for text in TEXTS])
    rewards(reward_model, responses)
    hook.remove()
    lengths = [len(reward_model.encode(row["prompt"], row["response"])) for row in responses]
    assert sum(seen) < 0.5 * sum(lengths)


def test_a_prompt_blind_reward_model_does_not_see_the_prompt(reward_model):
    blind = PromptBlindRewardModel(**vars(reward_model))
    found = rewards(blind, table(["Hi", "Sum 12 and 30."], ["42"] * 6))
    np.testing.assert_allclose(found, found[0], atol=1e-6)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_rewards_that_are_not_finite_name_the_first_row(reward_model, value):
    broken = dataclasses.replace(reward_model, model=copy.deepcopy(reward_model.model))
    token = reward_model.encode("Hi", "42!")[-2]
    with torch.no_grad():
        broken.model.get_input_embeddings().weight[token] = value
    with pytest.raises(RewardError) as caught:
        rewards(broken, table(["Hi"], ["Paris.", "One.", "42!"]))
    assert "p0" in str(caught.value) and "sample_id" in str(caught.value)


def test_a_dialogue_beyond_the_context_is_named(reward_model):
    with pytest.raises(DataError, match="sample_id 1") as caught:
        rewards(reward_model, table(["Hi"], ["One.", "a" * 400]))
    assert f"context is {reward_model.context}" in str(caught.value)


def test_a_table_without_responses_is_refused(reward_model):
    with pytest.raises(DataError, match="sample"):
        score(reward_model, Dataset.from_list([{"prompt_id": "a", "prompt": "Hi"}]))


def test_scoring_says_nothing_on_standard_error(reward_model, capfd):
    score(reward_model, table())
    printed = capfd.readouterr()
    assert printed.err == "" and "score: " in printed.out


def test_the_reward_model_is_as_it_was_afterwards(reward_model):
    before = reward_model.fingerprint()
    rewards(reward_model, table())
    assert reward_model.fingerprint() == before
    assert reward_model.model.config._attn_implementation == "sdpa"


# Reference log-probabilities ---------------------------------------------------------------------------


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_reference_logprobs_equal_a_full_forward_pass(model_folder, arch):
    drawer, reference = (load_policy(str(model_folder(arch, seed=seed))) for seed in (0, 1))
    responses = sample(drawer, PROMPTS, n=4, max_new_tokens=25, show_progress=False)
    wanted = [
        full_logprobs(reference, reference.encode(row["prompt"]), row["token_ids"]).double().sum()
        for row in responses
    ]
    for batch_tokens in (None, 50):
        found = reference_logprobs(reference, responses, batch_tokens=batch_tokens)
        np.testing.assert_allclose(found, wanted, atol=1e-4)
    np.testing.assert_allclose(reference_logprobs(drawer, responses), responses["logprob"], atol=1e-4)


def test_logits_are_computed_in_bounded_memory(policy, monkeypatch):
    responses = sample(policy, PROMPTS, n=2, max_new_tokens=9, show_progress=False)
    whole = reference_logprobs(policy, responses)
    monkeypatch.setattr("rslib.scoring._LOGITS", 5 * 328)
    np.testing.assert_allclose(reference_logprobs(policy, responses), whole, atol=1e-5)


def test_a_response_without_tokens_has_logprob_zero(policy):
    rows = [
        {"prompt_id": "a", "prompt": "Hi", "sample_id": 0, "response": "", "token_ids": []},
        {"prompt_id": "a", "prompt": "Hi", "sample_id": 1, "response": "x", "token_ids": [9]},
    ]
    found = reference_logprobs(policy, Dataset.from_list(rows))
    assert found[0] == 0 and found[1] < 0


def test_responses_without_tokens_columns_cannot_be_weighed(policy):
    with pytest.raises(DataError, match="token_ids"):
        reference_logprobs(policy, table())


# Functions that score


def test_a_function_scores_each_row_alone_with_the_reference_of_its_prompt():
    responses = table()
    references = [f"ideal {prompt_id}" for prompt_id in responses["prompt_id"][:]]
    scored = score(
        lambda prompt, response, reference: len(response) + len(reference),
        with_column(responses, "reference", references),
        show_progress=False,
    )
    wanted = [
        len(text) + len(ideal) for text, ideal in zip(responses["response"][:], references, strict=True)
    ]
    assert scored["reward"][:] == wanted
    assert score(lambda prompt, response: np.float32(1), responses, show_progress=False)["reward"][:] == [
        1.0
    ] * len(responses)
    assert (
        score(lambda p, r, reference=None: reference is None, responses, show_progress=False)["reward"][0]
        == 1
    )


@pytest.mark.parametrize(
    ("function", "error", "message"),
    [
        (lambda p, r, f: float("nan"), RewardError, "returned nan"),
        (lambda p, r, f: -float("inf"), RewardError, "returned -inf"),
        (lambda p, r, f: "good", RewardError, "returned 'good'"),
        (lambda p, r, f: None, RewardError, "returned None"),
        (lambda p, r, f: torch.ones(2), RewardError, "returned Tensor"),
        (lambda p, r, f: 1 / 0, RewardError, "raised ZeroDivisionError: division by zero"),
        (lambda p: 1.0, ConfigError, r"cannot be called with a prompt and a response: \(p\)"),
        ("tiny", ConfigError, "a str can score nothing"),
        (None, ConfigError, "a NoneType can score nothing"),
    ],
)
def test_what_gives_no_finite_number_is_one_error_that_names_the_row(function, error, message):
    with pytest.raises(error, match=message) as caught:
        score(function, table(), show_progress=False)
    assert error is ConfigError or "'p0'" in str(caught.value) and PROMPTS[0][:20] in str(caught.value)
