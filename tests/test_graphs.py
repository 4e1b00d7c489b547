"""Steps in buffers that never move: the eager engine's tokens, run one by one here and recorded on a GPU."""

import numpy as np
import pytest
import torch

from rslib.config import SampleConfig
from rslib.decoding import decode, decoder_for, shared_attention
from rslib.decoding.graphs import ROWS, BatchShape, GraphDecoder, sizes
from rslib.decoding.sampler import _uniforms
from rslib.models import load_policy
from tests.small_models import ARCHITECTURES
from tests.test_decoding import PROMPTS

CONFIGS = {
    "greedy": SampleConfig(temperature=0.0, max_new_tokens=30),
    "plain": SampleConfig(max_new_tokens=30),
    "truncated": SampleConfig(max_new_tokens=30, temperature=0.7, top_k=20, top_p=0.9, min_new_tokens=5),
}


def job(policy, per_prompt=7):
    """Prompts, owner, seeds and limits of an uneven batch: prompts with fewer rows, limits from 1 to 30."""
    prompts = sorted((policy.encode(text) for text in PROMPTS), key=len)
    owner = [p for p in range(len(prompts)) for _ in range(per_prompt - p % 3)]
    limits = np.random.default_rng(0).integers(1, 31, len(owner)).tolist()
    return prompts, owner, {"seeds": [1000 + row for row in range(len(owner))], "limits": limits}


def responses(drawn):
    return [drawn.tokens[row, :length].tolist() for row, length in enumerate(drawn.lengths)]


def both(policy, config, batches=1):
    """The eager engine's responses, and those of the steps in fixed buffers."""
    prompts, owner, rows = job(policy)
    limits = {"config": config, "eos_ids": policy.eos_ids, "context": policy.context}
    with shared_attention(policy.model):
        eager = decode(policy.model, prompts, owner, **rows, **limits)
        decoder = GraphDecoder(policy.model, config, policy.eos_ids, policy.context, record=False)
        for _ in range(batches):
            static = decoder(prompts, owner, **rows)
    return eager, static


@pytest.mark.skipif(torch.cuda.is_available(), reason="compares float32 on a CPU")
@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_static_steps_give_the_eager_engines_tokens(model_folder, arch, config):
    policy = load_policy(str(model_folder(arch)), device="cpu")
    eager, static = both(policy, config, batches=2)  # the second batch meets the buffers of the first
    assert responses(static) == responses(eager)
    assert torch.equal(static.ended, eager.ended)
    written = torch.arange(eager.tokens.shape[1]) < eager.lengths[:, None]
    torch.testing.assert_close(static.logprobs[written], eager.logprobs[written], atol=1e-5, rtol=0)


def test_a_single_row_of_a_single_token(model_folder):
    policy = load_policy(str(model_folder("llama")), device="cpu")
    with shared_attention(policy.model):
        decoder = GraphDecoder(policy.model, CONFIGS["plain"], policy.eos_ids, policy.context, record=False)
        drawn = decoder([policy.encode("Hi")], [0], seeds=[1], limits=[1])
    assert drawn.lengths.tolist() == [1]


def test_the_uniform_of_a_step_is_the_same_whether_the_step_is_a_number_or_lies_on_the_device():
    seeds = torch.tensor([0, 7, 2**62])
    for step in (0, 1, 300):
        assert torch.equal(_uniforms(seeds, step), _uniforms(seeds, torch.tensor([step])))


def test_shapes_are_rounded_so_that_like_batches_share_their_buffers():
    one = BatchShape.of([[1] * 10, [1] * 60], [0, 0, 1], [5, 9, 60])
    other = BatchShape.of([[1] * 64, [1] * 3], [0, 1, 1], [64, 1, 2])
    assert one == other == BatchShape(2, 2, ROWS, 64, 64)


def test_sizes_fall_by_a_quarter_to_the_smallest_group():
    assert list(sizes(1024))[:3] == [1024, 768, 576]
    assert list(sizes(1024))[-1] == ROWS and list(sizes(ROWS)) == [ROWS]


def test_a_cpu_keeps_the_eager_engine(model_folder):
    policy = load_policy(str(model_folder("llama")), device="cpu")
    decoder = decoder_for(policy.model, CONFIGS["plain"], policy.eos_ids, policy.context)
    assert decoder.func is decode


# On a GPU ---------------------------------------------------------------------------------------------------

needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


@pytest.mark.gpu
@needs_gpu
@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_recorded_steps_give_the_eager_engines_tokens_in_float32(model_folder, arch):
    policy = load_policy(str(model_folder(arch)), device="cuda", dtype="float32")
    for name, config in CONFIGS.items():
        prompts, owner, rows = job(policy)
        limits = {"config": config, "eos_ids": policy.eos_ids, "context": policy.context}
        with shared_attention(policy.model):
            eager = responses(decode(policy.model, prompts, owner, **rows, **limits))
            decoder = GraphDecoder(policy.model, config, policy.eos_ids, policy.context)
            recorded = [responses(decoder(prompts, owner, **rows)) for _ in range(2)]
        assert recorded[0] == recorded[1], "a replay gives the same responses"
        same = sum(a == b for a, b in zip(recorded[0], eager, strict=True))
        # Drawn tokens may turn at a rounding of the running sums; greedy ones only at a tie of logits.
        assert same >= (len(eager) if name == "greedy" else 0.8 * len(eager))


@pytest.mark.gpu
@needs_gpu
def test_steps_of_few_rows_and_many_end_tokens_are_recorded_too(model_folder, capsys):
    policy = load_policy(str(model_folder("llama")), device="cuda", dtype="float32")
    prompts, owner, rows = job(policy)
    decoder = decoder_for(policy.model, CONFIGS["truncated"], range(40), policy.context)
    with shared_attention(policy.model):
        decoder(prompts, owner, **rows)
    assert "step by step" not in capsys.readouterr().out


@pytest.mark.gpu
@needs_gpu
def test_where_recording_fails_the_eager_engine_goes_on_and_says_why(model_folder, monkeypatch, capsys):
    policy = load_policy(str(model_folder("llama")), device="cuda", dtype="float32")
    prompts, owner, rows = job(policy)

    def fails(self):
        raise RuntimeError("operation not permitted when stream is capturing")

    monkeypatch.setattr(GraphDecoder, "_recorded", fails)
    decoder = decoder_for(policy.model, CONFIGS["greedy"], policy.eos_ids, policy.context)
    with shared_attention(policy.model):
        drawn = decoder(prompts, owner, **rows)
        limits = {"config": CONFIGS["greedy"], "eos_ids": policy.eos_ids, "context": policy.context}
        assert responses(drawn) == responses(decode(policy.model, prompts, owner, **rows, **limits))
    assert "step by step" in capsys.readouterr().out
