"""Stable-Baselines3's algorithms, with memory."""

from .a2c import A2C
from .ppo import PPO
from .sac import SAC
from .td3 import TD3

#: Algorithms by name.
ALGORITHMS = {"PPO": PPO, "A2C": A2C, "SAC": SAC, "TD3": TD3}

__all__ = ["A2C", "ALGORITHMS", "PPO", "SAC", "TD3"]
