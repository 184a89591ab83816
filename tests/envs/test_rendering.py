"""Pictures of the environments: what they show is where it is, and showing it changes nothing."""

from __future__ import annotations

import gymnasium
import numpy as np
import pytest

from undrift.envs import (
    ENVIRONMENTS,
    Abrupt,
    Always,
    BatchEnv,
    FrictionPatches,
    MotorLoss,
    Payload,
    Wind,
    make_batch,
)
from undrift.envs.drawing import DrawingUnavailable
from undrift.envs.rendering import SKY, View

from .conftest import near, white


def start(task: str, **kwargs) -> BatchEnv:
    env = make_batch(task, 1, **kwargs)
    env.reset([3])
    return env


def turn(env: BatchEnv, *quaternion: float) -> None:
    env.qpos[0, 3:7] = np.array(quaternion) / np.linalg.norm(quaternion)


def green(pixels: np.ndarray) -> np.ndarray:
    others = pixels[..., [0, 2]].max(axis=-1).astype(int)
    return (pixels[..., 1] > 120) & (pixels[..., 1] > others + 60)


def cyan(pixels: np.ndarray) -> np.ndarray:
    return (pixels[..., 1:].min(axis=-1) > 160) & (pixels[..., 1] > pixels[..., 0].astype(int) + 55)


def sky(picture: np.ndarray) -> np.ndarray:
    return np.abs(picture - 255 * np.array(SKY)).max(axis=-1) < 12


@pytest.mark.parametrize("env_id", ENVIRONMENTS)
@pytest.mark.parametrize(
    ("camera", "shape"), [("chase", (480, 640, 3)), ("first_person", (64, 64, 3)), ("top", (480, 640, 3))]
)
def test_every_environment_gives_pictures_of_the_promised_shape(env_id, camera, shape):
    env = gymnasium.make(env_id, render_mode="rgb_array", camera_name=camera)
    env.reset(seed=0)
    try:
        picture = env.render()
    except DrawingUnavailable as error:
        pytest.skip(str(error))
    finally:
        env.close()
    assert picture.shape == shape and picture.dtype == np.uint8 and picture.flags.c_contiguous
    assert picture.std() > 10 and picture.mean() > 50


def test_pictures_come_in_the_size_asked_for(look):
    assert look(start("DroneHover"), "chase", 200, 100).draw().shape == (100, 200, 3)


@pytest.mark.parametrize(
    ("wish", "said"),
    [
        ({"camera_name": "behind"}, "chase, orbit, top, first_person, fixed"),
        ({"width": 0}, "0 x 480"),
        ({"render_mode": "human"}, "rgb_array"),
    ],
)
def test_pictures_that_cannot_be_are_refused_at_once(wish, said):
    with pytest.raises(ValueError, match=said):
        gymnasium.make("undrift/DroneHover-v0", disable_env_checker=True, **wish)


def test_the_reference_is_a_line_ahead_of_the_drone(look):
    env = start("DroneTrack", trajectory="figure_eight")
    points, _ = env.trajectory.reference(np.zeros(1, int), env.time, np.array([0.2]))
    env.place(0, points[0, 0])
    view = look(env)
    picture = view.draw()
    assert white(near(view, picture, points[0, 1])).any()
    assert not white(near(view, picture, points[0, 1] + [0.0, 0.3, 0.0])).any()


def test_the_next_gate_is_lit_and_the_one_after_it_is_not(look):
    env = start("DroneGates", displacement=0.0)
    gates = env.batch.bind("mocap_pos")[0]
    env.place(0, 2.0 * gates.mean(axis=0) - gates[env.next_gate[0]] + [0.0, 0.0, 2.5])  # across the ring, and higher
    view = look(env)
    picture = view.draw()
    bars = gates - [0.0, 0.0, env.opening / 2 + 0.04]
    lit = [green(near(view, picture, bars[(env.next_gate[0] + k) % env.gates], 1)).any() for k in (0, 1)]
    assert lit == [True, False]


def test_the_target_is_shown_where_it_is(look):
    env = start("DroneReach", pillars=0)
    env.target[0] = env.qpos[0, :3] + [3.0, 0.5, 0.0]
    view = look(env)
    picture = view.draw()
    shown, bare = (near(view, picture, place).mean(axis=0) for place in (env.target[0], env.target[0] + [0, 1.0, 0]))
    assert shown[1] - shown[2] > bare[1] - bare[2] + 25


def test_a_ghost_marks_where_the_drone_should_be_until_it_is_there(look):
    env = start("DroneHover")
    setpoint = env.step(np.zeros((1, 4)))[4]["reference_position"][0]
    view = look(env)
    env.place(0, setpoint - [0.0, 0.9, 0.0])
    away = view.draw()
    env.place(0, setpoint)
    there = view.draw()
    assert green(away).sum() > 300
    assert green(there).sum() == 0


def test_wind_arrows_grow_with_the_wind_and_calm_air_has_none(look):
    def arrows(speed: float) -> int:
        shifts = (Wind(speed=speed, heading=1.5, spread=0.0, schedule=Always()),) if speed else ()
        return int(cyan(look(start("DroneHover", shifts=shifts)).draw()).sum())

    calm, breeze, storm = (arrows(speed) for speed in (0.0, 4.0, 12.0))
    assert calm == 0
    assert 200 < breeze < storm / 1.5


def test_a_weak_motor_turns_red_and_a_payload_hangs_below(look):
    env = start("DroneHover", shifts=(Payload(spread=0.0, schedule=Always()), MotorLoss(motor=1, schedule=Always())))
    env.place(0, np.array([0.0, 0.0, 3.0]))
    view = look(env)
    picture = view.draw().astype(int)
    rotor = env.model.site("rotor_1").pos + env.qpos[0, :3]
    red, *others = near(view, picture, rotor).mean(axis=0)
    assert red > 130 and red > max(others) + 50
    parcel = near(view, picture, env.qpos[0, :3] - [0, 0, 0.1]).mean(axis=0)
    assert parcel[0] > parcel[1] > parcel[2]


def test_the_way_flown_is_drawn_and_forgotten_with_the_episode(look):
    env = start("DroneHover")
    view = look(env)
    first = view.draw()
    way = []
    for _ in range(30):
        way.append(env.qpos[0, :3].copy())
        env.step(np.full((1, 4), 0.1))
        view.draw()
    orange = near(view, view.draw(), way[20], 3)
    assert ((orange[:, 0] > orange[:, 2] + 60) & (orange[:, 0] > 120)).any()
    env.reset([3])
    np.testing.assert_array_equal(view.draw(), first)


def seen_from(view: View) -> tuple[np.ndarray, np.ndarray]:
    """Where the camera of the last picture is, and where it looks."""
    camera = view._canvas.scene.camera[0]
    return np.array(camera.pos), np.array(camera.forward)


@pytest.mark.parametrize("yaw", [0.0, 2.0, -2.5])
def test_the_chase_camera_is_behind_the_drone_and_above_it(look, yaw):
    env = start("DroneHover")
    turn(env, np.cos(yaw / 2), 0, 0, np.sin(yaw / 2))
    view = look(env)
    view.draw()
    eye, forward = seen_from(view)
    heading = np.array([np.cos(yaw), np.sin(yaw), 0.0])
    assert forward @ heading > 0.8
    assert (env.qpos[0, :3] - eye) @ heading > 1.0 and eye[2] > env.qpos[0, 2]


def test_the_orbiting_camera_goes_round_the_vehicle_in_15_s(look):
    env = start("DroneHover")
    view = look(env, "orbit", 64, 48)
    away = []
    for time in (0.0, 3.75, 7.5, 15.0):
        env.time[0] = time
        view.draw()
        eye, forward = seen_from(view)
        away.append((eye - env.qpos[0, :3])[:2])
        assert forward @ (env.qpos[0, :3] - eye) == pytest.approx(np.linalg.norm(env.qpos[0, :3] - eye), rel=1e-3)
    quarter, half, whole = (other @ away[0] / (away[0] @ away[0]) for other in away[1:])
    assert (quarter, half, whole) == pytest.approx((0.0, -1.0, 1.0), abs=0.02)


def test_the_fixed_camera_stands_and_turns_until_the_vehicle_has_gone_far(look):
    env = start("DroneHover")
    view = look(env, "fixed", 64, 48)
    view.draw()
    stood, _ = seen_from(view)
    eyes = []
    for step in ([0.5, 0.5, 0.0], [40.0, 0.0, 0.0]):
        env.qpos[0, :3] += step
        env.time[0] += 0.1
        view.draw()
        eye, forward = seen_from(view)
        eyes.append(eye)
        towards = env.qpos[0, :3] - eye
        assert forward @ towards == pytest.approx(np.linalg.norm(towards), rel=1e-3)
    np.testing.assert_allclose(eyes[0], stood, atol=0.02)  # the eye is 1 cm off that of two eyes
    assert np.linalg.norm(eyes[1] - stood) > 20


@pytest.mark.parametrize("camera", ["chase", "top"])
def test_across_points_right_and_away_in_the_picture(look, camera):
    env = start("DroneHover")
    env.place(0, np.array([0.0, 0.0, 3.0]))
    view = look(env, camera, 200, 160)
    view.draw()
    x, y = view.pixel(env.qpos[0, :3])
    right, away = (view.pixel(env.qpos[0, :3] + 0.2 * direction) for direction in view.across)
    assert right[0] > x + 3 and abs(right[1] - y) < 2
    assert away[1] < y - 1 and abs(away[0] - x) < 2


@pytest.mark.parametrize("env_id", ENVIRONMENTS)
def test_a_recalled_moment_looks_and_records_as_it_did(env_id, look):
    drives = "Car" in env_id
    shift = FrictionPatches(schedule=Abrupt(0.1)) if drives else MotorLoss(fraction=0.2, schedule=Abrupt(0.1))
    live, again = (start(env_id, shifts=(shift, Payload(schedule=Abrupt(0.1)))) for _ in range(2))
    for _ in range(12):
        live.step(np.full((1, len(live.action_names)), 0.05))
    moment = {name: rows[0] for name, rows in live.record().items()} | {"qvel": live.qvel[0].copy()}
    again.recall(11 * live.dt, float(live.time[0]), moment)
    recalled = again.record()
    for name, rows in live.record().items():
        np.testing.assert_allclose(recalled[name], rows, atol=1e-12, err_msg=name)
    pictures = [look(env, "chase", 120, 90).draw().astype(int) for env in (live, again)]
    assert np.abs(pictures[0] - pictures[1]).max() <= 2 and pictures[0].std() > 10


def test_slippery_patches_are_seen_on_the_road(look):
    def bluish(*shifts) -> int:
        picture = look(start("CarTrack", shifts=shifts), "top", 160, 120).draw().astype(int)
        return int((picture[..., 2] > picture[..., 0] + 25).sum())

    patches = FrictionPatches(factor=0.4, share=0.5, spread=0.0, schedule=Always())
    assert bluish(patches) > bluish() + 500


def test_the_chase_camera_sees_the_next_gate_wherever_the_drone_heads(look):
    env = start("DroneGates")
    towards = env.batch.bind("mocap_pos")[0, env.next_gate[0]] - env.qpos[0, :3]
    for away in (0, 1):
        turn(env, 1 - away, 0, 0, away)
        view = look(env)
        view.draw()
        assert seen_from(view)[1] @ towards > 0.8 * np.linalg.norm(towards)


def test_the_first_person_camera_sees_sky_above_and_floor_below(look):
    env = start("DroneHover")
    turn(env, 1, 0, 0, 0)
    view = look(env, "first_person")
    upright = view.draw()
    assert sky(upright[:20]).all() and not sky(upright[45:]).any()
    turn(env, 0, 1, 0, 0)
    inverted = view.draw()
    assert sky(inverted[45:]).all() and not sky(inverted[:20]).any()


def test_the_first_person_camera_sees_the_gate_until_the_drone_turns_away(look):
    env = start("DroneGates")
    gate = env.batch.bind("mocap_pos")[0, env.next_gate[0]]
    orange = []
    view = look(env, "first_person")
    for yaw in np.arctan2(*(gate - env.qpos[0, :3])[1::-1]) + np.array([0.0, np.pi]):
        turn(env, np.cos(yaw / 2), 0, 0, np.sin(yaw / 2))
        picture = view.draw().astype(int)[24:56, 16:48]
        orange.append((picture[..., 0] > picture[..., 2] + 60).sum())
    assert orange[0] > 30 > orange[1]


def test_the_first_person_camera_sees_no_arrows_and_no_vehicle(look):
    calm, windy = (start("DroneHover", shifts=shifts) for shifts in ((), (Wind(schedule=Always()),)))
    pictures = [look(env, "first_person").draw() for env in (calm, windy)]
    np.testing.assert_array_equal(*pictures)


def test_the_floor_goes_on_however_far_the_drone_flies(look):
    env = start("DroneHover")
    view = look(env, "first_person")
    env.place(0, np.array([0.25, 0.25, 3.0]))
    here = view.draw()
    env.place(0, np.array([300.25, -199.75, 3.0]))
    np.testing.assert_allclose(view.draw().astype(int), here, atol=8)


def test_drawing_changes_nothing_in_the_simulation(look):
    shifts = (Wind(schedule=Always()),)
    watched, alone = (start("DroneGates", shifts=shifts) for _ in range(2))
    view = look(watched)
    for _ in range(10):
        view.draw()
        seen, unseen = watched.step(np.zeros((1, 4))), alone.step(np.zeros((1, 4)))
        np.testing.assert_array_equal(seen[0], unseen[0])


def test_each_simulation_of_a_batch_has_its_own_pictures(look):
    batch, single = make_batch("DroneReach", 3), start("DroneReach")
    batch.reset([1, 2, 3])
    np.testing.assert_array_equal(look(batch, index=2).draw(), look(single).draw())


def test_closing_frees_the_renderer_and_a_later_picture_is_the_same():
    env = gymnasium.make("undrift/DroneHover-v0", render_mode="rgb_array").unwrapped
    env.reset(seed=0)
    try:
        first = env.render()
    except DrawingUnavailable as error:
        pytest.skip(str(error))
    context = env._view._canvas._gl
    env.close()
    assert context._context is None and env._view is None
    np.testing.assert_array_equal(env.render(), first)
    env.close()
