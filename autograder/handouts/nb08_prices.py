"""What notebook 08 counts with: bytes, FLOPs, machines, prices, and where each comes from.

Every number is here once. `FACTS` says of each whether it was published, measured in this project or assumed;
whoever knows better replaces it (`replace(PRICES, week=8000.0)`), and tables and figures follow.
"""

from __future__ import annotations

from dataclasses import dataclass

from autograder.exercise import table

STRATEGIES = ("serve", "rs", "dpo", "rloo", "ppo")
WEIGHTS = ("full", "lora", "4bit")
"""How weights are held and trained: all of them in 16 bits, adapters on 16 bits, adapters on 4 bits."""
READS = {"full": 2.0, "lora": 2.0, "4bit": 0.52}
"""Bytes a parameter of a model that only reads or draws."""
TRAINED = {"full": 16.0, "lora": 2.1, "4bit": 0.62}
"""Bytes a parameter of a model that is trained."""
ROOM = 1.25
"""A machine has to hold so many times the weights, gradients and optimiser."""


@dataclass(frozen=True)
class Machine:
    """A machine: gigabytes (1e9 bytes), FLOPs a second at its peak, bytes a second, dollars an hour."""

    name: str
    gigabytes: float
    peak: float
    bandwidth: float
    hour: float


MACHINES = {
    machine.name: machine
    for machine in (
        Machine("a phone", 4, 2e12, 5e10, 0.0),
        Machine("one L4", 24, 121e12, 3e11, 0.8),
        Machine("one H100", 80, 989e12, 3.35e12, 3.0),
        Machine("eight H100", 640, 8 * 989e12, 8 * 3.35e12, 24.0),
    )
}


@dataclass(frozen=True)
class Prices:
    """Shares of a machine's peak that are reached, and what people and texts are taken to be.

    drawing: the share when many responses are drawn at once. working: when texts are read or trained on.
    prompt, reply: tokens of a prompt, and of a response. week: dollars for an engineer's week.
    weeks: how many of them until a strategy is in use.
    """

    drawing: float = 0.1
    working: float = 0.4
    prompt: int = 200
    reply: int = 300
    week: float = 4000.0
    weeks: tuple[tuple[str, float], ...] = (("serve", 1), ("rs", 2), ("dpo", 3), ("rloo", 6), ("ppo", 10))

    @property
    def tokens(self) -> int:
        """Of a prompt and its response together."""
        return self.prompt + self.reply


PRICES = Prices()
FACTS = (
    (
        "2 bytes a parameter that is read, 16 trained in full",
        "bfloat16; weights 2, gradients 2, and in float32 a copy of the weights and Adam's two moments, 12 "
        "(Rajbhandari et al. 2020, arXiv 1910.02054, section 3.1)",
    ),
    (
        "0.52 bytes in 4 bits",
        "4 bits and 0.127 bits of scales (Dettmers et al. 2023, QLoRA, arXiv 2305.14314, section 3)",
    ),
    (
        "0.1 bytes for adapters",
        "rank 16 on all linear layers has 0.6 % of the weights of a 7 B Llama, at 16 bytes (our count)",
    ),
    (
        "a quarter more memory",
        "activations, cache and fragments with gradient checkpointing: our assumption. Without it "
        "activations can take more than the weights (docs/gpu.md)",
    ),
    (
        "2 FLOPs a parameter and token read, 6 trained in full, 4 with adapters",
        "Kaplan et al. 2020, arXiv 2001.08361, section 2.1; frozen weights need no gradient of their own, "
        "which saves 2 (our count)",
    ),
    (
        "40 % of the peak for reading and training",
        "Llama 3 405B was trained at 38 to 43 % (arXiv 2407.21783, section 3.3)",
    ),
    (
        "10 % of the peak for drawing many at once",
        "measured here: a 0.5 B model draws 115,000 tokens a second on an H100, 12 % of its peak "
        "(docs/results/gpu-h100.json). Drawing a few at a time is slower by far",
    ),
    (
        "H100: 80 GB, 989 TFLOP/s, 3.35 TB/s; L4: 24 GB, 121 TFLOP/s, 300 GB/s",
        "NVIDIA's data sheets, bfloat16 without sparsity",
    ),
    (
        "the whole bandwidth, and eight H100 as fast as eight times one",
        "our simplification, which makes every wait a lower bound: kernels reach less, and GPUs that share "
        "a model wait for one another",
    ),
    (
        "3 dollars an hour for an H100, 0.80 for an L4",
        "our assumption. Lists of early 2026 have the H100 at 2.49 to 3.99 (pricegpu.pages.dev)",
    ),
    ("a phone: 4 GB for one app, 50 GB/s, 2 TFLOP/s", "our assumption of a recent phone"),
    (
        "0.25 to 2 dollars a comparison",
        "AlpacaEval paid crowd workers 300 dollars for 1,000 (its README). Nurses and lawyers at 5 to 20 "
        "dollars are our assumption",
    ),
    ("4,000 dollars a week, 1 to 10 weeks", "our assumption. Put in your own people"),
    ("a prompt of 200 tokens, a response of 300", "our assumption"),
)


class Facts:
    """The facts with their sources, as a table."""

    def __repr__(self) -> str:
        return "\n".join(f"{fact}: {source}" for fact, source in FACTS)

    def _repr_html_(self) -> str:
        return table("What is counted with", FACTS, ("number", "source"))
