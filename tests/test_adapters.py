"""The functions that a course on alignment asks for, each written from public functions of rslib alone.

An assignment's adapters are thin: they name a piece of mathematics and its shapes. Each stands here in a
few lines over `rslib.rl`, `rslib.checkers` and `rslib.reward_functions`, held to its formula in plain loops.
Shapes: rewards (groups * n,), log-probabilities and masks (B, T), logits (B, T, vocabulary).
"""

import math

import numpy as np
import pytest
import torch

from rslib import load_policy
from rslib.checkers import choice, choice_in, number, number_in
from rslib.decoding.sampler import token_logprobs
from rslib.errors import DataError
from rslib.finetuning import TokenRow, pad_right, target_mask
from rslib.reward_functions import RewardFunction
from rslib.rl import losses
from rslib.rl.advantages import group_normalised
from rslib.rl.rollouts import response_logprobs, response_mask
from rslib.theory import pass_at_k

# The adapters


def group_normalised_rewards(reward, prompts, responses, references, n, by, epsilon):
    """Advantages and raw rewards (B,) of responses in groups of n."""
    call = RewardFunction(reward)
    raw = torch.tensor([call(*row) for row in zip(prompts, responses, references, strict=True)])
    return group_normalised(raw.view(-1, n), epsilon, by).flatten(), raw


def entropy_of(logits):
    return losses.entropy(logits)


def masked_mean(values, mask, dim=None):
    return losses.masked_mean(values, mask, dim)


def masked_normalise(values, mask, constant, dim=None):
    tokens = mask.sum() if dim is None else mask.sum(dim)
    return losses.masked_mean(values, mask, dim) * tokens / constant


def tokenised(policy, prompts, outputs):
    """Token rows, input_ids and labels (B, T - 1), and the mask of the labels that are responses."""
    pairs = [
        (policy.encode(p), policy.tokenizer(o)["input_ids"]) for p, o in zip(prompts, outputs, strict=True)
    ]
    rows = [TokenRow([*prompt, *output], len(prompt)) for prompt, output in pairs]
    ids = pad_right([row.ids for row in rows], policy.pad_id, "cpu")
    return rows, ids[:, :-1], ids[:, 1:], target_mask(rows, ids.shape[1])


def response_log_probs(model, input_ids, labels):
    """Log-probabilities and entropies (B, T) of the next token everywhere."""
    logits = model(input_ids).logits
    return token_logprobs(logits.flatten(0, 1), labels.flatten()).view_as(labels), losses.entropy(logits)


def per_token_loss(kind, logprobs, advantages, old_logprobs=None, mask=None, clip=0.2):
    """(B, T): on-policy, clipped by the token, or by the sequence (GSPO); advantages (B, 1)."""
    if kind == "on_policy":
        return losses.policy_gradient(logprobs, advantages)
    if kind == "clipped":
        return losses.clipped_policy(logprobs, old_logprobs, advantages, clip)
    now, old = (losses.masked_mean(values, mask, 1)[:, None] for values in (logprobs, old_logprobs))
    return losses.clipped_policy(now, old, advantages, clip).expand_as(mask)


def aggregated(per_token, mask, by, constant=1):
    """Mean over rows of each row's mean over tokens, or of its sum over a constant."""
    mean = "sequences" if by == "sequence" else "rows"
    return losses.total(per_token, mask, mean) / losses.weight(mask, mean) / constant


def microbatch_step(logprobs, mask, advantages, old_logprobs, kind, by, steps, constant=1):
    """The loss of one of `steps` microbatches; its gradient is left in the leaves."""
    per_token = per_token_loss(kind, logprobs, advantages, old_logprobs, mask)
    loss = aggregated(per_token, mask, by, constant) / steps
    loss.backward()
    return loss.detach()


def sft_step(logprobs, mask, steps, constant=1):
    """The same of the next-token loss: every token counts 1."""
    ones = torch.ones(len(mask), 1, dtype=logprobs.dtype)
    return microbatch_step(logprobs, mask, ones, None, "on_policy", "constant", steps, constant)


# What they are held to

RIGHT, WRONG = "6 x 7 = 42. #### 42", "I say 41."
ROWS = ["How much?"] * 6, [RIGHT, WRONG, WRONG, RIGHT, RIGHT, RIGHT], ["#### 42"] * 6
MASK = torch.tensor([[True, True, True, False], [True, False, False, False], [True, True, False, False]])
GENERATOR = torch.Generator().manual_seed(0)
LOGPROBS = -torch.rand(3, 4, generator=GENERATOR, dtype=torch.float64)
OLD = LOGPROBS + 0.4 * torch.randn(3, 4, generator=GENERATOR, dtype=torch.float64)
GAINS = torch.tensor([[0.7], [-1.2], [0.4]], dtype=torch.float64)


@pytest.mark.parametrize("by", ["std", "none", "mean"])
def test_the_normalisers(by):
    advantages, raw = group_normalised_rewards(number, *ROWS, 3, by, 1e-6)
    assert raw.tolist() == [1, 0, 0, 1, 1, 1]
    group = np.array([1.0, 0.0, 0.0])
    over = {"std": group.std(ddof=1) + 1e-6, "none": 1.0, "mean": group.mean() + 1e-6}[by]
    np.testing.assert_allclose(advantages[:3], (group - group.mean()) / over, rtol=1e-6)
    assert advantages[3:].tolist() == [0.0, 0.0, 0.0]


def test_entropy_and_means():
    logits = torch.randn(2, 3, 7, generator=GENERATOR, dtype=torch.float64)
    by_hand = torch.distributions.Categorical(logits=logits).entropy()
    torch.testing.assert_close(entropy_of(logits), by_hand)
    assert entropy_of(logits * 1e6).isfinite().all()
    rows = [LOGPROBS[i][MASK[i]] for i in range(3)]
    torch.testing.assert_close(masked_mean(LOGPROBS, MASK), torch.cat(rows).mean())
    torch.testing.assert_close(masked_mean(LOGPROBS, MASK, 1), torch.stack([row.mean() for row in rows]))
    torch.testing.assert_close(masked_normalise(LOGPROBS, MASK, 8.0), torch.cat(rows).sum() / 8)


def test_masked_normalise_along_a_dimension():
    by_hand = torch.stack([LOGPROBS[i][MASK[i]].sum() for i in range(3)]) / 8
    torch.testing.assert_close(masked_normalise(LOGPROBS, MASK, 8.0, 1), by_hand)


def test_log_probabilities_of_responses():
    policy = load_policy("tiny")
    outputs = ["Boil it for ten minutes.", "No."]
    rows, input_ids, labels, mask = tokenised(policy, ["How do I boil an egg?", "Shall I?"], outputs)
    assert [policy.tokenizer.decode(labels[i][mask[i]]) for i in range(2)] == outputs
    with torch.no_grad():
        found, entropies = response_log_probs(policy.model, input_ids, labels)
        whole = policy.model(input_ids).logits.log_softmax(-1)
        torch.testing.assert_close(found, whole.gather(-1, labels[..., None])[..., 0])
        torch.testing.assert_close(entropies, -(whole.exp() * whole).sum(-1))
        # The engine's own pass over the same rows, which computes no other logits.
        engine = response_logprobs(policy.model, rows, response_mask(rows), policy.pad_id)
    torch.testing.assert_close(engine.sum(1), (found * mask).sum(1), atol=1e-4, rtol=1e-5)


@pytest.mark.parametrize("steps", [1, 4])
def test_a_step_of_supervised_fine_tuning(steps):
    leaf = LOGPROBS.clone().requires_grad_()
    loss = sft_step(leaf, MASK, steps, 5)
    assert float(loss) == pytest.approx(-float(LOGPROBS[MASK].sum()) / 5 / 3 / steps, abs=1e-12)
    torch.testing.assert_close(leaf.grad, -MASK.double() / (15 * steps))


@pytest.mark.parametrize("kind", ["on_policy", "clipped", "sequence"])
def test_gradients_of_microbatches_add_up_to_a_group_relative_step(kind):
    rows = ["How much?"] * 4, [RIGHT, WRONG, RIGHT, WRONG], ["#### 42"] * 4
    gains, _ = group_normalised_rewards(number, *rows, 4, "std", 1e-6)
    now, old, mask = (torch.cat([x, x[:1]]) for x in (LOGPROBS, OLD, MASK))
    whole, parts = (now.clone().requires_grad_() for _ in range(2))
    microbatch_step(whole, mask, gains[:, None].double(), old, kind, "sequence", 1)
    for half in (slice(0, 2), slice(2, 4)):
        microbatch_step(parts[half], mask[half], gains[half, None].double(), old[half], kind, "sequence", 2)
    torch.testing.assert_close(parts.grad, whole.grad)


@pytest.mark.parametrize("by, constant", [("sequence", 1), ("constant", 4)])
@pytest.mark.parametrize("kind", ["on_policy", "clipped", "sequence"])
def test_losses_aggregation_and_microbatches(kind, by, constant):
    expected = 0.0
    for i in range(3):
        now, old, gain = LOGPROBS[i][MASK[i]].tolist(), OLD[i][MASK[i]].tolist(), float(GAINS[i])
        ratios = [math.exp(a - b) for a, b in zip(now, old, strict=True)]
        if kind == "sequence":
            ratios = [math.exp(sum(now) / len(now) - sum(old) / len(old))] * len(now)
        terms = [-min(s * gain, min(max(s, 0.8), 1.2) * gain) for s in ratios]
        if kind == "on_policy":
            terms = [-gain * logprob for logprob in now]
        expected += sum(terms) / (len(terms) if by == "sequence" else constant) / 3
    leaf = LOGPROBS.clone().requires_grad_()
    loss = microbatch_step(leaf, MASK, GAINS, OLD, kind, by, 2, constant)
    assert float(loss) == pytest.approx(expected / 2, abs=1e-12)
    assert leaf.grad[~MASK].eq(0).all() and leaf.grad[MASK].ne(0).any()


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("The correct answer is B.", "B"),
        ("B", "B"),
        ("the correct answer is (c)", "C"),
        (r"so \boxed{D}", "D"),
        (r"so \boxed{\text{D}}", "D"),
        ("Answer: **A**", "A"),
        ("The answer is A. No: the answer is C.", "C"),
        ("It depends.", None),
        ("The answer is a bird.", None),
        ("A bird is a good guess, B too.", None),
        ("", None),
    ],
)
def test_lettered_options(text, wanted):
    assert choice_in(text) == wanted
    assert choice("Which?", text, "C") == float(wanted == "C")


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("She sold 48 + 24 = 72 clips. #### 72", 72),
        ("The total is 1,234,567 dollars.", 1234567),
        (r"Hence \boxed{-3.5}. (Not 4.)", -3.5),
        ("It costs $18.00", 18),
        (r"\boxed{\$18}, for 2 of them", 18),
        ("The answer is **18**, since 9 x 2", 18),
        ("between 3-4", 4),
        ("the answer is 7 apples and 3 pears", 7),
        ("no digits", None),
        ("", None),
    ],
)
def test_numbers_of_grade_school_problems(text, wanted):
    assert number_in(text) == wanted
    assert number("How many?", text, "so 72.\n#### 72") == float(wanted == 72)


def test_a_form_can_be_asked_for_and_a_reference_without_a_result_is_an_error():
    assert number_in("so 72", formatted=True) is None and choice_in("B", formatted=True) is None
    for checker in (number, choice):
        with pytest.raises(DataError, match="says no result"):
            checker("?", "B 3", "")


def test_pass_at_k_of_a_checkers_rewards():
    rewards = [[number("?", text, "42") for text in (RIGHT, WRONG, WRONG, WRONG)]]
    assert pass_at_k(rewards, 2).tolist() == pytest.approx([0.5])
