"""Inertia: what a fresh model of that inertia does, and what no body can have."""

import numpy as np
import pytest

from undrift.envs import Always, CentreOfMass, Inertia, Payload, make_batch

from .flights import aloft, fly, fly_compiled

ACTIONS = np.random.default_rng(1).uniform(-0.5, 0.5, (20, 4))


@pytest.mark.parametrize(("axis", "factors"), [("all", (1.4, 1.4, 1.4)), ("x", (1.4, 1, 1)), ("y", (1, 1.4, 1))])
def test_it_turns_as_a_model_compiled_with_that_inertia(axis, factors):
    def edit(spec):
        spec.body("drone").inertia = np.array(spec.body("drone").inertia) * factors

    poses = fly(aloft(Inertia(factor=1.4, axis=axis, schedule=Always())), ACTIONS)
    np.testing.assert_allclose(poses, fly_compiled(edit, ACTIONS), rtol=0, atol=1e-12)


def test_neither_the_order_of_the_shifts_nor_that_of_a_payload_matters():
    shifts = (
        Inertia(factor=1.2, axis="x", schedule=Always()),
        Payload(fraction=0.3, forward=0.05, up=0.02, spread=0.0, schedule=Always()),
        CentreOfMass(distance=0.02, heading=0.7, schedule=Always()),
        Inertia(factor=1.3, schedule=Always()),
    )
    poses = [fly(aloft(*order), ACTIONS) for order in (shifts, shifts[::-1], shifts[1:] + shifts[:1])]
    np.testing.assert_allclose(poses[1:], np.stack([poses[0]] * 2), rtol=0, atol=1e-12)


@pytest.mark.parametrize(("factor", "axis"), [(1.5, "z"), (0.5, "y"), ((1.0, 1.5), "z")])
def test_moments_that_no_rigid_body_has_are_refused(factor, axis):
    with pytest.raises(ValueError, match="no principal moment exceeds the other two together; here they are"):
        make_batch("DroneTrack", shifts=(Inertia(factor=factor, axis=axis),))


def test_an_axis_is_one_of_the_bodys():
    with pytest.raises(ValueError, match='"all", "x", "y" or "z"'):
        Inertia(axis="w")
