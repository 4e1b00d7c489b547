"""The training loop: batches, the loss and where it falls, out of memory, losses that are not finite."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from rslib.config import FinetuneConfig
from rslib.errors import BudgetError, ModelError
from rslib.finetuning import TokenRow, _count_targets, language_model_objective, next_token_nll
from rslib.models import load_policy
from rslib.optimization import Objective, Optimizer, _epoch_batches, _token_batches, fit
from tests.small_models import full_logits

SETTINGS = FinetuneConfig(learning_rate=1e-3, epochs=1, batch_tokens=256, warmup_steps=0)


@pytest.fixture
def policy(model_folder):
    return load_policy(str(model_folder("llama")))


def some_rows(count=9, seed=0):
    rng = np.random.default_rng(seed)
    return [TokenRow(rng.integers(5, 60, size=rng.integers(4, 14)).tolist(), 2) for _ in range(count)]


def test_every_row_is_in_exactly_one_batch_and_no_batch_is_over_budget():
    lengths = np.random.default_rng(0).integers(1, 90, size=500).tolist()
    batches = _token_batches(lengths, 256, np.random.default_rng(1))
    assert sorted(i for batch in batches for i in batch) == list(range(500))
    assert all(len(batch) * max(lengths[i] for i in batch) <= 256 for batch in batches)


def test_a_row_longer_than_the_budget_stands_alone():
    batches = _token_batches([300, 10, 10], 64, np.random.default_rng(0))
    assert [0] in batches


def test_batches_hold_little_padding():
    lengths = np.random.default_rng(0).integers(5, 120, size=2000).tolist()
    batches = _token_batches(lengths, 2048, np.random.default_rng(1))
    padded = sum(len(b) * max(lengths[i] for i in b) for b in batches)
    assert padded < 1.15 * sum(lengths)


def test_the_plan_depends_on_the_seed_alone_and_orders_epochs_differently():
    lengths = list(range(1, 200))
    config = FinetuneConfig(epochs=2, batch_tokens=256, seed=5)
    batches = _epoch_batches(lengths, config)
    assert batches == _epoch_batches(lengths, config) != _epoch_batches(lengths, replace(config, seed=6))
    assert batches[: len(batches) // 2] != batches[len(batches) // 2 :]


@pytest.mark.parametrize("arch", ["llama", "qwen3", "gpt2", "gpt_neox", "gemma2"])
def test_the_loss_is_that_of_a_full_forward_pass_on_the_learned_tokens_only(model_folder, arch):
    policy = load_policy(str(model_folder(arch)))
    rows = some_rows()
    ours = next_token_nll(policy.model, rows, policy.pad_id)
    theirs = []
    for row in rows:
        logits = full_logits(policy.model, row.ids).log_softmax(-1)
        theirs += [-logits[t - 1, row.ids[t]] for t in range(row.first_target, len(row.ids))]
    assert len(ours) == _count_targets(rows) == len(theirs)
    torch.testing.assert_close(
        ours.sort().values.cpu(), torch.stack(theirs).sort().values, atol=1e-4, rtol=1e-4
    )


def test_a_first_target_of_zero_learns_all_but_the_first_token(policy):
    assert (
        _count_targets([TokenRow([5, 6, 7], 0)])
        == 2
        == len(next_token_nll(policy.model, [TokenRow([5, 6, 7], 0)], 0))
    )


def test_training_lowers_the_loss_and_repeats_to_the_last_bit(model_folder):
    def losses():
        policy = load_policy(str(model_folder("llama")))
        rows = some_rows()
        config = FinetuneConfig(learning_rate=1e-2, epochs=8, batch_tokens=64, warmup_steps=2)
        objective = language_model_objective(policy.model, rows, policy.pad_id)
        return fit(policy.model, objective, [len(r.ids) for r in rows], config, show_progress=False)

    first = losses()
    assert first[-1] < 0.7 * first[0]
    assert first == losses()


def _train_with_memory_for(policy, rows_at_once):
    rows = some_rows()
    inner = language_model_objective(policy.model, rows, policy.pad_id)

    def loss_sum(batch):
        if len(batch) > rows_at_once:
            raise torch.OutOfMemoryError("out of memory")
        return inner.loss_sum(batch)

    before = {name: p.detach().clone() for name, p in policy.model.named_parameters()}
    losses = fit(policy.model, Objective(loss_sum, inner.weight), [len(row.ids) for row in rows], SETTINGS)
    assert len(losses) == 1  # one batch of all nine
    return losses, {n: p.detach() - before[n] for n, p in policy.model.named_parameters()}


def test_out_of_memory_halves_the_parts_says_so_and_takes_the_same_step(model_folder, capsys):
    (whole, steps), (parts, smaller) = (
        _train_with_memory_for(load_policy(str(model_folder("llama"))), room) for room in (9, 2)
    )
    assert parts == pytest.approx(whole, rel=1e-5)
    assert "memory ran out" in capsys.readouterr().out
    # Adam's first step has the size of the learning rate, so a wrong gradient would show.
    for name in steps:
        agree = (steps[name] - smaller[name]).abs() < 0.05 * SETTINGS.learning_rate
        assert agree.float().mean() > 0.99, name


def _one_step(policy, cores, lengths_known):
    """The rows of each part, and the weights after one step on nine padded rows."""
    rows, parts = some_rows(), []
    lengths = [len(row.ids) for row in rows]
    inner = language_model_objective(policy.model, rows, policy.pad_id)

    def loss_sum(batch):
        parts.append(sorted(lengths[row] for row in batch))
        return inner.loss_sum(batch)

    objective = Objective(loss_sum, inner.weight, lengths if lengths_known else None)
    optimizer = Optimizer(policy.model, SETTINGS, steps=1)
    optimizer.cores = cores
    loss = optimizer.step(objective, list(range(9)))
    return parts, loss, [weight.detach().clone() for weight in policy.model.parameters()]


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU takes a batch whole")
def test_padded_rows_of_like_length_go_together_and_the_step_is_that_of_the_whole_batch(model_folder):
    parts, loss, weights = _one_step(load_policy(str(model_folder("llama"))), 1, True)
    whole, whole_loss, whole_weights = _one_step(load_policy(str(model_folder("llama"))), 1, False)
    assert len(whole) == 1 and len(parts) == 3 and [n for part in parts for n in part] == whole[0]
    assert loss == pytest.approx(whole_loss, rel=1e-5)
    for ours, theirs in zip(weights, whole_weights, strict=True):
        assert ((ours - theirs).abs() < 0.05 * SETTINGS.learning_rate).float().mean() > 0.99


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU takes a batch whole")
def test_two_cores_take_the_step_of_one_to_the_last_bit(model_folder):
    (_, loss, one), (_, other, two) = (
        _one_step(load_policy(str(model_folder("llama"))), cores, True) for cores in (1, 2)
    )
    assert loss == other
    assert all(torch.equal(a, b) for a, b in zip(one, two, strict=True))


@pytest.mark.parametrize("count", [1, 8])
def test_weights_that_share_a_gradient_get_it_once(count):
    """Autograd gives a and b of a + b one tensor, and c of a plain sum one that is a single number."""
    rows, ends = torch.arange(24.0).view(8, 3), []
    for cores in (1, 2):
        torch.manual_seed(0)
        model = torch.nn.ParameterDict({"a": torch.randn(3, 3), "b": torch.randn(3, 3), "c": torch.randn(5)})

        def loss_sum(batch, model=model):
            squares = (rows[batch] @ (model["a"] + model["b"])).square().sum()
            return squares + model["c"].sum() * len(batch)

        optimizer = Optimizer(model, SETTINGS, steps=1)
        optimizer.cores = cores
        optimizer.step(Objective(loss_sum, len, [1] * 8), list(range(count)))
        ends.append([weight.detach().clone() for weight in model.values()])
    assert all(torch.equal(one, two) for one, two in zip(*ends, strict=True))


def test_a_single_row_that_does_not_fit_is_a_budget_error(policy):
    with pytest.raises(BudgetError, match="single row"):
        _train_with_memory_for(policy, 0)


def test_another_runtime_error_is_not_mistaken_for_memory(policy):
    def broken(_):
        raise RuntimeError("something else")

    with pytest.raises(RuntimeError, match="something else"):
        fit(policy.model, Objective(broken, len), [4], SETTINGS, show_progress=False)


def test_a_loss_that_is_not_finite_stops_and_names_the_rows(policy):
    weight = next(policy.model.parameters())
    objective = Objective(lambda batch: weight.sum() * float("nan"), len)
    with pytest.raises(ModelError, match=r"loss is nan at step 0(.|\n)*rows \[3, 4\]"):
        Optimizer(policy.model, SETTINGS, steps=1).step(objective, [3, 4])


def test_the_learning_rate_follows_the_size_unless_it_is_given():
    assert FinetuneConfig().for_model(1_000_000).learning_rate == 5e-4
    assert FinetuneConfig().for_model(400_000_000).learning_rate == 1e-5
    assert FinetuneConfig(learning_rate=3e-3).for_model(1_000_000).learning_rate == 3e-3


def trained_in(model_folder, dtype, **settings):
    policy, rows = load_policy(str(model_folder("llama")), device="cpu"), some_rows()
    before = {name: p.detach().clone() for name, p in policy.model.named_parameters()}
    config = FinetuneConfig(**{"epochs": 1, "batch_tokens": 256, "warmup_steps": 0} | settings)
    objective = language_model_objective(policy.model.requires_grad_(True), rows, policy.pad_id)
    options = {"compute_dtype": dtype, "show_progress": False}
    losses = fit(policy.model, objective, [len(r.ids) for r in rows], config, **options)
    assert {p.dtype for p in policy.model.parameters()} == {torch.float32}
    return losses, {n: p.detach() - before[n] for n, p in policy.model.named_parameters()}


def test_passes_in_bfloat16_train_as_those_in_float32_do(model_folder):
    settings = {"learning_rate": 1e-2, "epochs": 8, "batch_tokens": 64}
    exact, half = (trained_in(model_folder, d, **settings)[0] for d in (torch.float32, torch.bfloat16))
    assert half == pytest.approx(exact, rel=0.05) and half != exact
    assert half[-1] < 0.7 * half[0]


def test_steps_too_small_for_bfloat16_are_not_lost(model_folder):
    _, steps = trained_in(model_folder, torch.bfloat16, learning_rate=1e-6)
    moved = torch.cat([step.flatten().abs() for step in steps.values()])
    assert (moved > 1e-7).float().mean() > 0.5  # a bfloat16 of size 0.02 moves by 1e-4 or not at all


def test_an_error_in_a_pass_of_another_dtype_leaves_float32_weights_and_no_gradient(model_folder):
    policy = load_policy(str(model_folder("llama")), device="cpu")
    model, rows = policy.model.requires_grad_(True), some_rows()
    inner = language_model_objective(model, rows, policy.pad_id)

    def loss_sum(batch):
        inner.loss_sum(batch).backward()
        raise ValueError("a bug")

    with pytest.raises(ValueError, match="a bug"):
        lengths = [len(r.ids) for r in rows]
        fit(model, Objective(loss_sum, inner.weight), lengths, SETTINGS, compute_dtype=torch.bfloat16)
    assert all(p.dtype == torch.float32 and p.grad is None for p in model.parameters())
