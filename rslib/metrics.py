"""What the report's numbers and arms are called, and what each number means: the one home of these words."""

from __future__ import annotations

METRICS: dict[str, tuple[str, str]] = {
    "gold": ("points", "mean gold score of the held-out responses: the judge that no stage ever trains on"),
    "proxy": (
        "reward",
        "mean reward-model reward of the held-out responses: the score that selection maximises",
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
