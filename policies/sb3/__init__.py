"""Policies with memory in Stable-Baselines3's policy dialect."""

from .actor_critic import LiquidPolicy
from .memory import Features, Memory
from .names import POLICY_NAMES
from .off_policy import LiquidSACPolicy, LiquidTD3Policy

#: The names PPO and A2C know these policies by.
POLICY_ALIASES = dict.fromkeys(POLICY_NAMES, LiquidPolicy)
#: The same names as SAC and TD3 know them.
SAC_POLICY_ALIASES = dict.fromkeys(POLICY_NAMES, LiquidSACPolicy)
TD3_POLICY_ALIASES = dict.fromkeys(POLICY_NAMES, LiquidTD3Policy)

__all__ = [
    "POLICY_ALIASES",
    "POLICY_NAMES",
    "SAC_POLICY_ALIASES",
    "TD3_POLICY_ALIASES",
    "Features",
    "LiquidPolicy",
    "LiquidSACPolicy",
    "LiquidTD3Policy",
    "Memory",
]
