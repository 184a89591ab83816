"""StoredPolicy: a policy that is a configuration and its weights, as two files whose hash tells that they belong together."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

WEIGHTS_FILE, CONFIG_FILE = "policy.safetensors", "policy.json"


class StoredPolicy:
    """Saves and loads what a policy is made of; a policy's own class checks and uses it.

    Parameters
    ----------
    config : JSON-able dict.
    tensors : float32 arrays by name.

    Raises ValueError where the configuration is not JSON-able.
    """

    def __init__(self, config: Mapping[str, Any], tensors: Mapping[str, NDArray[Any]]) -> None:
        self.config: dict[str, Any] = _as_json(config)
        self.tensors = {name: np.array(tensors[name], np.float32, order="C") for name in sorted(tensors)}

    @property
    def sha256(self) -> str:
        """Hash of configuration and weights, for provenance."""
        digest = hashlib.sha256(json.dumps(self.config, sort_keys=True).encode())
        for name, tensor in self.tensors.items():
            digest.update(name.encode() + str(tensor.shape).encode() + tensor.tobytes())
        return digest.hexdigest()

    def __reduce__(self) -> tuple[Any, ...]:
        # Pickled as what it is made of: compiled kernels would be sent along, and compiled anew where they arrive.
        return type(self), (self.config, self.tensors)

    def save(self, folder: str | Path) -> None:
        """Write policy.safetensors and policy.json into `folder`, each under a temporary name first."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        weights, config = folder / (WEIGHTS_FILE + ".tmp"), folder / (CONFIG_FILE + ".tmp")
        save_file(self.tensors, weights)
        config.write_text(json.dumps({**self.config, "sha256": self.sha256}, indent=1) + "\n")
        os.replace(weights, folder / WEIGHTS_FILE)
        os.replace(config, folder / CONFIG_FILE)

    @classmethod
    def load(cls, folder: str | Path) -> Self:
        """Read what `save` wrote. Raises ValueError naming the file that is missing, damaged or inconsistent."""
        weights, path = Path(folder) / WEIGHTS_FILE, Path(folder) / CONFIG_FILE
        config = read_config(folder)
        sha256 = config.pop("sha256")
        try:
            tensors = load_file(weights)
        except FileNotFoundError:
            raise ValueError(
                f"{weights} is missing; a policy is the two files {CONFIG_FILE} and {WEIGHTS_FILE}"
            ) from None
        except (OSError, SafetensorError) as error:
            raise ValueError(f"{weights} is damaged: {error}") from None
        try:
            policy = cls(config, tensors)
        except ValueError as error:
            raise ValueError(f"{path} with {weights.name}: {error}") from None
        if policy.sha256 != sha256:
            raise ValueError(f"{weights} does not belong to {path}, or one was changed: their sha256 differs")
        return policy


def read_config(folder: str | Path) -> dict[str, Any]:
    """Configuration and `sha256` of the policy in `folder`. Raises ValueError naming the file that is missing or damaged."""
    path = Path(folder) / CONFIG_FILE
    try:
        config: dict[str, Any] = json.loads(path.read_text())
        _ = config["sha256"]
    except FileNotFoundError:
        raise ValueError(f"{path} is missing; a policy is the two files {CONFIG_FILE} and {WEIGHTS_FILE}") from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is damaged: {error}") from None
    return config


def _as_json(config: Mapping[str, Any]) -> dict[str, Any]:
    """The configuration as it will be read back from its file."""
    try:
        result: dict[str, Any] = json.loads(json.dumps(dict(config)))
    except TypeError as error:
        raise ValueError(f"the configuration must be JSON-able: {error}") from None
    return result
