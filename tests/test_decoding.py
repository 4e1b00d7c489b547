"""The token engine: equal to `generate` and to a full forward pass in any batch; the sampling maths."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, BloomConfig, FalconConfig, StableLmConfig

from docs.studies.architectures import generated
from rslib.config import SampleConfig
from rslib.decoding import (
    SharedPrefixPass,
    decode,
    next_token_probs,
    packed_hidden,
    prefill,
    run_batches,
    shared_attention,
)
from rslib.decoding.attention import _LOG2E, HIDDEN, attend_part, merge
from rslib.decoding.passes import _Ragged
from rslib.decoding.sampler import _uniforms, draw
from rslib.errors import BudgetError, ModelError
from rslib.models import load_policy
from tests.small_models import ARCHITECTURES, full_logits

PROMPTS = [
    "Hi",
    "What is the capital of France?",
    "How do I bake a loaf of bread, and how long must I wait for it?",  # longer than the sliding window
    "Sum 12 and 30.",
    "I cannot",
]
# Statistical tests below compare counts of K events with their expectation through normal scores and allow
# |z| < 6 each: P(|Z| > 6) = 2e-9, so with K <= 100 events a false alarm has probability below 1e-6.
Z_LIMIT = 6.0


def z_scores(counts, probs):
    """Standardised deviations of counts (K,) from their multinomial expectation (K,)."""
    total = counts.sum()
    assert counts[probs == 0].sum() == 0
    spread = np.sqrt(total * probs * (1 - probs))
    return np.divide(counts - total * probs, spread, out=np.zeros(len(probs)), where=spread > 1)


def draw_rows(policy, n, batch, config, limits=None):
    """n responses to each of PROMPTS in batches of `batch` rows: (prompt ids, tokens, logprobs) per row."""
    prompts = sorted((policy.encode(text) for text in PROMPTS), key=len)
    owner = [p for p in range(len(prompts)) for _ in range(n)]
    limits = limits or [config.max_new_tokens] * len(owner)
    rows = []
    with shared_attention(policy.model):
        for start in range(0, len(owner), batch):
            part = range(start, min(start + batch, len(owner)))
            here = sorted({owner[r] for r in part})
            drawn = decode(
                policy.model,
                [prompts[p] for p in here],
                [here.index(owner[r]) for r in part],
                seeds=[1000 + r for r in part],
                limits=[limits[r] for r in part],
                config=config,
                eos_ids=policy.eos_ids,
                context=policy.context,
            )
            for at, r in enumerate(part):
                length = drawn.lengths[at]
                rows.append(
                    (prompts[owner[r]], drawn.tokens[at, :length].tolist(), drawn.logprobs[at, :length])
                )
    return rows


@torch.no_grad()
def full_logprobs(policy, prompt, tokens):
    logits = full_logits(policy.model, prompt + tokens)[len(prompt) - 1 : -1]
    return logits.log_softmax(-1).gather(1, torch.tensor(tokens)[:, None])[:, 0]


@pytest.fixture(scope="module", params=ARCHITECTURES)
def any_policy(request, model_folder):
    return load_policy(str(model_folder(request.param)))


@pytest.fixture(scope="module")
def policy(model_folder):
    return load_policy(str(model_folder("llama")))


def test_greedy_tokens_equal_generate_at_every_batch_size(any_policy):
    config = SampleConfig(temperature=0.0, max_new_tokens=20)
    wanted = {tuple(p): generated(any_policy, p, 20) for p in map(any_policy.encode, PROMPTS)}
    assert len({tuple(tokens) for tokens in wanted.values()}) > 1, "the test needs different responses"
    for batch in (1, 7, 64):
        for prompt, tokens, _ in draw_rows(any_policy, 3, batch, config):
            assert tokens == wanted[tuple(prompt)]


def test_logprobs_equal_a_full_forward_pass_at_every_batch_size(any_policy):
    config = SampleConfig(max_new_tokens=30)
    limits = np.random.default_rng(0).integers(1, 31, size=13 * len(PROMPTS)).tolist()
    for batch, n in ((1, 1), (7, 3), (64, 13)):
        for prompt, tokens, logprobs in draw_rows(any_policy, n, batch, config, limits):
            torch.testing.assert_close(logprobs, full_logprobs(any_policy, prompt, tokens), atol=1e-4, rtol=0)


def test_tokens_do_not_depend_on_the_batch(any_policy):
    config = SampleConfig(max_new_tokens=16)
    one, seven, all_rows = (
        [tokens for _, tokens, _ in draw_rows(any_policy, 4, b, config)] for b in (1, 7, 64)
    )
    assert one == seven == all_rows


def test_several_end_tokens_end_a_response_and_are_its_last_token(policy):
    config, ends = SampleConfig(max_new_tokens=40, seed=3), tuple(range(40, 80))
    with shared_attention(policy.model):
        drawn = decode(
            policy.model,
            [policy.encode("Hi")],
            [0] * 64,
            seeds=range(64),
            limits=[40] * 64,
            config=config,
            eos_ids=ends,
            context=policy.context,
        )
    assert drawn.ended.float().mean() > 0.5
    for row, length, ended in zip(
        drawn.tokens.tolist(), drawn.lengths.tolist(), drawn.ended.tolist(), strict=True
    ):
        assert not set(row[: length - 1]) & set(ends)
        assert (row[length - 1] in ends) == ended and (ended or length == 40)


def test_the_model_is_as_it_was_afterwards_also_after_an_error(policy):
    before = policy.model.config._attn_implementation
    policy.model.train()
    with pytest.raises(KeyError), shared_attention(policy.model):
        assert policy.model.config._attn_implementation != before and not policy.model.training
        raise KeyError
    assert policy.model.config._attn_implementation == before and policy.model.training
    policy.model.eval()


def test_logits_that_are_not_finite_are_a_model_error(model_folder):
    policy = load_policy(str(model_folder("llama")))
    with torch.no_grad():
        policy.model.model.norm.weight.fill_(torch.nan)
    with pytest.raises(ModelError, match="not finite"):
        draw_rows(policy, 1, 8, SampleConfig(max_new_tokens=3))


def test_layers_that_are_no_attention_are_refused(model_folder):
    policy = load_policy(str(model_folder("qwen3")))
    policy.model.config.layer_types = ["linear_attention", "full_attention"]
    with pytest.raises(ModelError, match="linear_attention"), shared_attention(policy.model):
        pass


@pytest.mark.parametrize("config", [FalconConfig, BloomConfig, StableLmConfig], ids=lambda c: c.model_type)
def test_models_that_keep_attention_to_themselves_are_refused_not_run_wrongly(config):
    small = config(
        hidden_size=32, num_hidden_layers=2, num_attention_heads=4, vocab_size=50, intermediate_size=64
    )
    model = AutoModelForCausalLM.from_config(small).eval()
    with pytest.raises(ModelError, match="shared prefixes do not work"), shared_attention(model):
        prefill(model, [[5, 6, 7], [8, 9]])


# Attention ---------------------------------------------------------------------------------------------


def test_two_merged_parts_equal_one_softmax():
    torch.manual_seed(0)
    query, keys, values = torch.randn(3, 2, 4, 8), torch.randn(3, 2, 10, 8) * 3, torch.randn(3, 2, 10, 8)
    hidden = torch.rand(3, 1, 4, 1, 10) < 0.4
    hidden[0, ..., :6] = True  # a part in which nothing is visible
    hidden[..., 9] = False
    for softcap in (0.0, 5.0):
        cuts = (slice(0, 6), slice(6, 10))
        parts = ((keys[:, :, c], values[:, :, c], hidden[..., c] * HIDDEN) for c in cuts)
        ours = merge(*(attend_part(query * _LOG2E, *part, softcap * _LOG2E) for part in parts))
        scores = query @ keys.transpose(-1, -2)
        scores = softcap * torch.tanh(scores / softcap) if softcap else scores
        weights = scores.masked_fill(hidden.squeeze(-2), -torch.inf).softmax(-1)
        torch.testing.assert_close(ours, weights @ values, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("lengths", [[3, 1, 4], [2, 2], [0, 3, 0], [0]])
def test_packing_undoes_padding(lengths):
    ragged = _Ragged(lengths, torch.device("cpu"))
    packed = torch.randn(sum(lengths), 6, 5)
    padded = ragged.pad(packed, kv_heads=2)
    assert padded.shape == (len(lengths), 2, 16 * 3, 5)
    assert torch.equal(ragged.pack(padded), packed)


# The sampling maths ------------------------------------------------------------------------------------


def test_temperature_zero_is_argmax_and_ties_go_to_the_lowest_id():
    probs = next_token_probs(torch.tensor([[1.0, 3.0, 3.0], [2.0, 0.0, -1.0]]), 0.0)
    assert probs.tolist() == [[0, 1, 0], [1, 0, 0]]


def test_a_tiny_temperature_nears_argmax_without_overflow():
    probs = next_token_probs(torch.tensor([[1e4, 1e4 - 1, -1e4]]), 1e-30)
    assert probs.tolist() == [[1, 0, 0]]


def test_top_k_keeps_ties_and_top_p_the_smallest_set_that_reaches_its_mass():
    logits = torch.log(torch.tensor([[0.4, 0.2, 0.2, 0.1, 0.1]]))
    assert (next_token_probs(logits, 1.0, top_k=2) > 0).tolist() == [[True, True, True, False, False]]
    assert (next_token_probs(logits, 1.0, top_k=99) > 0).all()
    assert (next_token_probs(logits, 1.0, top_p=0.55) > 0).tolist() == [[True, True, False, False, False]]
    assert (next_token_probs(logits, 1.0, top_p=1e-9) > 0).tolist() == [[True, False, False, False, False]]
    both = next_token_probs(
        logits, 1.0, top_k=3, top_p=0.7
    )  # top-p works on what top-k left: 0.5, 0.25, 0.25
    torch.testing.assert_close(both, torch.tensor([[2 / 3, 1 / 3, 0, 0, 0]]))


@pytest.mark.parametrize("settings", [{"top_k": 40}, {"top_p": 0.8}, {"top_k": 50, "top_p": 0.9}, {}])
def test_probabilities_equal_those_of_transformers(settings):
    from transformers import TemperatureLogitsWarper, TopKLogitsWarper, TopPLogitsWarper

    logits = torch.randn(20, 300, generator=torch.Generator().manual_seed(0)) * 2
    theirs = TemperatureLogitsWarper(0.7)(None, logits)
    if "top_k" in settings:
        theirs = TopKLogitsWarper(settings["top_k"])(None, theirs)
    if "top_p" in settings:
        theirs = TopPLogitsWarper(settings["top_p"])(None, theirs)
    torch.testing.assert_close(
        next_token_probs(logits, 0.7, **settings), theirs.softmax(-1), atol=1e-6, rtol=1e-5
    )


def test_a_token_without_probability_is_never_drawn():
    generator = torch.Generator().manual_seed(0)
    edges = torch.tensor([0.0, 2.0**-24, 0.5, 1 - 2.0**-24])
    for vocab in (1, 2, 63, 64, 65, 200, 1000):
        for zeros in (0.0, 0.5, 0.99):
            probs = torch.rand(2000, vocab, generator=generator).pow(8)
            probs[torch.rand(2000, vocab, generator=generator) < zeros] = 0.0
            probs[torch.arange(2000), torch.randint(vocab, (2000,), generator=generator)] += 1e-30
            uniform = torch.cat([edges, torch.rand(1996, generator=generator)])
            token = draw(probs / probs.sum(-1, keepdim=True), uniform)
            assert (probs.gather(1, token[:, None]) > 0).all()


def test_draws_follow_the_probabilities():
    weights = np.random.default_rng(0).gamma(0.5, size=90)
    weights[::7] = 0.0
    probs = weights / weights.sum()
    rows, steps = 20_000, 10
    counts = np.zeros(90)
    table = torch.tensor(probs, dtype=torch.float32).expand(rows, -1)
    for step in range(steps):
        token = draw(table, _uniforms(torch.arange(rows), step))
        counts += np.bincount(token.numpy(), minlength=90)
    assert np.abs(z_scores(counts, probs)).max() < Z_LIMIT


def test_uniforms_are_splitmix64():
    def reference(seed, step):
        mask = (1 << 64) - 1
        z = (seed + (step + 1) * 0x9E3779B97F4A7C15) & mask
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & mask
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & mask
        return ((z ^ (z >> 31)) >> 40) / 2**24

    seeds = [0, 1, 2**62, 2**63 - 1, 123456789]
    for step in (0, 1, 500):
        assert _uniforms(torch.tensor(seeds), step).tolist() == [reference(s, step) for s in seeds]


def test_uniforms_fill_their_square_evenly_over_seeds_and_steps():
    seeds = torch.arange(40_000)
    for first, second in (
        (_uniforms(seeds, 0), _uniforms(seeds, 1)),
        (_uniforms(seeds, 3), _uniforms(seeds + 1, 3)),
    ):
        assert 0 <= first.min() and first.max() < 1
        cell = (first * 8).long() * 8 + (second * 8).long()
        assert np.abs(z_scores(np.bincount(cell.numpy(), minlength=64), np.full(64, 1 / 64))).max() < Z_LIMIT


# Batches -----------------------------------------------------------------------------------------------


def slices_of(owner, budget, entry=None, costs=None, fails=lambda rows: False):
    def run(rows):
        if fails(rows):
            raise torch.OutOfMemoryError("CUDA out of memory")
        return rows.start, rows.stop

    batches = run_batches(run, owner, costs or [1] * len(owner), budget, entry=entry)
    return [found for _, found in batches]


def test_batches_cover_all_rows_once_and_keep_prompts_together():
    owner = [p for p in range(10) for _ in range(16)]
    assert slices_of(owner, 40) == [(start, start + 32) for start in range(0, 160, 32)]
    assert slices_of(owner[:32], 7) == [(0, 7), (7, 14), (14, 21), (21, 28), (28, 32)]
    assert slices_of([0, 1, 2], 1) == [(0, 1), (1, 2), (2, 3)]
    assert slices_of([], 5) == []


def test_a_prompt_is_paid_for_once_in_each_batch():
    assert slices_of([0, 0, 0, 1, 1, 1], 10, entry=[5] * 6, costs=[2] * 6) == [(0, 2), (2, 3), (3, 5), (5, 6)]
    assert slices_of([0, 0], 3, entry=[9, 9], costs=[9, 9]) == [(0, 1), (1, 2)]


def test_out_of_memory_halves_the_batch_and_says_so(capsys):
    done = slices_of([0] * 40, 32, fails=lambda rows: rows.stop - rows.start > 8)
    assert done == [(s, s + 8) for s in range(0, 40, 8)]
    assert capsys.readouterr().out.splitlines() == [
        f"out of memory: going on with {size} responses in a batch" for size in (16, 8)
    ]


def test_a_single_row_out_of_memory_is_a_budget_error():
    with pytest.raises(BudgetError, match="single response"):
        slices_of([0] * 4, 4, fails=lambda rows: True)


def test_an_allocation_failure_of_the_cpu_counts_and_other_errors_pass():
    def cpu(rows):
        if rows.stop - rows.start > 1:
            raise RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory")

    assert len(list(run_batches(cpu, [0, 0], [1, 1], 2))) == 2

    def broken(rows):
        raise RuntimeError("shapes do not fit")

    with pytest.raises(RuntimeError, match="shapes"):
        list(run_batches(broken, [0], [1], 1))


# Long prompts -----------------------------------------------------------------------------------------------


@pytest.mark.skipif(torch.cuda.is_available(), reason="compares bits on a CPU")
def test_tiles_of_a_long_pass_give_the_same_bits(any_policy, monkeypatch):
    """What a pass computes does not depend on how much of it fits into one tile."""
    policy = any_policy
    prefixes = [list(range(5, 200)), list(range(9, 60))]
    suffixes, owner = [list(range(30, 60)), [7, 8], list(range(20, 38))], [0, 0, 1]

    def hidden():
        with shared_attention(policy.model):
            plan = SharedPrefixPass(prefixes, suffixes, owner, device=policy.model.device)
            return packed_hidden(policy.model, plan.tokens, plan.positions, plan).cpu()

    whole = hidden()
    for scores in (1, 20_000, 100_000):
        monkeypatch.setattr("rslib.decoding.attention._TILE", scores)
        assert torch.equal(hidden(), whole)


PEAK = """
import os, resource
from rslib.decoding import prefill, shared_attention
from transformers import LlamaConfig, LlamaForCausalLM
small = {"hidden_size": 256, "intermediate_size": 64, "num_hidden_layers": 1, "vocab_size": 320}
model = LlamaForCausalLM(LlamaConfig(**small, num_attention_heads=32, max_position_embeddings=9000)).eval()
with shared_attention(model):
    for length in (100, 4000, 8000):
        if not os.fork():
            prefill(model, [[5] * length])
            os._exit(0)
        print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss if os.wait() else 0)
"""


@pytest.mark.long
@pytest.mark.skipif(sys.platform != "linux", reason="reads the peak memory of a process in Linux's units")
def test_the_memory_of_a_prompt_grows_with_its_length_and_not_with_its_square():
    result = subprocess.run([sys.executable, "-c", PEAK], check=True, capture_output=True, text=True)
    short, middle, long = (int(peak) / 1024 for peak in result.stdout.split())
    # Scores of all pairs would take 8 GB at 8,000 tokens and 32 heads, four times what 4,000 take.
    assert long - short < 500 and long - short < 3 * max(100, middle - short)
