"""Stable-Baselines3's algorithms, with memory."""

from .ppo import PPO

#: Algorithms by name.
ALGORITHMS = {"PPO": PPO}

__all__ = ["ALGORITHMS", "PPO"]
