"""What many prompts cost, on paper: `python -m docs.studies.scale` prints the table of docs/scale.md.

The rates are measured (docs/results/gpu-h100.json), the bytes are those of the tables' columns.
"""

from __future__ import annotations

from docs.studies.results import markdown, read

PROMPT, RESPONSE = 192, 80
"""Mean tokens of a prompt and of a response in the measured sampling."""
TEXT, FIXED = 4.2, 100
"""Bytes of text a token, and bytes a row for ids, seed, reward, finish_reason and offsets."""
DOLLARS_PER_GPU_HOUR = 2.5
"""An H100 by the hour at a rental; put in your own."""


def rates() -> tuple[float, float, float]:
    """Tokens sampled, rows scored and tokens trained a second, on one H100 by models of 0.5 B parameters.

    The last is that of the measured round: 1,024 rows of 512 tokens, its first call in it.
    """
    measured = read("gpu-h100")
    return (
        measured["job B"]["recorded"]["tokens_per_s"],
        1024 / measured["scoring"]["shared prefix"]["median_s"],
        1024 * 512 / measured["round"]["fine-tune"],
    )


def hours(prompts: float, n: int, sampled: float, scored: float, trained: float) -> dict[str, float]:
    """GPU hours of one round at these rates: sampling, scoring, and one epoch on the best of n.

    >>> {stage: round(value, 1) for stage, value in hours(1e6, 16, 114_800, 2_950, 71_000).items()}
    {'sample': 3.1, 'score': 1.5, 'fine-tune': 1.1}
    """
    return {
        "sample": prompts * n * RESPONSE / sampled / 3600,
        "score": prompts * n / scored / 3600,
        "fine-tune": prompts * (PROMPT + RESPONSE) / trained / 3600,
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


def table(sampled: float, scored: float, trained: float, n: int = 16) -> str:
    """The table of docs/scale.md for these rates."""
    head = "prompts x 16,sample,score,fine-tune,GPU hours,on 8 GPUs,on 32 GPUs,cost,storage".split(",")
    rows = []
    for prompts in (100_000, 1_000_000, 10_000_000):
        stages = hours(prompts, n, sampled, scored, trained)
        total, stored = sum(stages.values()), sum(gigabytes(prompts, n).values())
        cells = [f"{prompts:,}", *(f"{value:.2g} h" for value in stages.values()), f"{total:.2g}"]
        cells += [f"{total / 8:.2g} h", f"{total / 32:.2g} h", f"${total * DOLLARS_PER_GPU_HOUR:,.0f}"]
        rows.append([*cells, f"{stored:,.0f} GB"])
    return markdown(head, rows)


if __name__ == "__main__":
    print(*(f"{rate:,.0f}" for rate in rates()))
    print(table(*rates()))
