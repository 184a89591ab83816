"""What may change of any model: lengths of the links of one that Gymnasium ships."""

from importlib.resources import files

import mujoco
import numpy as np
import pytest
from mujoco.batch import Batch

from undrift.envs.plant import ModelPlant

MODEL = mujoco.MjModel.from_xml_path(str(files("gymnasium.envs.mujoco").joinpath("assets/hopper.xml")))
GEOMETRY = ("body_pos", "body_ipos", "jnt_pos", "geom_pos", "geom_size", "geom_rbound")


@pytest.fixture
def hopper():
    batch = Batch(MODEL, nsim=2)
    return batch, ModelPlant(batch, MODEL, "torso")


def stretch(plant, ids, **factors):
    plant.restore(ids, ("link_length",))
    for body, factor in factors.items():
        plant["link_length"][ids, MODEL.body(body).id] = factor
    plant.commit(ids, ("link_length",))


def test_a_longer_link_moves_what_it_carries_and_leaves_the_other_links_as_long(hopper):
    batch, plant = hopper
    stretch(plant, np.array([1]), leg=1.4)
    batch.bind("qpos")[:, 3:] = [-0.4, -0.8, 0.5]
    joints, middles, axes = (batch.bind(name) for name in ("xanchor", "geom_xpos", "geom_xmat"))
    batch.forward()
    hip, knee, ankle = (joints[:, MODEL.joint(f"{name}_joint").id] for name in ("thigh", "leg", "foot"))
    np.testing.assert_allclose(np.linalg.norm(knee - hip, axis=1), [0.45, 0.45])
    np.testing.assert_allclose(np.linalg.norm(ankle - knee, axis=1), [0.5, 0.7])
    leg = MODEL.geom("leg_geom").id
    half = batch.expand("geom_size")[:, leg, 1, None] * axes[:, leg].reshape(2, 3, 3)[:, :, 2]
    for end, joint in ((middles[:, leg] + half, knee), (middles[:, leg] - half, ankle)):
        np.testing.assert_allclose(end, joint, atol=1e-12)


def test_its_bounds_grow_with_it_so_that_contacts_are_found(hopper):
    batch, plant = hopper
    stretch(plant, np.array([1]), foot=3.0)
    foot = MODEL.geom("foot_geom").id
    length = MODEL.geom_size[foot, 1]
    np.testing.assert_allclose(
        batch.expand("geom_rbound")[:, foot] - MODEL.geom_size[foot, 0], [length, 3 * length], rtol=1e-9
    )


def test_the_nominal_lengths_come_back_to_the_bit(hopper):
    batch, plant = hopper
    stretch(plant, np.array([0, 1]), thigh=0.7, leg=1.3, torso=1.1)
    assert (batch.expand("body_pos")[1] != MODEL.body_pos).any()
    stretch(plant, np.array([0, 1]))
    for field in GEOMETRY:
        np.testing.assert_array_equal(batch.expand(field), np.stack([getattr(MODEL, field)] * 2))
