"""Centre of mass: the torque that thrust has about it."""

import numpy as np

from undrift.envs import Always, CentreOfMass, make_batch

from .flights import aloft, fly, fly_compiled


def test_it_flies_as_a_model_compiled_with_that_centre_of_mass():
    def edit(spec):
        spec.body("drone").ipos = 0.012 * np.array([np.cos(2.0), np.sin(2.0), 0.0])

    actions = np.random.default_rng(3).uniform(-0.5, 0.5, (20, 4))
    poses = fly(aloft(CentreOfMass(distance=0.012, heading=2.0, schedule=Always())), actions)
    np.testing.assert_allclose(poses, fly_compiled(edit, actions), rtol=0, atol=1e-12)


def test_the_nose_drops_where_the_mass_is_ahead_of_the_thrust():
    env = aloft(CentreOfMass(distance=0.012, heading=0.0, schedule=Always()))
    fly(env, np.zeros((1, 4)))
    pitch = env.vehicle.weight * 0.012 / env.vehicle.inertia[1]
    np.testing.assert_allclose(env.qvel[0, 3:] / env.dt, [0.0, pitch, 0.0], rtol=0.01, atol=1e-9)


def test_each_episode_draws_its_direction():
    env = make_batch("DroneTrack", 40, seed=0, shifts=(CentreOfMass(distance=0.02, schedule=Always()),))
    env.reset()
    offset = env.plant["centre_of_mass"][:, env.plant.body]
    np.testing.assert_allclose(np.linalg.norm(offset, axis=1), 0.02)
    assert len({tuple(quadrant) for quadrant in np.sign(offset[:, :2])}) == 4 and not offset[:, 2].any()
