"""Flash kernels: what is asked of them, by a plain reference anywhere; the kernels themselves on a GPU."""

import math

import pytest
import torch

from rslib.config import SampleConfig
from rslib.decoding import SharedPrefixPass, attention, decode, packed_hidden, shared_attention
from rslib.decoding.attention import merge_normalised
from rslib.decoding.graphs import GraphDecoder
from rslib.decoding.sampler import log_masses, sample_in_one_pass, sample_tokens
from rslib.models import load_policy
from tests.small_models import ARCHITECTURES
from tests.test_graphs import CONFIGS, job, needs_gpu, responses


def plain_attend(query, keys, values, queries, spans, *, causal=False, window=0, used=None):
    """What `attention.flash_attend` promises, sequence by sequence in float32; an empty sum is +inf."""
    mixed = torch.zeros_like(query, dtype=torch.float32)
    log_sum = torch.full(query.shape[:2], torch.inf, device=query.device)
    group = query.shape[1] // keys.shape[1]
    for index, first in enumerate(queries.bounds[:-1].tolist()):
        last = int(queries.bounds[index + 1])
        assert last - first <= queries.longest
        start, end = spans.bounds[index : index + 2].tolist()
        end = end if used is None else start + int(used[index])
        assert end - start <= spans.longest
        if first == last or start == end:
            continue
        q = query[first:last].float().transpose(0, 1)
        k, v = (x[start:end].float().transpose(0, 1).repeat_interleave(group, 0) for x in (keys, values))
        scores = q @ k.transpose(1, 2) * math.log(2)
        ahead = torch.arange(end - start) - torch.arange(last - first)[:, None] - (end - start - last + first)
        hidden = (ahead > 0) & causal | (ahead <= -window) & (window > 0)
        scores = scores.masked_fill(hidden.to(scores.device), -torch.inf)
        mixed[first:last] = (scores.softmax(-1) @ v).transpose(0, 1)
        log_sum[first:last] = scores.logsumexp(-1).T
    return mixed.to(query.dtype), log_sum


@pytest.fixture
def flash_on_a_cpu(monkeypatch):
    monkeypatch.setattr(attention, "flash_usable", lambda query, softcap: not softcap)
    monkeypatch.setattr(attention, "flash_attend", plain_attend)


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_what_flash_kernels_are_asked_gives_the_eager_engines_tokens(model_folder, arch, flash_on_a_cpu):
    policy = load_policy(str(model_folder(arch)), device="cpu")
    for config in CONFIGS.values():
        prompts, owner, rows = job(policy)
        limits = {"config": config, "eos_ids": policy.eos_ids, "context": policy.context}
        with shared_attention(policy.model):
            static = GraphDecoder(policy.model, config, policy.eos_ids, policy.context, record=False)
            asked = [responses(static(prompts, owner, **rows)) for _ in range(2)]
            with pytest.MonkeyPatch.context() as plain:
                plain.setattr(attention, "flash_usable", lambda query, softcap: False)
                eager = responses(decode(policy.model, prompts, owner, **rows, **limits))
        assert asked == [eager, eager]


def hidden_of_a_shared_pass(policy):
    prefixes = [[5, 6, 7, 8], [9], list(range(10, 60))]
    suffixes, owner = [[20, 21], [22], list(range(30, 60)), [7, 7, 7]], [0, 0, 2, 2]
    with shared_attention(policy.model):
        plan = SharedPrefixPass(prefixes, suffixes, owner, device=policy.model.device)
        return packed_hidden(policy.model, plan.tokens, plan.positions, plan)


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_a_pass_over_shared_prefixes_is_the_same_by_flash_kernels(model_folder, arch, monkeypatch):
    policy = load_policy(str(model_folder(arch)), device="cpu")
    plain = hidden_of_a_shared_pass(policy)
    monkeypatch.setattr(attention, "flash_usable", lambda query, softcap: not softcap)
    monkeypatch.setattr(attention, "flash_attend", plain_attend)
    torch.testing.assert_close(hidden_of_a_shared_pass(policy), plain, atol=2e-5, rtol=0)


def test_a_part_without_keys_has_no_weight():
    some, empty = (
        (torch.randn(3, 2, 4), torch.randn(3, 2)),
        (torch.zeros(3, 2, 4), torch.full((3, 2), torch.inf)),
    )
    torch.testing.assert_close(merge_normalised(some, empty), some[0])
    torch.testing.assert_close(merge_normalised(empty, some), some[0])


@pytest.mark.parametrize("vocabulary", [50, 64, 1000])
@pytest.mark.parametrize("temperature", [0.0, 0.7, 1.0])
def test_choosing_in_one_pass_draws_what_choosing_from_all_probabilities_draws(vocabulary, temperature):
    generator = torch.Generator().manual_seed(0)
    logits, seeds = torch.randn(500, vocabulary, generator=generator) * 3, torch.arange(500)
    for config in (SampleConfig(temperature=temperature, min_new_tokens=m) for m in (0, 5)):
        eos = torch.tensor([3, 40])
        tokens, logprobs = sample_in_one_pass(logits, seeds, 2, config, eos)
        wanted, wanted_logprobs = sample_tokens(logits, seeds, 2, config, eos)
        same = tokens == wanted  # others turn at a rounding of the running sums
        assert same.float().mean() > 0.99
        torch.testing.assert_close(logprobs[same], wanted_logprobs[same], atol=1e-5, rtol=0)
        assert not (config.min_new_tokens and torch.isin(tokens, eos).any())


def test_a_block_without_an_allowed_token_is_never_drawn_and_logits_that_are_no_numbers_stay_so():
    logits = torch.full((3, 200), -torch.inf)
    logits[:, 130] = 0.0
    tokens, logprobs = sample_in_one_pass(logits, torch.arange(3), 0, SampleConfig(), torch.tensor([]).long())
    assert tokens.tolist() == [130] * 3 and logprobs.tolist() == [0.0] * 3
    broken = sample_in_one_pass(
        logits * torch.nan, torch.arange(3), 0, SampleConfig(), torch.tensor([]).long()
    )
    assert broken[1].isnan().all()


def test_a_cpu_and_float32_have_no_flash_kernels():
    assert not attention.flash_usable(torch.zeros(1, 2, 64, dtype=torch.bfloat16), softcap=0.0)


# On a GPU ---------------------------------------------------------------------------------------------------


@pytest.mark.gpu
@needs_gpu
@pytest.mark.parametrize("options", [{}, {"causal": True}, {"causal": True, "window": 5}, {"used": True}])
@pytest.mark.parametrize("lengths", [[1, 1, 1, 1], [3, 0, 130, 7]])
def test_the_kernels_keep_their_promise(options, lengths):
    torch.manual_seed(0)
    owned = lengths if options.get("causal") else [64, 0, 200, 1]
    queries, spans = (attention.Spans.of(x, torch.device("cuda")) for x in (lengths, owned))
    half = {"device": "cuda", "dtype": torch.bfloat16}
    query, keys, values = (
        torch.randn(sum(x), heads, 64, **half) for x, heads in ((lengths, 14), (owned, 2), (owned, 2))
    )
    if "used" in options:
        options = {"used": torch.tensor([10, 0, 129, 1], device="cuda", dtype=torch.int32)}
    found = attention.flash_attend(query, keys, values, queries, spans, **options)
    wanted = plain_attend(query, keys, values, queries, spans, **options)
    empty = (torch.zeros_like(query), torch.full(query.shape[:2], torch.inf, device="cuda"))
    torch.testing.assert_close(
        merge_normalised(found, empty),
        merge_normalised(wanted, empty),
        atol=2e-2,
        rtol=2e-2,
        equal_nan=True,
    )
    finite = wanted[1].isfinite()
    torch.testing.assert_close(found[1][finite], wanted[1][finite], atol=2e-2, rtol=1e-2)
    assert found[1][~finite].isinf().all()


@pytest.mark.gpu
@needs_gpu
@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_bfloat16_log_probabilities_are_near_those_of_float32(model_folder, arch):
    config = SampleConfig(temperature=0.0, max_new_tokens=30)
    exact, half = (
        load_policy(str(model_folder(arch)), device="cuda", dtype=d) for d in ("float32", "bfloat16")
    )
    prompts, owner, rows = job(half)
    with shared_attention(half.model):
        drawn = GraphDecoder(half.model, config, half.eos_ids, half.context)(prompts, owner, **rows)
    for row, length in enumerate(drawn.lengths.tolist()):
        tokens = drawn.tokens[row, :length].tolist()
        ids = torch.tensor([[*prompts[owner[row]], *tokens]], device="cuda")
        logprobs = exact.model(ids).logits[0, -length - 1 : -1].log_softmax(-1)
        wanted = logprobs.gather(1, ids[0, -length:, None])[:, 0].cpu()
        torch.testing.assert_close(drawn.logprobs[row, :length], wanted, atol=0.1, rtol=0)


@pytest.mark.gpu
@needs_gpu
@pytest.mark.parametrize("size", [64, 1000, 151_936])
def test_the_triton_kernels_compute_what_plain_torch_does(size):
    torch.manual_seed(0)
    logits = torch.randn(33, size, device="cuda", dtype=torch.bfloat16) * 3
    logits[0, :64] = -torch.inf
    wanted = log_masses(logits.cpu(), 0.7)
    torch.testing.assert_close(log_masses(logits, 0.7).cpu(), wanted, atol=1e-5, rtol=1e-5)
    first, second = (
        (torch.randn(50, 6, 80, device="cuda"), torch.randn(6, 50, device="cuda").T) for _ in "ab"
    )
    second[1][3] = torch.inf
    wanted = merge_normalised(*(tuple(x.cpu() for x in part) for part in (first, second)))
    torch.testing.assert_close(merge_normalised(first, second).cpu(), wanted)
