"""What the policy is shown of a state that is predicted: exact for what moves along the reference's polynomial."""

import numpy as np

from undrift.agents import Run
from undrift.agents.adaptation import make_adapter
from undrift.agents.adaptation.estimator import DisturbanceObserver
from undrift.agents.adaptation.presentation import Belief, Channels, show_rows
from undrift.policies.kernels.packed import pack

NOMINAL = Run.reference().nominal
NAMES = list(NOMINAL.observation_names)
DT = NOMINAL.dt


def observe(reference, t, position, velocity):
    """Observation [1, O] at time t of a vehicle, with a reference that is a polynomial per axis [3]."""
    observation = np.zeros((1, len(NAMES)))
    place = lambda stem: [NAMES.index(f"{stem}_{axis}") for axis in "xyz"]
    here = np.array([p(t) for p in reference])
    speed = np.array([p.deriv()(t) for p in reference])
    observation[0, place("position_error")] = position - here
    observation[0, place("velocity_error")] = velocity - speed
    observation[0, place("reference_velocity")] = speed
    for ahead in ("0.15", "0.30", "0.60"):
        observation[0, place(f"preview_{ahead}")] = np.array([p(t + float(ahead)) for p in reference]) - here
    return observation


def test_a_state_rolled_forward_is_shown_as_it_will_be_measured():
    rng = np.random.default_rng(0)
    reference = [np.polynomial.Polynomial([rng.normal(), *rng.normal(size=4)]) for _ in range(3)]
    position, velocity, acceleration = rng.normal(size=(3, 3))
    ahead, later = 3, 3 * DT
    now = observe(reference, 0.0, position, velocity)
    moved = velocity * later + 0.5 * acceleration * later**2
    expected = observe(reference, later, position + moved, velocity + acceleration * later)
    state = DisturbanceObserver(NOMINAL).initial_state(1) | {"ahead": np.array([ahead])}
    state["believed_rates"][0, :3] = velocity + acceleration * later
    state["believed_travel"][0, :3] = moved
    show_rows(pack(Channels.of(NOMINAL, 4)), state.parts(Belief), state.rows, now)
    np.testing.assert_allclose(now, expected, atol=1e-9)


def test_a_measured_state_is_shown_as_it_is():
    rng = np.random.default_rng(1)
    observation = rng.normal(size=(2, len(NAMES))).astype(np.float32)
    adapter = make_adapter("drone", NOMINAL)
    shown, state = adapter.see(adapter.initial_state(2), observation)
    np.testing.assert_array_equal(state["believed_context"], observation[:, NOMINAL.reader.context_index])
    np.testing.assert_allclose(shown, observation, atol=1e-6)
