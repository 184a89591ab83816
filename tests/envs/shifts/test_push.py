"""Push: the impulse that a vehicle without drag keeps."""

import numpy as np
import pytest

from undrift.envs import Abrupt, Always, Cyclic, Drag, Payload, Push

from .flights import aloft, fly

VACUUM = Drag(factor=0.0, schedule=Always())


@pytest.mark.parametrize("duration", [0.02, 0.13, 0.2])
def test_it_leaves_the_impulse_of_its_duration_and_then_no_force(duration):
    env = aloft(VACUUM, Push(acceleration=5.0, duration=duration, heading=0.5, schedule=Abrupt(0.1)))
    fly(env, np.zeros((5, 4)))
    assert not env.qvel[0, :2].any()
    fly(env, np.zeros((12, 4)))
    np.testing.assert_allclose(env.qvel[0, :2], 5.0 * duration * np.array([np.cos(0.5), np.sin(0.5)]), rtol=1e-9)
    np.testing.assert_allclose(env.plant["force"], 0.0, atol=1e-12)


def test_a_cyclic_one_pushes_at_the_beginning_of_every_cycle():
    cycles = Cyclic(at=0.0, period=0.4, duty=0.5)
    env = aloft(VACUUM, Push(acceleration=4.0, duration=0.1, heading=0.0, schedule=cycles))
    for speed in (0.4, 0.8, 1.2):
        for _ in ("on", "off"):
            fly(env, np.zeros((10, 4)))
            assert env.qvel[0, 0] == pytest.approx(speed, rel=1e-9)


def test_a_heavier_vehicle_takes_less_speed_from_the_same_push():
    load = Payload(fraction=0.6, spread=0.0, schedule=Always())
    env = aloft(VACUUM, Push(acceleration=5.0, duration=0.1, heading=0.0, schedule=Always()), load)
    fly(env, np.zeros((10, 4)))
    assert env.qvel[0, 0] == pytest.approx(0.5 / 1.6, rel=1e-9)
