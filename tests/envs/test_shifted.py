"""Shifts on Gymnasium's own environments: what acts, when, by how much against physics of another making, and that it is gone."""

from __future__ import annotations

import gymnasium
import mujoco
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.error import ResetNeeded
from gymnasium.utils.env_checker import check_env
from stable_baselines3.common.env_util import make_vec_env

from undrift.envs import (
    Abrupt,
    ActionDelay,
    ActuatorBias,
    ActuatorLag,
    Always,
    Attribute,
    CentreOfMass,
    ClockJitter,
    ControlRate,
    DeadZone,
    Fog,
    Friction,
    Gravity,
    Inertia,
    JointDamping,
    JointFriction,
    Light,
    LinkLength,
    MissedTicks,
    MotorLoss,
    Payload,
    Push,
    Randomised,
    Saturation,
    SensorBias,
    SensorDelay,
    SensorNoise,
    Shifted,
    Stuck,
    Texture,
    Wind,
    make_batch,
)

from .pendulum import Pendulum

ALWAYS = Always()


@pytest.mark.parametrize(
    ("env_id", "shifts"),
    [
        ("Pendulum-v1", [Attribute(value=11.0), SensorNoise(std=0.1), ActionDelay(seconds=0.1), MissedTicks()]),
        ("Hopper-v5", [Payload(forward=0.1), Friction(), ClockJitter(), Saturation(), SensorBias(size=0.1)]),
        ("CartPole-v1", [Attribute(attribute="length", value=1.0), SensorDelay(), ControlRate()]),
        ("undrift/DroneHover-v0", [Payload(), Wind(), ActionDelay()]),
    ],
)
def test_the_checker_of_gymnasium_finds_nothing_to_complain_of(env_id, shifts):
    check_env(Shifted(gymnasium.make(env_id).unwrapped, *shifts), skip_render_check=True)


def test_it_is_made_again_from_its_spec():
    env = Shifted(gymnasium.make("Pendulum-v1"), Attribute(value=11.0), ActionDelay(), dt=0.1)
    again = gymnasium.make(env.spec)
    assert again.get_wrapper_attr("drift").shifts == env.drift.shifts == (Attribute(value=11.0), ActionDelay())


# Models


def heavier(spec, model):
    """Torso: half its mass more, 0.1 m forward and 0.2 m up of its centre of mass."""
    mass, centre, inertia = of_body(model, "torso")
    arm = np.array([0.1, 0.0, 0.2])
    apart = mass * 0.5 * mass / (1.5 * mass) * (arm @ arm * np.eye(3) - np.outer(arm, arm))
    set_body(spec.body("torso"), 1.5 * mass, centre + arm / 3, 1.25 * inertia + apart)


def more_inert(spec, model):
    mass, centre, inertia = of_body(model, "thigh")
    set_body(spec.body("thigh"), mass, centre, 2.0 * inertia)


def off_centre(spec, model):
    mass, centre, inertia = of_body(model, "torso")
    set_body(spec.body("torso"), mass, centre + [0.05, 0.0, 0.0], inertia)


def lighter(spec, model):
    spec.option.gravity = [0.0, 0.0, -3.7]


def slippery(spec, model):
    for geom in spec.geoms:
        geom.friction = np.array(geom.friction) * 0.2


def stiff(spec, model):
    linear, *higher = spec.joint("leg_joint").damping
    spec.joint("leg_joint").damping = [3.0 * linear + 2.0, *higher]


def rusty(spec, model):
    for joint in spec.joints:
        joint.frictionloss = 1.5


def windy(spec, model):
    spec.option.wind = [0.0, 3.0, 0.0]


MODEL_SHIFTS = [
    ("Hopper-v5", Payload(fraction=0.5, forward=0.1, up=0.2, spread=0.0, schedule=Abrupt(0.04)), heavier),
    ("Hopper-v5", Inertia(factor=2.0, body="thigh", schedule=Abrupt(0.04)), more_inert),
    ("Hopper-v5", CentreOfMass(distance=0.05, heading=0.0, schedule=Abrupt(0.04)), off_centre),
    ("Hopper-v5", Gravity(acceleration=3.7, schedule=Abrupt(0.04)), lighter),
    ("Hopper-v5", Friction(factor=0.2, spread=0.0, schedule=Abrupt(0.04)), slippery),
    ("Hopper-v5", JointDamping(joint="leg_joint", factor=3.0, added=2.0, schedule=Abrupt(0.04)), stiff),
    ("Hopper-v5", JointFriction(added=1.5, schedule=Abrupt(0.04)), rusty),
    ("Swimmer-v5", Wind(speed=3.0, heading=np.pi / 2, spread=0.0, schedule=Abrupt(0.2)), windy),
]


@pytest.mark.parametrize(("env_id", "shift", "edit"), MODEL_SHIFTS, ids=[shift.name for _, shift, _ in MODEL_SHIFTS])
def test_a_shifted_model_moves_as_one_that_was_compiled_so(env_id, shift, edit):
    env = Shifted(gymnasium.make(env_id), shift)
    base = env.unwrapped
    spec = mujoco.MjSpec.from_file(base.fullpath)
    plain = spec.compile()
    spec.compiler.inertiafromgeom = mujoco.mjtInertiaFromGeom.mjINERTIAFROMGEOM_AUTO
    edit(spec, plain)
    others = [(model, mujoco.MjData(model)) for model in (spec.compile(), plain)]
    env.reset(seed=0)
    for _ in range(round(shift.schedule.at / base.dt)):
        env.step(np.zeros(env.action_space.shape))
    for _, data in others:
        data.qpos[:], data.qvel[:], data.qacc_warmstart[:] = base.data.qpos, base.data.qvel, base.data.qacc_warmstart
    rng = np.random.default_rng(0)
    for _ in range(25):
        action = rng.uniform(-1, 1, env.action_space.shape).astype(np.float32)
        env.step(action)
        for model, data in others:
            data.ctrl[:] = action
            mujoco.mj_step(model, data, base.frame_skip)
    compiled, unshifted = (data.qpos for _, data in others)
    np.testing.assert_allclose(base.data.qpos, compiled, rtol=0, atol=1e-7)
    assert np.abs(base.data.qpos - unshifted).max() > 1e-3


def test_a_push_is_a_force_at_the_centre_of_mass():
    env = Shifted(
        gymnasium.make("Hopper-v5"), Push(acceleration=5.0, duration=0.016, heading=0.0, schedule=Abrupt(0.008))
    )
    plain = gymnasium.make("Hopper-v5")
    env.reset(seed=0), plain.reset(seed=0)
    (mass,) = plain.unwrapped.model.body("torso").mass
    for step in range(6):
        plain.unwrapped.data.body("torso").xfrc_applied[0] = 5.0 * mass if step in (1, 2) else 0.0
        np.testing.assert_allclose(env.step(np.zeros(3))[0], plain.step(np.zeros(3))[0], rtol=0, atol=1e-12)


def test_everything_is_undone_to_the_bit():
    shifts = [
        Payload(forward=0.1, schedule=ALWAYS),
        Inertia(schedule=ALWAYS),
        Gravity(schedule=ALWAYS),
        Friction(schedule=ALWAYS),
        JointDamping(schedule=ALWAYS),
        JointFriction(schedule=ALWAYS),
        LinkLength(schedule=ALWAYS),
        Push(schedule=ALWAYS),
        Attribute(attribute="width", value=7.0, schedule=ALWAYS),
    ]
    env = gymnasium.make("Hopper-v5")
    nominal = saved(env.unwrapped.model)
    shifted = Shifted(env, *shifts)
    np.testing.assert_array_equal(saved(env.unwrapped.model), nominal)
    for _ in range(2):
        first, _ = shifted.reset(seed=3)
        np.testing.assert_array_equal(first, gymnasium.make("Hopper-v5").reset(seed=3)[0])
        shifted.step(np.zeros(3))
        assert (saved(env.unwrapped.model) != nominal).any() and env.unwrapped.width == 7
    shifted.close()
    np.testing.assert_array_equal(saved(env.unwrapped.model), nominal)
    assert env.unwrapped.width == 480 and not env.unwrapped.data.xfrc_applied.any()


def test_a_simple_body_whose_centre_would_move_is_refused_with_what_to_do():
    env = Shifted(gymnasium.make("Pusher-v5"), Payload(body="object", forward=0.1, schedule=ALWAYS))
    with pytest.raises(ValueError, match="compiled as simple.*body/simple"):
        env.reset(seed=0)


def test_wind_where_there_is_no_air_and_a_body_that_is_not_there_are_refused():
    with pytest.raises(ValueError, match="whose model has no air"):
        Shifted(gymnasium.make("Hopper-v5"), Wind())
    with pytest.raises(ValueError, match="torso, thigh, leg, foot"):
        Shifted(gymnasium.make("Hopper-v5"), Payload(body="wing"))
    with pytest.raises(ValueError, match="thigh_joint, leg_joint, foot_joint"):
        Shifted(gymnasium.make("Hopper-v5"), JointDamping(joint="knee"))
    with pytest.raises(ValueError, match="'mass', which this environment has not; it has: actuator_gain"):
        Shifted(gymnasium.make("Pendulum-v1"), Payload())


def test_light_and_texture_act_on_the_pictures():
    schedule = Abrupt(0.008)
    env = Shifted(
        gymnasium.make("Hopper-v5"), Light(factor=0.5, schedule=schedule), Texture(hue=0.0, schedule=schedule)
    )
    base = env.unwrapped
    scene, camera, option = mujoco.MjvScene(base.model, 100), mujoco.MjvCamera(), mujoco.MjvOption()

    def drawn():
        mujoco.mjv_updateScene(base.model, base.data, option, None, camera, mujoco.mjtCatBit.mjCAT_ALL, scene)
        floor = scene.geoms[0]
        return np.array([scene.lights[i].diffuse for i in range(scene.nlight)]), floor.rgba.copy()

    env.reset(seed=0)
    lights, floor = drawn()
    env.step(np.zeros(3))
    np.testing.assert_array_equal(drawn()[0], lights)
    env.step(np.zeros(3))
    np.testing.assert_allclose(drawn()[0], 0.5 * lights, rtol=1e-6)
    np.testing.assert_allclose(drawn()[1], floor * [1.0, 0.5, 0.5, 1.0], rtol=1e-6)
    env.reset()
    np.testing.assert_array_equal(drawn()[0], lights)
    np.testing.assert_array_equal(drawn()[1], floor)
    with pytest.raises(ValueError, match="'fog', which this environment has not; it has: .*light, tint"):
        Shifted(gymnasium.make("Hopper-v5"), Fog())


# Actuators


def test_a_cheetah_with_a_dead_actuator_is_one_whose_action_is_0_to_the_bit():
    dead, plain = (
        Shifted(gymnasium.make("HalfCheetah-v5"), MotorLoss(fraction=1.0, motor="bfoot", schedule=Abrupt(0.5))),
        None,
    )
    plain = gymnasium.make("HalfCheetah-v5")
    dead.reset(seed=5), plain.reset(seed=5)
    rng = np.random.default_rng(0)
    for step in range(30):
        action = rng.uniform(-1, 1, 6).astype(np.float32)
        seen = dead.step(action)[0]
        if step >= 10:
            action[2] = 0.0
        np.testing.assert_array_equal(seen, plain.step(action)[0])


@pytest.mark.parametrize(
    ("shift", "expected"),
    [
        (MotorLoss(fraction=0.25, schedule=ALWAYS), [0.75, -1.2, 1.5]),
        (ActuatorBias(bias=0.1, actuator="action_0", schedule=ALWAYS), [1.2, -1.4, 2.0]),
        (Saturation(limit=0.6, schedule=ALWAYS), [1.0, -1.2, 1.2]),
        (DeadZone(threshold=0.6, schedule=ALWAYS), [0.0, -1.6, 2.0]),
        (Stuck(actuator="action_0", schedule=Abrupt(0.05)), [1.0, 1.0, 1.0]),
        (ActuatorLag(lag=0.05, schedule=ALWAYS), None),
    ],
    ids=lambda shift: getattr(shift, "name", ""),
)
def test_an_actuator_does_what_the_shift_says(shift, expected):
    env = Shifted(gymnasium.make("Pendulum-v1"), shift)
    env.reset(seed=0)
    torques = []
    for action in (1.0, -1.6, 2.0):
        env.step(np.array([action], dtype=np.float32))
        torques.append(env.unwrapped.last_u)
    if expected is None:  # x += (1 - 1/e) (u - x), as the lag is the step's 0.05 s
        share, x, expected = 1 - np.exp(-1), 0.0, []
        for action in (1.0, -1.6, 2.0):
            x += share * (action - x)
            expected.append(x)
    np.testing.assert_allclose(torques, expected, rtol=1e-6)


def test_an_action_of_one_side_rests_at_0_and_keeps_within_its_bounds():
    env = Shifted(
        Thruster(), MotorLoss(fraction=0.5, schedule=Abrupt(0.02)), ActionDelay(seconds=0.01, schedule=ALWAYS)
    )
    env.reset(seed=0)
    arrived = [env.step(np.array([0.8, 1.4]))[4]["action"] for _ in range(3)]
    np.testing.assert_allclose(arrived, [[0.0, 1.0], [0.8, 1.4], [0.4, 1.2]])
    biased = Shifted(Thruster(), ActuatorBias(bias=-1.0, actuator="all", schedule=ALWAYS))
    biased.reset(seed=0)
    np.testing.assert_array_equal(biased.step(np.array([0.8, 1.4]))[4]["action"], [0.0, 1.0])


# Timing and sensors


def test_a_delayed_action_arrives_so_many_steps_later():
    env = Shifted(gymnasium.make("Pendulum-v1"), ActionDelay(seconds=0.1, schedule=Abrupt(0.2)))
    env.reset(seed=0)
    sent = np.linspace(-1, 1, 9, dtype=np.float32)
    arrived = [env.step(sent[k : k + 1]) and env.unwrapped.last_u for k in range(9)]
    np.testing.assert_array_equal(arrived, [*sent[:4], *sent[2:7]])


def test_a_delayed_observation_is_that_of_so_many_steps_before():
    env, plain = Shifted(gymnasium.make("Pendulum-v1"), SensorDelay(seconds=0.1, schedule=ALWAYS)), None
    plain = gymnasium.make("Pendulum-v1")
    seen, true = [env.reset(seed=0)[0]], [plain.reset(seed=0)[0]]
    for _ in range(5):
        seen.append(env.step(np.ones(1))[0])
        true.append(plain.step(np.ones(1))[0])
    np.testing.assert_array_equal(seen, [true[0], true[0], *true[:4]])


def test_half_the_rate_repeats_each_action_and_sums_the_rewards():
    env, plain = Shifted(gymnasium.make("Pendulum-v1"), ControlRate(period=2.0, schedule=Abrupt(0.1))), None
    plain = gymnasium.make("Pendulum-v1")
    env.reset(seed=0), plain.reset(seed=0)
    for step in range(10):
        observation, reward, _, _, info = env.step(np.ones(1))
        repeats = 1 if step < 2 else 2
        steps = [plain.step(np.ones(1)) for _ in range(repeats)]
        np.testing.assert_array_equal(observation, steps[-1][0])
        assert reward == pytest.approx(sum(step[1] for step in steps))
        assert info["dt"] == pytest.approx(0.05 * repeats)


def test_missed_ticks_stop_where_the_episode_ends():
    env = Shifted(gymnasium.make("CartPole-v1"), MissedTicks(probability=0.5, schedule=ALWAYS))
    env.reset(seed=0)
    total, durations, terminated = 0.0, [], False
    while not terminated:
        _, reward, terminated, _, info = env.step(1)
        total += reward
        durations.append(info["dt"])
    plain, steps = gymnasium.make("CartPole-v1"), 0
    plain.reset(seed=0)
    while not plain.step(1)[2]:
        steps += 1
    assert total == steps + 1 and sum(durations) == pytest.approx(0.02 * total)
    assert max(durations) > 0.03 and len(durations) < total


def test_a_jittering_clock_varies_the_physics_steps_of_a_control_step():
    env = Shifted(gymnasium.make("Hopper-v5"), ClockJitter(share=0.5, schedule=Abrupt(0.04)))
    base = env.unwrapped
    env.reset(seed=0)
    frames = []
    for _ in range(25):
        before = base.data.time
        info = env.step(np.zeros(3))[4]
        frames.append(round((base.data.time - before) / base.model.opt.timestep))
        assert info["dt"] == pytest.approx(base.data.time - before) and base.frame_skip == 4
    assert frames[:5] == [4] * 5 and set(frames[5:]) <= {2, 3, 4, 5, 6} and len(set(frames)) >= 4


@pytest.mark.parametrize("shift", [ClockJitter(), ControlRate(period=0.5)])
def test_parts_of_a_step_are_refused_where_there_are_no_physics_steps(shift):
    with pytest.raises(ValueError, match="no physics steps to count.*repeat whole steps"):
        Shifted(gymnasium.make("Pendulum-v1"), shift)


def test_what_is_measured_stays_within_the_space():
    env = Shifted(
        gymnasium.make("Pendulum-v1"),
        SensorBias(size=0.5, distribution="fixed", channels=("observation_0",), schedule=ALWAYS),
    )
    plain = gymnasium.make("Pendulum-v1")
    env.reset(seed=0), plain.reset(seed=0)
    for _ in range(30):
        seen, true = env.step(np.ones(1))[0], plain.step(np.ones(1))[0]
        assert seen in env.observation_space
        np.testing.assert_array_equal(seen[1:], true[1:])
        assert seen[0] == pytest.approx(min(true[0] + 0.5, 1.0))


def test_spaces_that_are_no_boxes_refuse_what_needs_them_and_take_the_rest():
    with pytest.raises(
        ValueError, match=r"'action_delay' is of actions in a bounded Box; those here are Discrete\(2\)"
    ):
        Shifted(gymnasium.make("CartPole-v1"), ActionDelay())
    with pytest.raises(ValueError, match=r"'motor_loss' is of actions in a bounded Box"):
        Shifted(gymnasium.make("CartPole-v1"), MotorLoss())
    with pytest.raises(ValueError, match=r"'sensor_noise' is of observations in a Box; those here are Dict"):
        Shifted(Pendulum(), SensorNoise(std=0.1))
    env, plain = Shifted(Pendulum(), Gravity(acceleration=2.0, schedule=Abrupt(0.1))), Pendulum()
    env.reset(seed=0), plain.reset(seed=0)
    same = [env.step(np.zeros(1))[0]["angle"] == plain.step(np.zeros(1))[0]["angle"] for _ in range(20)]
    assert all(same[:10]) and not any(same[10:])


# Episodes


def test_a_seed_is_an_episode_and_shifts_share_all_that_comes_before_them():
    def seen(*shifts):
        env = Shifted(gymnasium.make("Hopper-v5"), *shifts)
        rng, found = np.random.default_rng(0), []
        for seed in (7, None):
            found.append(env.reset(seed=seed)[0])
            found += [env.step(rng.uniform(-1, 1, 3).astype(np.float32))[0] for _ in range(10)]
        return np.array(found)

    payload = Payload(schedule=Abrupt(0.04))
    heavy, again, noisy, plain = seen(payload), seen(payload), seen(SensorNoise(std=0.1, schedule=Abrupt(0.04))), seen()
    np.testing.assert_array_equal(heavy, again)
    for first in (0, 11):
        for other in (noisy, heavy):
            np.testing.assert_array_equal(other[first : first + 5], plain[first : first + 5])
            assert (other[first + 6 : first + 11] != plain[first + 6 : first + 11]).any(1).all()


def test_an_onset_beyond_the_time_limit_is_refused_and_without_a_limit_none_is():
    with pytest.raises(ValueError, match="an episode lasts 10 s"):
        Shifted(gymnasium.make("Pendulum-v1"), Attribute(value=11.0, schedule=Abrupt(10.0)))
    assert Shifted(Pendulum(), Gravity(schedule=Abrupt(1e6))).drift.shifts


def test_a_period_is_taken_from_the_argument_where_the_environment_has_none():
    class Timeless(Thruster):
        dt = None

    with pytest.raises(ValueError, match="give the duration of a step in s"):
        Shifted(Timeless(), MotorLoss())
    with pytest.raises(ValueError, match="dt is 0: give the duration"):
        Shifted(Timeless(), MotorLoss(), dt=0)
    env = Shifted(Timeless(), MotorLoss(schedule=Abrupt(0.5)), dt=0.25)
    env.reset(seed=0)
    assert [env.step(np.array([0.5, 1.5]))[4]["shift"].item() for _ in range(4)] == [0, 0, 1, 1]


def test_a_step_before_a_reset_and_a_second_wrapper_are_refused():
    env = gymnasium.make("Pendulum-v1").unwrapped
    env.reset(seed=0)
    shifted = Shifted(env, Attribute())
    with pytest.raises(ResetNeeded, match="call reset"):
        shifted.step(np.zeros(1))
    with pytest.raises(ValueError, match="is shifted already"):
        Shifted(shifted, ActionDelay())
    with pytest.raises(ValueError, match="is shifted already"):
        Shifted(gymnasium.make("undrift/DroneTrack-v0", shifts=(Wind(),)), Payload())


def test_an_environment_of_undrift_flies_as_its_batch_does():
    shifts = (
        Payload(schedule=Abrupt(0.1)),
        SensorNoise(factor=3.0, schedule=ALWAYS),
        MissedTicks(schedule=Abrupt(0.2)),
    )
    env = Shifted(gymnasium.make("undrift/DroneTrack-v0"), *shifts)
    batch = make_batch("DroneTrack", 1, shifts=shifts)
    np.testing.assert_array_equal(env.reset(seed=4)[0], batch.reset([4])[0])
    for _ in range(20):
        seen, reward, _, _, info = env.step(np.full(4, 0.1))
        expected = batch.step(np.full((1, 4), 0.1))
        np.testing.assert_array_equal(seen, expected[0][0])
        np.testing.assert_array_equal(info["shift"], expected[4]["shift"][0])
        assert reward == expected[1][0]
    env.close()
    batch_env = env.unwrapped.batch_env
    np.testing.assert_array_equal(batch_env.plant["mass"], batch_env.plant.nominal("mass"))
    assert batch_env.drift.shifts == ()


# Domain randomisation


def test_every_episode_draws_from_the_ranges_in_each_environment_of_sb3():
    ranges = {"attribute": {"attribute": "g", "value": (8.0, 12.0)}, "action_delay": {"seconds": 0.05}}
    envs = make_vec_env("Pendulum-v1", 3, seed=0, wrapper_class=Randomised, wrapper_kwargs={"ranges": ranges})
    drawn = []
    for _ in range(4):
        envs.reset()
        drawn += envs.get_attr("g")
    assert len(set(drawn)) == 12 and all(8.0 < g < 12.0 for g in drawn)
    assert (envs.step(np.zeros((3, 1)))[3][0]["shift"] == 1).all()
    (recorded, *_) = envs.get_attr("ranges")
    assert recorded[0]["value"] == (8.0, 12.0) and recorded[1]["schedule"] == {"name": "always"}


def test_the_record_of_ranges_makes_the_same_environment():
    shifts = [Payload(fraction=(0.1, 0.5), schedule=Abrupt(0.1)), SensorNoise(std=(0.0, 0.2))]
    env = Randomised(gymnasium.make("Hopper-v5"), shifts)
    assert env.drift.shifts == tuple(shifts)
    assert Randomised(gymnasium.make("Hopper-v5"), env.ranges).drift.shifts == tuple(shifts)
    assert gymnasium.make(env.spec).get_wrapper_attr("drift").shifts == tuple(shifts)


def test_unknown_ranges_are_refused():
    with pytest.raises(ValueError, match="unknown shift 'weight'"):
        Randomised(gymnasium.make("Hopper-v5"), {"weight": {"fraction": (0.0, 1.0)}})
    with pytest.raises(ValueError, match="has no field 'share'"):
        Randomised(gymnasium.make("Hopper-v5"), {"payload": {"share": (0.0, 1.0)}})


class Thruster(gymnasium.Env):
    """Tells in `info` which action arrived, of two that have one side only."""

    action_space = spaces.Box(np.array([0.0, 1.0]), np.array([1.0, 3.0]), dtype=np.float64)
    observation_space = spaces.Box(-1.0, 1.0, (1,))
    dt = 0.01

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return np.zeros(1, np.float32), {}

    def step(self, action):
        return np.zeros(1, np.float32), 0.0, False, False, {"action": action}


def of_body(model, name):
    """Mass, centre of mass and inertia tensor in the body's axes."""
    body = model.body(name)
    turn = np.zeros(9)
    mujoco.mju_quat2Mat(turn, body.iquat)
    turn = turn.reshape(3, 3)
    return body.mass[0], body.ipos.copy(), turn @ np.diag(body.inertia) @ turn.T


def set_body(body, mass, centre, inertia):
    body.explicitinertial = True
    body.mass, body.ipos, body.iquat = mass, centre, [1.0, 0.0, 0.0, 0.0]
    body.fullinertia = inertia[[0, 1, 2, 0, 0, 1], [0, 1, 2, 1, 2, 2]]


def saved(model):
    """All of a model, as bytes."""
    buffer = np.empty(mujoco.mj_sizeModel(model), np.uint8)
    mujoco.mj_saveModel(model, None, buffer)
    return buffer
