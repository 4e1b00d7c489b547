"""The other road: reinforcement learning from the same reward model, to judge rejection sampling against.

    tuned = rl.train(policy, reward_model, prompts, rl.PPO(), rl.Loop(steps=16), out="runs/ppo")

One loop (`loop`) draws responses with the engine's own sampler, scores them with its own scorer and takes a
few optimiser steps; a method is a small frozen dataclass that turns what was drawn into a loss. What is
left out of each textbook algorithm, and why, stands on top of its module.

    advantages, losses   the mathematics, on tensors; tested against an enumerable world
    group                REINFORCE, RLOO, GRPO, online RFT
    ppo                  PPO with a value model
    dpo                  DPO on the best against the worst of n; no sampling in the loop
    unified              each method as one number per token, run by the same loop
"""

from rslib.rl.dpo import finetune_dpo
from rslib.rl.group import GRPO, RLOO, OnlineRFT, Reinforce
from rslib.rl.loop import Loop, train
from rslib.rl.ppo import PPO

__all__ = ["GRPO", "PPO", "RLOO", "Loop", "OnlineRFT", "Reinforce", "finetune_dpo", "train"]
