"""The token engine: ragged prompts and responses in one forward pass, each distinct prompt computed once.

Sampling n responses to a prompt, and scoring n responses to a prompt, repeat the same work n times unless
somebody shares it. Here the *prefix* (what the rows of one prompt have in common) is computed once and its
keys and values exist once; every row adds only its own *suffix*. Read it in this order:

    sampler     the sampling maths as pure functions: logits -> probabilities -> token
    attention   attention over prefix and suffix as two parts that are merged; how transformers calls it
    passes      the two kinds of forward pass: `SharedPrefixPass` (many tokens a row), `DecodeStep` (one)
    engine      prefill and decode; rows that have finished leave; batches that fit into memory
    forks       the cores of a CPU for a small model: threads, and batches side by side

and for a GPU (docs/gpu.md has a picture):

    triton_kernels      choosing and merging in one launch each
    graphs              a step of decoding in buffers that never move, recorded and replayed

What it leaves out: beam search, refilling freed rows, paged memory, several devices.
"""

from rslib.decoding.attention import packed_hidden, packed_logits, shared_attention
from rslib.decoding.engine import SampleOutput, decode, decoder_for, prefill, run_batches
from rslib.decoding.forks import cores_for, fitting_threads, forked, forks_for, is_small, on_cores
from rslib.decoding.passes import SharedPrefixPass
from rslib.decoding.sampler import next_token_probs, token_logprobs

__all__ = [
    "SampleOutput",
    "SharedPrefixPass",
    "cores_for",
    "decode",
    "decoder_for",
    "fitting_threads",
    "forked",
    "forks_for",
    "is_small",
    "next_token_probs",
    "on_cores",
    "packed_hidden",
    "packed_logits",
    "prefill",
    "run_batches",
    "shared_attention",
    "token_logprobs",
]
