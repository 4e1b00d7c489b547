"""The panels of exercise 6.5: runs of PPO with one flaw of reinforcement learning, or none.

`rl_panels.json` holds the decks and what `rslib.rl.flaws` says of each flaw. Which flaw a panel has is among
the keys. METRICS are also the columns that `docs/studies/rl_flaws.py` measures.
"""

from __future__ import annotations

from pathlib import Path

from autograder.handouts.nb05_panels import Panels

FILE = Path(__file__).with_name("rl_panels.json")

STAGES: dict[str, tuple[str, ...]] = {
    "draw": ("no_chat_template", "stale_logprobs", "end_masked"),
    "reward": ("score_every_token", "no_end_penalty", "cut_rewarded"),
    "kl": ("kl_sign", "kl_reversed", "no_penalty"),
    "advantage": ("not_centred", "short_sighted", "rows_mixed"),
    "loss": ("detached", "clip_wrong_side", "value_on_padding"),
}
"""Where the flaws sit. Every two of them are told apart by a metric in every measured seed."""

METRICS: dict[str, str] = {
    "gold": "points: the tuned policy on held-out prompts",
    "reward": "its mean reward on the same prompts",
    "kl": "its KL to the reference there, nats per response",
    "length": "tokens of a held-out response",
    "entropy": "nats per response in the last draw",
    "template_tokens": "tokens around the text of a prompt, as the policy was given it",
    "first_ratio": "mean |ratio - 1| in the first minibatch of a draw, before any step on it",
    "learned_tokens": "places that the loss is averaged over / tokens of the responses",
    "score_counts": "what the token rewards of a response gain in all when its score rises by 1",
    "cut_costs": "what a response loses when it was cut, in standard deviations of the reward",
    "kl_price": "reward that a token loses per nat of log(policy / reference), last draw",
    "paid_tokens": "of the tokens with a KL reward, the share that is paid and not charged",
    "advantage_mean": "mean advantage of a token, last draw",
    "advantage_fit": "correlation of the last token's advantage with the response's score, last draw",
    "reach": "spread of the first token's advantage over responses / spread of the last token's",
    "clip_fraction": "share of tokens whose ratio is outside of the clip",
    "pushed_beyond": "of the tokens that the clip should hold, the share that still has a gradient",
    "value_explained": "share of the variance of the returns that the values explain, last draw",
    "policy_changed": "1 when the tuned policy has other weights",
}
"""Metric -> what it is."""

GROUPS: dict[str, tuple[str, ...]] = {
    "draw": ("template_tokens", "first_ratio", "learned_tokens"),
    "reward": ("score_counts", "cut_costs"),
    "kl": ("kl_price", "paid_tokens"),
    "advantage": ("advantage_mean", "advantage_fit", "reach"),
    "loss": ("pushed_beyond", "policy_changed"),
    "outcome": ("gold", "reward", "kl", "length", "entropy", "clip_fraction", "value_explained"),
}
"""The metrics by the part that they ask; every part moves the outcomes and what trainers log."""

PANELS = Panels(FILE, STAGES, METRICS, GROUPS)
flaws = PANELS.flaws
