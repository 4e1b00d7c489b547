"""Published numbers for the pieces of PPO, and TRL's own losses on the same batch.

The values of the first part are worked out by hand or copied from the named source. The second part runs
where the `trl` extra is installed: a random Llama, the trainers of TRL as their users make them, and the
engine's losses on the batch that they saw.
"""

import copy
import itertools
import math
from functools import partial

import numpy as np
import pytest
import torch
from datasets import Dataset

from rslib.finetuning import TokenRow, language_model_objective
from rslib.models import load_policy
from rslib.rl import losses, unified
from rslib.rl.advantages import gae, group_normalised, kl_estimate, leave_one_out, token_rewards, whiten
from rslib.rl.dpo import _pair_objective
from rslib.rl.rollouts import response_logprobs, response_mask


def tensor(values):
    return torch.tensor(values, dtype=torch.float64)


def everywhere(values):
    return torch.ones_like(values, dtype=torch.bool)


# Generalised advantage estimates: Schulman et al. 2016, arXiv 1506.02438

REWARDS, VALUES = tensor([[0.0, 0.0, 1.0]]), tensor([[0.5, 0.6, 0.7]])


def test_gae_by_hand():
    # discount 0.9, smoothing 0.8. delta = 0 + 0.54 - 0.5, 0 + 0.63 - 0.6, 1 + 0 - 0.7 = 0.04, 0.03, 0.3.
    # A_3 = 0.3, A_2 = 0.03 + 0.72 * 0.3 = 0.246, A_1 = 0.04 + 0.72 * 0.246 = 0.21712 (eq. 16).
    advantages, returns = gae(REWARDS, VALUES, everywhere(VALUES), 0.9, 0.8)
    torch.testing.assert_close(advantages, tensor([[0.21712, 0.246, 0.3]]))
    torch.testing.assert_close(returns, tensor([[0.71712, 0.846, 1.0]]))


def test_gae_without_smoothing_is_the_temporal_difference_and_with_all_of_it_the_discounted_sum():
    # Eq. 17: delta itself. Eq. 18: 0.81 - 0.5, 0.9 - 0.6, 1 - 0.7.
    torch.testing.assert_close(
        gae(REWARDS, VALUES, everywhere(VALUES), 0.9, 0.0)[0], tensor([[0.04, 0.03, 0.3]])
    )
    torch.testing.assert_close(
        gae(REWARDS, VALUES, everywhere(VALUES), 0.9, 1.0)[0], tensor([[0.31, 0.3, 0.3]])
    )


def test_gae_is_the_sum_of_its_definition_for_rows_of_any_length():
    rng = np.random.default_rng(0)
    rewards, values = tensor(rng.normal(size=(4, 6))), tensor(rng.normal(size=(4, 6)))
    lengths = [6, 3, 1, 4]
    mask = torch.arange(6) < torch.tensor(lengths)[:, None]
    found, _ = gae(rewards, values, mask, 0.97, 0.9)
    for row, length in enumerate(lengths):
        ahead = [float(values[row, t]) if t < length else 0.0 for t in range(length + 1)]
        delta = [float(rewards[row, t]) + 0.97 * ahead[t + 1] - ahead[t] for t in range(length)]
        for t in range(6):
            expected = sum((0.97 * 0.9) ** (k - t) * delta[k] for k in range(t, length))
            assert float(found[row, t]) == pytest.approx(expected, abs=1e-12)


# Huang et al. 2024, "The N implementation details of RLHF with PPO"


def test_whitening_gives_the_published_numbers():
    # Detail 9: nine rewards, scaled about their mean of 1.6, which is put back there; the variance is the
    # biased one of TensorFlow, 0.0667, not torch's.
    rewards = tensor([[1.2, 1.3, 1.4], [1.5, 1.6, 1.7], [1.8, 1.9, 2.0]])
    published = [
        [0.05080712, 0.4381051, 0.8254035],
        [1.2127019, 1.6000004, 1.9872988],
        [2.3745968, 2.7618952, 3.1491938],
    ]
    whitened = whiten(rewards, everywhere(rewards))
    torch.testing.assert_close(whitened + 1.6, tensor(published), rtol=0, atol=1e-6)
    assert float(whitened.mean()) == pytest.approx(0, abs=1e-12)
    assert float(whitened.var(correction=0)) == pytest.approx(1, abs=1e-6)


def test_whitening_leaves_out_what_is_off_the_mask():
    rewards = tensor([[1.2, 1.3, 1.4, 99.0], [1.5, 1.6, 1.7, 99.0], [1.8, 1.9, 2.0, -5.0]])
    mask = torch.tensor([[True, True, True, False]] * 3)
    inner = rewards[:, :3]
    torch.testing.assert_close(whiten(rewards, mask)[:, :3], whiten(inner, everywhere(inner)))
    assert whiten(rewards, mask)[:, 3].tolist() == [0.0, 0.0, 0.0]


def test_the_penalty_per_token_gives_the_published_numbers():
    # Detail 8: three tokens of "usually, he would" under GPT-2 and after an update (new log-probabilities as
    # corrected in the text's repository, pull request 2576), a score of 0.4 at the end. The text prints
    # `beta * kl`; the code that it describes subtracts it, as a penalty must.
    reference, now = tensor([[-3.3213, -4.9980, -3.8690]]), tensor([[-3.6528, -5.0406, -3.2339]])
    kl = kl_estimate(now, reference, "k1")
    torch.testing.assert_close(kl, tensor([[-0.3315, -0.0426, 0.6351]]), rtol=0, atol=1e-4)
    found = token_rewards(tensor([0.4]), kl, everywhere(kl), 0.15)
    by_hand = tensor([[0.15 * 0.3315, 0.15 * 0.0426, 0.4 - 0.15 * 0.6351]])
    torch.testing.assert_close(found, by_hand, rtol=0, atol=1e-4)


def test_the_value_loss_is_half_the_larger_of_the_plain_and_the_clipped_error():
    # Detail 10. Old value 1, clip 0.2. Value 1.1: inside, 0.5 * (1.1 - 2)^2 = 0.405 either way. Value 1.5 is
    # clipped to 1.2: 0.5 * 0.8^2 = 0.32 beats 0.5 * 0.5^2. Value 0: clipped to 0.8, 0.5 * 2^2 = 2 stays.
    found = losses.clipped_value(tensor([1.1, 1.5, 0.0]), tensor([1.0] * 3), tensor([2.0] * 3), 0.2)
    torch.testing.assert_close(found, tensor([0.405, 0.32, 2.0]))


# Schulman 2020, "Approximating KL divergence", http://joschu.net/blog/kl-approx.html


@pytest.mark.parametrize(
    "mean, kind, bias, spread",
    [
        (0.1, "k1", 0.0, 20.0),
        (0.1, "k2", 0.002, 1.42),
        (0.1, "k3", 0.0, 1.42),
        (1.0, "k1", 0.0, 2.0),
        (1.0, "k2", 0.25, 1.73),
        (1.0, "k3", 0.0, 1.7),
    ],
)
def test_estimates_of_kl_have_the_published_bias_and_spread(mean, kind, bias, spread):
    # The note's tables: x ~ q = N(mean, 1), p = N(0, 1), KL = mean^2 / 2; bias and spread in units of the KL.
    # Expectations by Gauss-Hermite quadrature, exact here to 1e-10; the tables are rounded.
    nodes, weights = np.polynomial.hermite_e.hermegauss(80)
    x, weights = tensor(nodes + mean), tensor(weights / math.sqrt(2 * math.pi))
    found = kl_estimate(-((x - mean) ** 2) / 2, -(x**2) / 2, kind)
    kl, average = mean**2 / 2, float(weights @ found)
    assert (average - kl) / kl == pytest.approx(bias, abs=6e-4)
    deviation = math.sqrt(float(weights @ (found - average) ** 2))
    assert deviation / kl == pytest.approx(spread, abs=0.006 if spread != 1.7 else 0.05)


# The group's baselines


def test_advantages_of_a_group_by_hand():
    # Ahmadian et al. 2024, arXiv 2402.14740: 1 - (2 + 6) / 2, 2 - (1 + 6) / 2, 6 - (1 + 2) / 2.
    torch.testing.assert_close(leave_one_out(tensor([[1.0, 2.0, 6.0]])), tensor([[-3.0, -1.5, 4.5]]))
    # Shao et al. 2024, arXiv 2402.03300, section 4.1.2: mean 3, squares 4 + 1 + 9 over 2 are 7.
    expected = tensor([[-2.0, -1.0, 3.0]]) / math.sqrt(7)
    torch.testing.assert_close(group_normalised(tensor([[1.0, 2.0, 6.0]]), epsilon=0.0), expected)


# TRL's trainers on the same batch

PROMPT_LENGTHS = (3, 5, 2, 4)
RESPONSE_LENGTHS = (4, 1, 6, 3)


@pytest.fixture(scope="module")
def tiny(model_folder):
    """A policy of random weights, and another one to be its reference."""
    pytest.importorskip("trl")
    return load_policy(model_folder("llama"), device="cpu"), load_policy(
        model_folder("llama", seed=1), device="cpu"
    )


def rows_of(policy, seed):
    """Four rows of random tokens: prompts and responses of different lengths, one of a single token."""
    rng = np.random.default_rng(seed)
    highest = len(policy.tokenizer)
    prompts = [np.random.default_rng(i).integers(5, highest, size) for i, size in enumerate(PROMPT_LENGTHS)]
    responses = [rng.integers(5, highest, size) for size in RESPONSE_LENGTHS]
    return [TokenRow([*p.tolist(), *r.tolist()], len(p)) for p, r in zip(prompts, responses, strict=True)]


def padded(sequences, fill, side="right"):
    width = max(map(len, sequences))
    rows = [
        [*([fill] * (width - len(s))), *s] if side == "left" else [*s, *([fill] * (width - len(s)))]
        for s in sequences
    ]
    return torch.tensor(rows)


def whole(rows, pad_id):
    """The rows as TRL's collators make them: padded on the right, with the mask of the responses."""
    masks = [[int(t >= row.first_target) for t in range(len(row.ids))] for row in rows]
    return {
        "input_ids": padded([row.ids for row in rows], pad_id),
        "attention_mask": padded([[1] * len(row.ids) for row in rows], 0),
        "completion_mask": padded(masks, 0),
    }


def split(rows, pad_id):
    """The batch of TRL's online trainers: prompts padded on the left, responses on the right."""
    prompts = [list(row.ids[: row.first_target]) for row in rows]
    responses = [list(row.ids[row.first_target :]) for row in rows]
    return {
        "prompt_ids": padded(prompts, pad_id, "left"),
        "prompt_mask": padded([[1] * len(p) for p in prompts], 0, "left"),
        "completion_ids": padded(responses, pad_id),
        "completion_mask": padded([[1] * len(r) for r in responses], 0),
    }


QUIET = {
    "use_cpu": True,
    "bf16": False,
    "gradient_checkpointing": False,
    "report_to": "none",
    "logging_strategy": "no",
    "save_strategy": "no",
    "disable_tqdm": True,
    "max_steps": 1,
    "learning_rate": 0.0,
}


def loss_and_gradient(loss, model):
    """The loss and the gradient of all weights in one row; the gradients are taken off again."""
    model.zero_grad(set_to_none=True)
    loss.backward()
    gradient = torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])
    model.zero_grad(set_to_none=True)
    return float(loss.detach()), gradient


def assert_same(ours, theirs):
    """Losses within 1e-5, and gradients within 1e-5 of their length."""
    assert ours[0] == pytest.approx(theirs[0], rel=1e-5, abs=1e-5)
    assert float(theirs[1].norm()) > 1e-4
    assert float((ours[1] - theirs[1]).norm()) < 1e-5 * max(1.0, float(theirs[1].norm()))


def trainable(policy):
    return copy.deepcopy(policy.model).requires_grad_(True)


@pytest.mark.trl
def test_the_next_token_loss_is_that_of_trl(tiny, tmp_path):
    from trl import SFTConfig, SFTTrainer

    policy, _ = tiny
    rows, batch = rows_of(policy, 0), whole(rows_of(policy, 0), policy.pad_id)
    table = Dataset.from_dict(
        {"input_ids": [list(row.ids) for row in rows], "labels": [row.ids for row in rows]}
    )
    settings = SFTConfig(
        str(tmp_path), max_length=None, dataset_kwargs={"skip_prepare_dataset": True}, **QUIET
    )
    trainer = SFTTrainer(
        trainable(policy), args=settings, train_dataset=table, processing_class=policy.tokenizer
    )
    labels = batch["input_ids"].masked_fill(batch.pop("completion_mask") == 0, -100)
    theirs = trainer.compute_loss(trainer.model, {**batch, "labels": labels})
    model = trainable(policy)
    objective = language_model_objective(model, rows, policy.pad_id)
    everything = list(range(len(rows)))
    ours = objective.loss_sum(everything) / objective.weight(everything)
    assert_same(loss_and_gradient(ours, model), loss_and_gradient(theirs, trainer.model))


@pytest.mark.trl
@pytest.mark.parametrize("beta", [0.1, 2.0])
def test_the_loss_of_dpo_is_that_of_trl(tiny, tmp_path, beta):
    from trl import DPOConfig, DPOTrainer

    tuned, reference = tiny
    chosen, rejected = rows_of(tuned, 1), rows_of(tuned, 2)
    table = Dataset.from_dict({"prompt": ["a"], "chosen": ["b"], "rejected": ["c"]})
    trainer = DPOTrainer(
        trainable(tuned),
        copy.deepcopy(reference.model),
        args=DPOConfig(str(tmp_path), beta=beta, max_length=None, **QUIET),
        train_dataset=table,
        processing_class=tuned.tokenizer,
    )
    theirs = trainer.compute_loss(trainer.model, whole(chosen + rejected, tuned.pad_id))
    model = trainable(tuned)
    objective = _pair_objective(reference, model, chosen, rejected, beta)
    ours = objective.loss_sum([0, 1, 2, 3]) / objective.weight([0, 1, 2, 3])
    assert_same(loss_and_gradient(ours, model), loss_and_gradient(theirs, trainer.model))


def online_trainer(name, policy, folder, **options):
    """TRL's trainer `name` with a reward that depends on the text alone; the list fills with its rewards."""
    import trl

    seen = []

    def reward(completions, **_):
        seen.append([math.sin(sum(map(ord, text))) for text in completions])
        return seen[-1]

    config = getattr(trl, f"{name}Config")(
        str(folder),
        max_completion_length=5,
        num_generations=4,
        per_device_train_batch_size=8,
        temperature=1.0,
        **QUIET,
        **options,
    )
    trainer = getattr(trl, f"{name}Trainer")(
        trainable(policy),
        reward_funcs=reward,
        args=config,
        train_dataset=Dataset.from_dict({"prompt": ["What is", "How do I"]}),
        processing_class=policy.tokenizer,
    )
    return trainer, seen


def batch_of_two_groups(policy, reference):
    """Rows, mask, old and reference logprobs (4, T); the old ones are off, so some ratios are clipped."""
    rows = rows_of(policy, 3)
    mask = response_mask(rows)
    with torch.no_grad():
        now = response_logprobs(policy.model, rows, mask, policy.pad_id)
        before = response_logprobs(reference.model, rows, mask, policy.pad_id)
    noise = 0.3 * torch.randn(mask.shape, generator=torch.Generator().manual_seed(0))
    return rows, mask, (now + noise) * mask, before


ADVANTAGES = torch.tensor([0.7, -1.2, 1.5, -0.4])


@pytest.mark.trl
@pytest.mark.parametrize("mean, loss_type", [("sequences", "grpo"), ("tokens", "bnpo")])
@pytest.mark.parametrize("kl_coefficient", [0.0, 0.04, 1.0])
def test_the_loss_of_grpo_is_that_of_trl(tiny, tmp_path, kl_coefficient, mean, loss_type):
    policy, reference = tiny
    rows, mask, old, before = batch_of_two_groups(policy, reference)
    # TRL's default weighs the KL by the ratio, a correction of its own; the paper's eq. 3 does not.
    options = {
        "beta": kl_coefficient,
        "epsilon": 0.2,
        "loss_type": loss_type,
        "use_bias_correction_kl": False,
    }
    trainer, _ = online_trainer("GRPO", policy, tmp_path, **options)
    trainer.model.eval()
    inputs = split(rows, policy.pad_id) | {"advantages": ADVANTAGES}
    inputs |= {"old_per_token_logps": old, "ref_per_token_logps": before}
    theirs = trainer.compute_loss(trainer.model, inputs)
    model = trainable(policy)
    now = response_logprobs(model, rows, mask, policy.pad_id)
    ratios = torch.exp(now.detach() - old)[mask]
    assert ((ratios - 1).abs() > 0.2).any() and ((ratios - 1).abs() < 0.2).any()
    per_token = losses.grpo(now, old, before, ADVANTAGES[:, None], 0.2, kl_coefficient)
    ours = losses.total(per_token, mask, mean) / losses.weight(mask, mean)
    assert_same(loss_and_gradient(ours, model), loss_and_gradient(theirs, trainer.model))


CONSTANT = 5
"""What Dr. GRPO divides by in TRL: the longest response, which `online_trainer` sets."""
VARIANTS = {
    "clip_higher": ({"loss_type": "bnpo", "epsilon_high": 0.28}, "tokens", 1),
    "dapo": ({"loss_type": "dapo", "epsilon_high": 0.28}, "tokens", 1),
    "dr_grpo": ({"loss_type": "dr_grpo"}, "rows", CONSTANT),
    "gspo": (
        {"loss_type": "grpo", "importance_sampling_level": "sequence", "epsilon_high": 0.1},
        "sequences",
        1,
    ),
}


@pytest.mark.trl
@pytest.mark.parametrize("name", sorted(VARIANTS))
def test_the_variants_of_grpo_are_those_of_trl(tiny, tmp_path, name):
    """Loss and gradient of each, and the gradient of the coefficient that `unified` gives for it."""
    options, mean, constant = VARIANTS[name]
    low = 0.05 if name == "gspo" else 0.2
    policy, reference = tiny
    rows, mask, old, _ = batch_of_two_groups(policy, reference)
    trainer, _ = online_trainer("GRPO", policy, tmp_path, beta=0.0, epsilon=low, **options)
    trainer.model.eval()
    inputs = split(rows, policy.pad_id) | {"advantages": ADVANTAGES, "old_per_token_logps": old}
    inputs["num_items_in_batch"] = mask.sum()
    theirs = loss_and_gradient(trainer.compute_loss(trainer.model, inputs), trainer.model)
    model, column, high = trainable(policy), ADVANTAGES[:, None], options.get("epsilon_high")

    def now():
        return response_logprobs(model, rows, mask, policy.pad_id)

    def averaged(per_token):
        return losses.total(per_token, mask, mean) / losses.weight(mask, mean) / constant

    if name == "gspo":
        means = (losses.masked_mean(values, mask, 1) for values in (now(), old))
        ours = losses.clipped_policy(*means, ADVANTAGES, low, high).mean()
        coefficient = unified.gspo(now().detach(), old, mask, column, low, high)
    else:
        ours = averaged(losses.clipped_policy(now(), old, column, low, high))
        coefficient = unified.ppo(now().detach(), old, column, low, high)
    assert 0 < int((coefficient[mask] == 0).sum()) < int(mask.sum())  # some are clipped
    assert_same(loss_and_gradient(ours, model), theirs)
    surrogate = loss_and_gradient(averaged(unified.surrogate(now(), coefficient)), model)
    assert_same((theirs[0], surrogate[1]), theirs)


@pytest.mark.trl
def test_the_loss_of_rloo_is_that_of_trl(tiny, tmp_path):
    policy, reference = tiny
    rows, mask, old, _ = batch_of_two_groups(policy, reference)
    trainer, _ = online_trainer("RLOO", policy, tmp_path, epsilon=0.2)
    trainer.model.eval()
    model = trainable(policy)

    def theirs(old_sums):
        inputs = split(rows, policy.pad_id) | {"advantages": ADVANTAGES, "old_logps": old_sums}
        return loss_and_gradient(trainer.compute_loss(trainer.model, inputs), trainer.model)

    def now():
        return response_logprobs(model, rows, mask, policy.pad_id)

    # TRL clips the ratio of whole responses, which the same function does when it is given sums.
    ours = losses.clipped_policy(now().sum(1), old.sum(1), ADVANTAGES, 0.2).mean()
    assert_same(loss_and_gradient(ours, model), theirs(old.sum(1)))
    # On fresh samples the ratio is 1, and the engine's unclipped loss has the same gradient.
    surrogate = losses.policy_gradient(now(), ADVANTAGES[:, None])
    fresh = losses.total(surrogate, mask, "rows") / losses.weight(mask, "rows")
    found, expected = loss_and_gradient(fresh, model), theirs(now().detach().sum(1))
    assert_same((expected[0], found[1]), expected)


@pytest.mark.trl
@pytest.mark.parametrize("name", ["RLOO", "GRPO", "Dr. GRPO"])
def test_the_advantages_are_those_that_trl_makes_of_the_rewards_of_its_own_samples(tiny, tmp_path, name):
    policy, _ = tiny
    unscaled = {"scale_rewards": "none"} if name == "Dr. GRPO" else {}
    trainer, rewards = online_trainer(name.removeprefix("Dr. "), policy, tmp_path, beta=0.0, **unscaled)
    batches, compute = [], trainer.compute_loss

    def noting(model, inputs, *args, **kwargs):
        batches.append({key: value for key, value in inputs.items() if torch.is_tensor(value)})
        return compute(model, inputs, *args, **kwargs)

    trainer.compute_loss = noting
    trainer.train()
    (batch,), (given,) = batches, rewards
    groups = torch.tensor(given).view(2, 4)
    centred = partial(group_normalised, by="none")
    ours = {"RLOO": leave_one_out, "GRPO": group_normalised, "Dr. GRPO": centred}[name](groups)
    # The trainer shuffles its samples after scoring, within the batch.
    assert len(set(given)) > 4
    for found, expected in itertools.zip_longest(
        sorted(batch["advantages"].tolist()), sorted(ours.flatten().tolist())
    ):
        assert found == pytest.approx(expected, rel=1e-5, abs=1e-5)
