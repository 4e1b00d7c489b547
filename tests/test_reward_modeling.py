"""Reward modelling: the Bradley-Terry loss, grouping, training, and the gates."""

import numpy as np
import pytest
import torch
from datasets import Dataset

from rslib.build import _length_correlation, _prompt_sensitivity
from rslib.config import FinetuneConfig
from rslib.errors import DataError
from rslib.models import PromptBlindRewardModel, load_policy, load_reward_model
from rslib.reward_modeling import (
    _bradley_terry_loss,
    _comparison_groups,
    _group_loss,
    group_pair_accuracy,
    new_reward_model,
    rewards_of,
    train_reward_model,
)
from rslib.scoring import score

PAIRS = [
    {"prompt": p, "chosen": f"yes {i} {p}", "rejected": f"no {i}"}
    for i in range(6)
    for p in ("swim", "run", "cook")
]


@pytest.fixture
def policy(model_folder):
    return load_policy(str(model_folder("llama")))


def table(rows):
    return Dataset.from_list(rows)


def test_the_loss_is_minus_log_sigmoid_of_the_margin_even_when_it_is_huge():
    chosen, rejected = torch.tensor([2.0, 0.0, 500.0, -500.0]), torch.tensor([0.0, 0.0, -500.0, 500.0])
    found = _bradley_terry_loss(chosen, rejected)
    assert found[:2].tolist() == pytest.approx([np.log(1 + np.exp(-2)), np.log(2)])
    assert found[2] == 0 and found[3] == pytest.approx(1000)


def test_each_distinct_response_of_a_prompt_is_encoded_once(policy):
    rows = [
        {"prompt": "swim", "chosen": "a", "rejected": "b"},
        {"prompt": "swim", "chosen": "a", "rejected": "c"},
    ]
    (group,) = _comparison_groups(new_reward_model(policy), table(rows))
    assert len(group.rows) == 3 and group.pairs == [(0, 1), (0, 2)]


def test_no_comparisons_is_an_error(policy):
    with pytest.raises(DataError, match="no comparisons"):
        _comparison_groups(new_reward_model(policy), table(PAIRS).select([]))


def test_the_loss_of_groups_adds_up(policy):
    model = new_reward_model(policy)
    groups = _comparison_groups(model, table(PAIRS))
    together = _group_loss(model.model, groups, model.pad_id)
    apart = sum(_group_loss(model.model, [g], model.pad_id) for g in groups)
    torch.testing.assert_close(together, apart, rtol=1e-4, atol=1e-5)


def test_training_separates_the_pairs_and_the_folder_loads_again(policy, tmp_path):
    config = FinetuneConfig(learning_rate=3e-3, epochs=8, batch_tokens=256, warmup_steps=2)
    trained = train_reward_model(policy, table(PAIRS), tmp_path / "rm", config=config, show_progress=False)
    again = load_reward_model(str(tmp_path / "rm"))
    assert again.fingerprint() == trained.fingerprint()
    scores = {
        side: rewards_of(
            again.model, again.encode_many([(r["prompt"], r[side]) for r in PAIRS]), again.pad_id
        )
        for side in ("chosen", "rejected")
    }
    assert (scores["chosen"] > scores["rejected"]).float().mean() == 1.0


def test_the_head_pools_by_position_whatever_the_padding(policy):
    model = new_reward_model(policy)
    rows = model.encode_many([("swim", "yes"), ("swim", "a much longer response than the first")])
    together = rewards_of(model.model, rows, model.pad_id)
    alone = torch.cat([rewards_of(model.model, [row], model.pad_id) for row in rows])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-5)


def test_a_new_reward_model_leaves_the_global_random_state_alone(policy):
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    new_reward_model(policy, seed=9)
    assert torch.equal(torch.rand(3), expected)


def test_group_pair_accuracy_leaves_out_true_ties_and_halves_predicted_ones():
    truth = np.array([[0.0, 1.0, 1.0]])
    assert group_pair_accuracy(np.array([[0.0, 5.0, -9.0]]), truth) == 0.5
    assert group_pair_accuracy(np.array([[0.0, 0.0, 1.0]]), truth) == 0.75


def scored_table(model, prompts, responses):
    drawn = {"token_ids": [5], "token_logprobs": [-1.0], "logprob": -1.0, "finish_reason": "eos", "seed": 0}
    rows = [
        {"prompt_id": prompt, "sample_id": i, "prompt": prompt, "response": text} | drawn
        for prompt in prompts
        for i, text in enumerate(responses)
    ]
    return score(model, Dataset.from_list(rows), show_progress=False)


def test_a_prompt_blind_reward_model_has_no_prompt_sensitivity(policy):
    model = PromptBlindRewardModel(**vars(new_reward_model(policy)))
    scored = scored_table(model, ["swim", "run"], ["yes", "no thanks"])
    assert abs(_prompt_sensitivity(model, scored)) < 1e-6


def test_length_correlation_sees_a_reward_that_counts_words():
    rows = [{"response": "a " * k, "reward": float(k)} for k in range(1, 9)]
    assert _length_correlation(Dataset.from_list(rows)) == pytest.approx(1.0)
