"""Light, texture, fog and the camera's pose, in pictures."""

import mujoco
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from undrift.envs import Always, CameraShift, Fog, Light, Pulse, Ramp, Texture, make_batch
from undrift.envs.drawing import DrawingUnavailable
from undrift.envs.drone.model import drone_spec
from undrift.envs.drone.vehicle import load_vehicle
from undrift.envs.rendering import SKY, View

from ..conftest import near
from .flights import actions

FOG = 255 * np.array(SKY)
PLACE = np.array([0.3, 0.4, 1.0])
DOWN = (np.cos(np.pi / 8), 0.0, np.sin(np.pi / 8), 0.0)
"""Nose 45 degrees down: nothing but floor."""


def scene(*shifts, quaternion=(1.0, 0.0, 0.0, 0.0), **kwargs):
    env = make_batch("DroneHover", shifts=shifts, **kwargs)
    env.reset([0])
    env.place(0, PLACE, quaternion=quaternion)
    return env


@pytest.fixture(scope="module")
def camera():
    """`camera(env)`: what the first drone of DroneHover sees, [64, 64, 3]."""
    try:
        view = View(scene(), "first_person")
    except DrawingUnavailable as error:
        pytest.skip(str(error))

    def picture(env):
        view.env = env
        return view.draw().astype(float)

    yield picture
    view.close()


@pytest.mark.parametrize("factor", [0.0, 0.4, 1.2])
def test_light_scales_the_brightness_of_all_that_is_seen(camera, factor):
    plain, lit = camera(scene()), camera(scene(Light(factor=factor, schedule=Always())))
    np.testing.assert_allclose(lit.mean(axis=1), factor * plain.mean(axis=1), atol=1.5)
    np.testing.assert_allclose(lit[0], factor * np.tile(FOG, (64, 1)), atol=1.5)


def test_texture_multiplies_the_colour_of_the_floor(camera):
    shift = Texture(hue=120.0, saturation=0.5, brightness=1.2, schedule=Always())
    dim = Light(factor=0.5, schedule=Always())  # in full light the floor is as bright as a picture can show
    plain, tinted = camera(scene(dim, quaternion=DOWN)), camera(scene(dim, shift, quaternion=DOWN))
    np.testing.assert_allclose(tinted.mean((0, 1)), plain.mean((0, 1)) * [0.6, 1.2, 0.6], rtol=0.06)


def test_texture_colours_obstacles_and_not_the_vehicle(look):
    env = make_batch(
        "DroneGates", displacement=0.0, shifts=(Texture(hue=0.0, saturation=1.0, schedule=Pulse(at=0.02)),)
    )
    env.reset([0])
    view = look(env, "chase", 320, 240)
    gate = env.batch.bind("mocap_pos")[0, (env.next_gate[0] + 1) % env.gates]
    bar, colours = gate - [0.0, 0.0, env.opening / 2 + 0.04], []
    for _ in range(2):
        env.place(0, gate - [0.0, 0.0, 0.4])
        picture = view.draw()
        colours.append([near(view, picture, place, 0)[0] for place in (bar, env.position(0))])
        env.step(np.zeros((1, 4)))
        env.step(np.zeros((1, 4)))
    (bar_before, drone_before), (bar_after, drone_after) = colours
    assert bar_before[:2].min() > 100 and bar_after[0] > 100 and bar_after[1:].max() < 10
    np.testing.assert_allclose(drone_after, drone_before, atol=5)


def test_a_hue_that_is_not_given_is_drawn_per_episode():
    env = make_batch("DroneHover", 20, shifts=(Texture(saturation=1.0, schedule=Always()),))
    env.reset(range(20))
    assert len(np.unique(np.argmax(env.plant["tint"], axis=1))) == 3


def test_beyond_the_visibility_all_is_fog_and_near_by_there_is_little(camera):
    plain, foggy = camera(scene()), camera(scene(Fog(visibility=6.0, schedule=Always())))
    # The camera is 1.02 m high and sees 45 degrees down at its lowest row.
    distance = 1.02 / ((np.arange(33, 64) + 0.5) / 32 - 1)
    floor, left = plain[33:], np.abs(foggy[33:] - FOG).sum((1, 2)) / np.abs(plain[33:] - FOG).sum((1, 2))
    assert (distance > 6.0).sum() >= 4 and np.abs(floor[distance > 6.0] - FOG).mean() > 10
    assert (left[distance > 6.0] < 0.02).all()
    assert 0.75 < left[-1] < 1.0 and (np.diff(left[distance < 6.0]) > 0).all()


def test_fog_that_thickens_is_shown_as_it_is(camera):
    env, contrast = scene(Fog(visibility=4.0, schedule=Ramp(at=0.02, duration=0.06))), []
    for _ in range(6):
        env.place(0, PLACE)
        contrast.append(np.abs(camera(env)[40] - FOG).mean())
        env.step(np.zeros((1, 4)))
    assert contrast[0] == contrast[1] == contrast[2] > contrast[3] > contrast[4] > contrast[5]


def test_a_moved_camera_sees_what_that_of_a_model_compiled_with_it_does(camera, look):
    moved, turned = {"forward": 0.1, "left": 0.2, "up": -0.3}, {"roll": 20.0, "pitch": -10.0, "yaw": 30.0}
    spec = drone_spec(load_vehicle("racer"))
    nominal = Rotation.from_quat(spec.compile().camera("first_person").quat, scalar_first=True)
    # It looks along body x, level: its forward, left and up are the body's.
    turn = Rotation.from_rotvec(list(turned.values()), degrees=True)
    spec.camera("first_person").alt.type = mujoco.mjtOrientation.mjORIENTATION_QUAT
    spec.camera("first_person").quat = (turn * nominal).as_quat(scalar_first=True)
    spec.camera("first_person").pos += list(moved.values())
    compiled = scene()
    compiled.model = spec.compile()
    expected = look(compiled, "first_person").draw().astype(int)
    seen = camera(scene(CameraShift(**moved, **turned, schedule=Always())))
    assert (np.abs(seen - expected) > 2).mean() < 0.002
    assert np.abs(seen - camera(scene())).mean() > 10


def test_a_camera_that_pitches_up_sees_the_sky_and_one_that_rolls_sees_it_tilted(camera):
    def sky(**shift):
        picture = camera(scene(CameraShift(**{"pitch": 0.0, **shift}, schedule=Always())))
        return (np.abs(picture - FOG) < 3).all(-1)

    assert sky(pitch=-30.0).mean() > sky().mean() + 0.2 > sky(pitch=30.0).mean() + 0.4
    rolled = sky(roll=30.0)  # its left side up: the left of the picture shows more sky
    assert rolled[:, :16].mean() > rolled[:, -16:].mean() + 0.3


def test_cameras_outside_the_vehicle_stay(look):
    env = scene(CameraShift(schedule=Pulse(at=0.0, duration=0.02)))
    view = look(env, "chase", 160, 120)
    moved = view.draw()
    view.env = scene()
    np.testing.assert_array_equal(view.draw(), moved)


@pytest.mark.parametrize("shift", [Light, Texture, Fog, CameraShift])
def test_pictures_change_from_the_onset_to_the_end_and_are_plain_after_a_reset_and_nothing_else_changes(camera, shift):
    env, plain = (make_batch("DroneHover", shifts=s) for s in ((shift(schedule=Pulse(at=0.04, duration=0.04)),), ()))
    for steps in (6, 3):
        np.testing.assert_array_equal(env.reset([0]), plain.reset([0]))
        np.testing.assert_array_equal(camera(env), camera(plain))
        for step in range(steps):
            seen, true = env.step(actions(env, step)), plain.step(actions(plain, step))
            np.testing.assert_array_equal(seen[0], true[0])
            np.testing.assert_array_equal(seen[1], true[1])
            np.testing.assert_array_equal(env.qpos, plain.qpos)
            assert (camera(env) != camera(plain)).any() == (step in (2, 3))


@pytest.mark.parametrize(
    "shifts",
    [
        (Light(factor=0.5, schedule=Always()), Light(factor=3.0, schedule=Always())),
        (Texture(hue=10.0, schedule=Always()), Texture(hue=200.0, brightness=2.0, schedule=Always())),
        (Fog(visibility=4.0, schedule=Always()), Fog(visibility=7.0, schedule=Always())),
        (CameraShift(pitch=5.0, schedule=Always()), CameraShift(yaw=8.0, forward=0.2, schedule=Always())),
    ],
)
def test_their_order_does_not_matter(shifts):
    plants = [scene(*order).plant for order in (shifts, shifts[::-1])]
    for name in shifts[0].changes:
        np.testing.assert_array_equal(plants[0][name], plants[1][name])
        assert (plants[0][name] != plants[0].nominal(name)).any()


def test_each_simulation_of_a_batch_has_its_own_looks_and_cars_have_them_too(look):
    env = make_batch("CarTrack", 2, shifts=[[], [Light(factor=0.5, schedule=Always())]])
    env.reset([0, 0])
    view = look(env, "first_person", 64, 48)
    plain = view.draw().astype(float)
    view.index = 1
    np.testing.assert_allclose(view.draw().mean(), 0.5 * plain.mean(), rtol=0.03)
