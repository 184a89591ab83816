"""The names by which Stable-Baselines3's algorithms know policies with memory."""

from __future__ import annotations

from typing import Any

from stable_baselines3.common.torch_layers import CombinedExtractor, FlattenExtractor, NatureCNN

#: What each name stands for, as arguments of a policy's class: ``"CfcPolicy"``, ``"MultiInputCfcPolicy"`` (a ``Dict`` of
#: observations), ``"CnnCfcPolicy"`` (images), and so on for each cell.
POLICY_NAMES: dict[str, dict[str, Any]] = {
    f"{form}{cell.capitalize()}Policy": {"cell": cell, "features_extractor_class": extractor}
    for form, extractor in {"": FlattenExtractor, "MultiInput": CombinedExtractor, "Cnn": NatureCNN}.items()
    for cell in ("cfc", "ltc", "diagonal", "reservoir", "gru", "lstm")
}
