"""The teacher of the history encoder: what it knows is true, and the encoder learns it."""

import numpy as np
import pytest
import torch

from undrift.agents import Run
from undrift.agents.adaptation.distillation import fit_history_encoder, record_flights
from undrift.agents.adaptation.encoder import BOUND
from undrift.envs import Abrupt, Always, Dropout, Push, RandomOnset, Wind

RUN = Run.reference()
NOISE = {"noise": 1.0}
STORM = Wind(speed=(0.0, 7.0), schedule=RandomOnset(earliest=0.2, latest=1.0))
FIT = {"scenarios": [(STORM,)], "sensing": [Dropout(probability=0.1, schedule=Always())], "env_kwargs": NOISE}


def fit(seed, **sizes):
    return fit_history_encoder(RUN.policy, RUN.nominal, seed, **FIT, **sizes)


@pytest.fixture(scope="module")
def fitted():
    return fit(5, units=8, rounds=1, simulations=32, steps=120, epochs=80)


def record(encoder, scenarios, sensing=(), steps=120):
    return record_flights(RUN.policy, RUN.nominal, encoder, scenarios, sensing, NOISE, 1, steps)


def test_the_teacher_knows_the_force_that_acts(fitted):
    pushes = [(Push(acceleration=a, duration=5.0, heading=0.0, schedule=Abrupt(0.4)),) for a in (0.0, 3.0)]
    flights = record(fitted, pushes)
    disturbance = BOUND * RUN.nominal.acceleration_sd * flights.disturbance.numpy()
    unpushed, pushed = disturbance[40:, :, list(RUN.nominal.signals.rates).index("velocity_x")].mean(0)
    assert pushed - unpushed == pytest.approx(3.0, rel=0.1)


def test_what_the_measurements_suffer_does_not_reach_the_teacher(fitted):
    scenarios, lossy = [(STORM,)] * 4, [Dropout(probability=0.5, schedule=Always())]
    seen, lost = record(fitted, scenarios, steps=40), record(fitted, scenarios, lossy, steps=40)
    assert seen.read.all() and not lost.read.all()
    # Held measurements would tell of jumps many times as large as what the air does.
    torch.testing.assert_close(seen.disturbance.abs().amax(0), lost.disturbance.abs().amax(0), atol=0.1, rtol=0)


def test_a_sensing_shift_among_the_scenarios_is_refused():
    scenarios = [(STORM,), (STORM, Dropout())]
    with pytest.raises(ValueError, match="'dropout' shifts what is measured.*give it in `sensing`"):
        fit_history_encoder(RUN.policy, RUN.nominal, 0, scenarios=scenarios, sensing=[], env_kwargs=NOISE)


def test_the_encoder_learns_to_tell_the_wind(fitted):
    flights = record(fitted, [(STORM,)] * 16)
    memory, told = fitted.initial_state(16), []
    for x, read, dt in zip(flights.inputs.numpy(), flights.read.numpy(), flights.dt.numpy(), strict=True):
        d, after = fitted.step(x, memory, dt)
        memory = np.where(read[:, None], after, memory)
        told.append(d / BOUND)
    asked, true = flights.asked.numpy(), flights.disturbance.numpy()
    for axis in (0, 1):
        error = (np.array(told) - true)[asked][:, axis]
        assert error.var() < 0.5 * true[asked][:, axis].var()


def test_the_same_seed_gives_the_same_encoder():
    sizes = {"units": 4, "rounds": 2, "simulations": 4, "steps": 30, "epochs": 1}
    one, again, other = (fit(seed, **sizes) for seed in (7, 7, 8))
    assert one.network.sha256 == again.network.sha256 != other.network.sha256
    assert {name: one.trained[name] for name in sizes} == sizes and one.trained["seed"] == 7
