"""What the report's numbers and arms are called, and how numbers, intervals and tables are written."""

from __future__ import annotations

import html
import re
from collections.abc import Mapping, Sequence

METRICS: dict[str, tuple[str, str]] = {
    "gold": ("points", "mean gold score of the held-out responses: the judge that no stage ever trains on"),
    "proxy": (
        "reward",
        "mean reward-model reward of the held-out responses: the score that selection maximises",
    ),
    "judge": (
        "judge's score",
        "mean score of the held-out responses by a second reward model or a function, which never selects",
    ),
    "kl": (
        "nats",
        "mean of logprob - reference_logprob per response: Monte-Carlo estimate, at temperature 1, of "
        "KL(policy || the run's starting policy); it can come out below 0 by chance",
    ),
    "entropy": ("nats", "mean of -logprob per response: Monte-Carlo estimate of the policy's entropy"),
    "length": ("tokens", "mean number of new tokens of a response, end-of-sequence included"),
    "words": ("words", "mean number of words, split at white space"),
    "truncation_rate": ("share", "responses that hit the token limit before an end-of-sequence token"),
    "unique_ratio": (
        "share",
        "distinct response texts of a prompt / its responses, mean over prompts; 1/n when all n are the same",
    ),
    "unsafe_compliance": (
        "share",
        "responses to unsafe prompts that comply; none when no prompt is known as unsafe",
    ),
    "selection_gap": (
        "reward",
        "mean reward of the rows that this arm was fine-tuned on minus mean reward of the "
        "pool they came from; 0 for base, which selects nothing",
    ),
    "prompts": ("count", "held-out prompts"),
    "responses": ("count", "held-out responses, all prompts together"),
    "clusters": (
        "count",
        "groups of prompts resampled together: intents where known, else the prompts themselves",
    ),
    "intervals": (
        "mean, low, high",
        "95 % interval of each metric: bootstrap over clusters of prompts, within each kind of prompt",
    ),
    "difference": (
        "as the metric",
        "mean over prompts of (first arm - second arm), the same prompts in both",
    ),
    "standard_error": ("as the metric", "standard error of the difference, clustered as the intervals are"),
    "z": ("standard errors", "difference / standard_error; none when the standard error is 0"),
    "low": ("as the metric", "lower end of the 95 % interval"),
    "high": ("as the metric", "upper end of the 95 % interval"),
    "pool_rows": ("count", "responses in the pool that was selected from"),
    "kept_rows": ("count", "responses kept for fine-tuning"),
    "coverage": ("share", "pool prompts with at least one kept response"),
    "decidable_fraction": (
        "share",
        "pool prompts whose rewards are not all equal: only there can selection matter",
    ),
    "pool_reward": ("reward", "mean reward of the pool"),
    "kept_reward": ("reward", "mean reward of the kept rows"),
    "pool_unique_ratio": ("share", "unique_ratio of the pool; near 1/n means the temperature is too low"),
    "kept_unique_ratio": ("share", "distinct kept response texts / kept rows"),
    "reward_length_correlation": (
        "-1 to 1",
        "correlation of reward and length in tokens within prompts, over the "
        "pool; near 1 means that the reward model pays for length",
    ),
}
"""Field of a report -> (unit, explanation)."""

LABELS = {
    "gold": "gold",
    "proxy": "proxy (reward)",
    "judge": "judge (held out)",
    "unsafe_compliance": "unsafe compliance",
    "length": "length (tokens)",
    "words": "words",
    "kl": "KL to start (nats)",
    "entropy": "entropy (nats)",
    "selection_gap": "selection gap (reward)",
    "unique_ratio": "unique ratio",
    "truncation_rate": "truncation rate",
}
"""The rows of the report's table: field of an arm -> how it is called."""


def arm_label(name: str, n: int) -> str:
    """How an arm is called in tables and figures.

    >>> arm_label("random", 16), arm_label("best_of_n", 16), arm_label("tuned", 16)
    ('random-of-16', 'best-of-16', 'tuned')
    """
    return {"random": f"random-of-{n}", "best_of_n": f"best-of-{n}"}.get(name, name)


def signed(value: float, sign: str = "+") -> str:
    """A number with two decimals and its sign, never "-0.00".

    >>> signed(2.314), signed(-0.001), signed(1.5, "")
    ('+2.31', '+0.00', '1.50')
    """
    return f"{round(value, 2) + 0.0:{sign}.2f}"


def ends_text(interval: Mapping[str, float | None], sign: str = "") -> str:
    """The ends of an interval.

    >>> ends_text({"low": 1.0, "high": 2.0}), ends_text({"low": None, "high": None})
    ('[1.00, 2.00]', '[no interval]')
    """
    if interval["low"] is None:
        return "[no interval]"
    return f"[{signed(interval['low'], sign)}, {signed(interval['high'], sign)}]"


def interval_text(interval: Mapping[str, float] | None) -> str:
    """An interval in a table.

    >>> interval_text({"mean": 1.638, "low": 1.45, "high": 1.832}), interval_text(None)
    ('1.64 [1.45, 1.83]', '-')
    """
    if interval is None:
        return "-"
    return f"{signed(interval['mean'], '')} {ends_text(interval)}"


_JOINERS = "\u200c\u200d"  # Persian, Hindi and many emoji are not themselves without them


def printable(text: str) -> str:
    r"""`text` with control characters made visible: a response must not be able to drive the terminal.

    >>> print(printable("red: \x1b[31m"))
    red: \x1b[31m
    """
    kept = "\n" + _JOINERS
    return "".join(c if c.isprintable() or c in kept else c.encode("unicode_escape").decode() for c in text)


def aligned_table(rows: Sequence[Sequence[str]]) -> str:
    """A text table for a terminal, its columns padded with spaces.

    >>> print(aligned_table([["", "n"], ["pool", "16"]]))
          n
    pool  16
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )


def html_table(rows: Sequence[Sequence[str]], title: str) -> str:
    """An HTML table with caption and scopes, every cell escaped; first row and first column are headers.

    It has no colours of its own, so that it takes the reader's theme.

    >>> "&lt;b&gt;" in html_table([["", "x"], ["<b>", "1"]], "one row")
    True
    """
    cells = [[_unbroken(html.escape(cell)) for cell in row] for row in rows]
    head = "".join(f'<th scope="col">{cell}</th>' for cell in cells[0])
    body = "\n".join(
        f'<tr><th scope="row">{row[0]}</th>' + "".join(f"<td>{cell}</td>" for cell in row[1:]) + "</tr>"
        for row in cells[1:]
    )
    return (
        f'<table><caption style="text-align: left">{html.escape(title)}</caption>\n'
        f"<thead><tr>{head}</tr></thead>\n<tbody>{body}</tbody></table>"
    )


def _unbroken(cell: str) -> str:
    """Keep an interval on one line where a narrow page wraps its cell."""
    return re.sub(r"\[\S+ \S+\]$", r'<span style="white-space: nowrap">\g<0></span>', cell)
