"""What many prompts cost, on paper: `python -m docs.studies.scale` prints the table of docs/scale.md.

The rate of sampling is measured (docs/results/gpu-decoding.json); scoring and fine-tuning are counted from
their floating-point operations, and bytes from the columns of the tables.
"""

from __future__ import annotations

import json
from pathlib import Path

PROMPT, RESPONSE = 192, 80
"""Mean tokens of a prompt and of a response in the measured job."""
PARAMETERS, FLOPS = 0.5e9, 0.4 * 989e12
"""Of the measured shape; operations a second: two fifths of an H100's peak in bfloat16, without sparsity."""
TEXT, FIXED = 4.2, 100
"""Bytes of text a token, and bytes a row for ids, seed, reward, finish_reason and offsets."""
DOLLARS_PER_GPU_HOUR = 2.5
"""An H100 by the hour at a rental; put in your own."""


def hours(prompts: float, n: int, tokens_per_s: float) -> dict[str, float]:
    """GPU hours of one round: sampling, scoring by a model of the policy's size, one epoch on the best of n.

    A prompt is computed once for its n responses. A pass takes 2 operations a parameter and token, a step of
    training 6.

    >>> {stage: round(value, 1) for stage, value in hours(1e6, 16, 77_242).items()}
    {'sample': 4.6, 'score': 1.0, 'fine-tune': 0.6}
    """
    read, trained = prompts * (PROMPT + n * RESPONSE), prompts * (PROMPT + RESPONSE)
    return {
        "sample": prompts * n * RESPONSE / tokens_per_s / 3600,
        "score": 2 * PARAMETERS * read / FLOPS / 3600,
        "fine-tune": 6 * PARAMETERS * trained / FLOPS / 3600,
    }


def gigabytes(prompts: float, n: int) -> dict[str, float]:
    """GB (1e9 bytes) of each stage's table; every row holds its prompt's text, 4 + 4 bytes a token drawn.

    >>> {stage: round(value) for stage, value in gigabytes(1e6, 16).items()}
    {'sample': 30, 'score': 30, 'select': 2}
    """
    row = TEXT * (PROMPT + RESPONSE) + 8 * RESPONSE + FIXED
    return {
        "sample": prompts * n * row / 1e9,
        "score": prompts * n * row / 1e9,
        "select": prompts * row / 1e9,
    }


def table(tokens_per_s: float, n: int = 16) -> str:
    """The table of docs/scale.md for one rate of sampling on a GPU."""
    lines = [
        "| prompts x 16 | sample | score | fine-tune | GPU hours | on 8 GPUs | on 32 GPUs | cost | storage |",
        "|---|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for prompts in (100_000, 1_000_000, 10_000_000):
        stages = hours(prompts, n, tokens_per_s)
        total, stored = sum(stages.values()), sum(gigabytes(prompts, n).values())
        cells = [f"{prompts:,}", *(f"{value:.2g} h" for value in stages.values()), f"{total:.2g}"]
        cells += [f"{total / 8:.2g} h", f"{total / 32:.2g} h", f"${total * DOLLARS_PER_GPU_HOUR:,.0f}"]
        lines.append(f"| {' | '.join([*cells, f'{stored:,.0f} GB'])} |")
    return "\n".join(lines)


if __name__ == "__main__":
    measured = json.loads((Path(__file__).parents[1] / "results" / "gpu-decoding.json").read_text())
    print(table(measured["job B"]["recorded, compiled"]["tokens_per_s"]))
