"""The token engine: ragged prompts and responses in one forward pass, each distinct prompt computed once.

Sampling n responses to a prompt, and scoring n responses to a prompt, repeat the same work n times unless
somebody shares it. Here the *prefix* (what the rows of one prompt have in common) is computed once and its
keys and values exist once; every row adds only its own *suffix*. Read it in this order:

    choosing    the sampling maths as pure functions: logits -> probabilities -> token
    attention   attention over prefix and suffix as two parts that are merged; how transformers calls it
    plans       the two kinds of forward pass: `Tree` (many tokens per row), `Step` (one token per row)
    engine      prefill and decode; rows that have finished leave the batch
    static      a step of decoding in buffers that never move; graphs  the same recorded, for a GPU
    batches     rows cut into batches that fit into memory

What it leaves out: beam search, refilling freed rows, paged memory, several devices.
"""

from rslib.decoding.attention import attend_part, merge, packed_hidden, packed_logits, shared_attention
from rslib.decoding.batches import run_batches
from rslib.decoding.engine import Drawn, decode, prefill
from rslib.decoding.graphs import GraphDecoder, decoder_for, rows_in_flight
from rslib.decoding.passes import Ragged, Step, Tree
from rslib.decoding.sampler import choose_tokens, draw, next_token_probs, token_logprobs, uniforms

__all__ = [
    "Drawn",
    "GraphDecoder",
    "Ragged",
    "Step",
    "Tree",
    "attend_part",
    "choose_tokens",
    "decode",
    "decoder_for",
    "draw",
    "merge",
    "next_token_probs",
    "packed_hidden",
    "packed_logits",
    "prefill",
    "rows_in_flight",
    "run_batches",
    "shared_attention",
    "token_logprobs",
    "uniforms",
]
