"""The other road: reinforcement learning from the same reward model, to judge rejection sampling against.

    tuned = rl.train(policy, reward_model, prompts, rl.PPO(), rl.Loop(steps=16), out="runs/ppo")

One loop samples responses with the engine's own sampler, scores them with its own scorer and takes a few
optimizer steps; a method is a small frozen dataclass that turns these rollouts into a loss. What is left out
of each textbook algorithm, and why, stands on top of its module. Read in this order:

    advantages, losses   the mathematics, on tensors; tested against an enumerable world
    rollouts             the scored responses of one step; the policy that is being tuned, PPO's value model
    methods              REINFORCE, RLOO, GRPO, online RFT, PPO, best-of-n distillation
    loop                 sample, score, step; early stopping; the state of a run that was stopped
    dpo                  DPO on the best against the worst of n; no sampling in the loop
    unified              each method as one number per token, run by the same loop
    flaws                methods with one defect each
"""

from rslib.rl.dpo import finetune_dpo
from rslib.rl.loop import Loop, train
from rslib.rl.methods import GRPO, PPO, RLOO, OnlineRFT, Reinforce, VariationalBestOfN

__all__ = [
    "GRPO",
    "PPO",
    "RLOO",
    "Loop",
    "OnlineRFT",
    "Reinforce",
    "VariationalBestOfN",
    "finetune_dpo",
    "train",
]
