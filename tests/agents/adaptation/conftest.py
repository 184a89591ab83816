import numpy as np
import pytest
import torch

from undrift.agents.adaptation import NominalModel
from undrift.agents.adaptation.encoder import HistoryEncoder, history_channels
from undrift.envs.signals import Signals
from undrift.policies import CfC, DeployedPolicy

HISTORY = 2


def make_nominal(preview=True, **changes):
    """A point mass on two axes: v' = 5 u(t) + 3 u(t-1) on x, nothing acts on y. No network, a linear skip alone."""
    signals = Signals(
        rates={"vx": ("vx",), "vy": ("vy",)},
        context=("tilt",),
        tracking={"vx": "ex", "vy": "ey"},
        preview=((0.5, ("px", "py")),) if preview else (),
        previous_action=("u_before",),
    )
    inputs = 2 + 1 + HISTORY
    skip = np.zeros((inputs, 2))
    skip[3, 0], skip[4, 0] = 5.0, 3.0
    response = np.zeros((5, 2))
    response[0, 0], response[1, 1] = -1.0, -0.8
    tensors = {
        "in_scale": np.ones(inputs),
        "w1": np.zeros((inputs, 4)),
        "b1": np.zeros(4),
        "w2": np.zeros((4, 4)),
        "b2": np.zeros(4),
        "w3": np.zeros((4, 2)),
        "b3": np.zeros(2),
        "skip": skip,
        "out_mean": np.zeros(2),
        "out_scale": np.ones(2),
        "residual": np.full(2, 0.05),
        "response": response,
    }
    return NominalModel(
        ("ex", "ey", "vx", "vy", "tilt", "u_before", "px", "py"), signals, 0.02, HISTORY, tensors | changes
    )


@pytest.fixture
def nominal():
    return make_nominal()


@pytest.fixture
def nominal_without_preview():
    return make_nominal(preview=False)


@pytest.fixture
def random_nominal():
    """The same vehicle with a random network, for derivatives."""
    rng = np.random.default_rng(3)
    shapes = {"w1": (5, 4), "b1": (4,), "w2": (4, 4), "b2": (4,), "w3": (4, 2), "b3": (2,), "skip": (5, 2)}
    scales = {"in_scale": rng.uniform(0.5, 2, 5), "out_scale": rng.uniform(0.5, 2, 2), "out_mean": rng.normal(size=2)}
    return make_nominal(**{name: rng.normal(size=shape) for name, shape in shapes.items()}, **scales)


def make_encoder(nominal, readout, units=5):
    """An encoder of random memory, with readout [R, I + units]; a seed in its place draws one."""
    channels, rates = history_channels(nominal.signals), len(nominal.signals.rates)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        cell = CfC(len(channels), units, period=nominal.dt)
    if isinstance(readout, int):
        readout = np.random.default_rng(readout).normal(scale=0.3, size=(rates, len(channels) + units))
    config = {"format": 2, "cell": cell.config, "observation_scale": [1.0] * len(channels), "actor_layers": 1}
    config |= {"action_size": rates, "squash": False, "observation_names": channels}
    tensors = {f"cell.{name}": tensor.numpy() for name, tensor in cell.state_dict().items()}
    tensors |= {"actor.0.weight": readout, "actor.0.bias": np.zeros(rates)}
    return HistoryEncoder(DeployedPolicy(config, tensors), {"seed": 0})


@pytest.fixture
def encoder(random_nominal):
    return make_encoder(random_nominal, readout=1)
