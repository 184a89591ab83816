"""Which channels a sensing shift concerns."""

import numpy as np
import pytest

from undrift.envs import Always, SensorBias, make_batch

from .flights import error, observations


@pytest.mark.parametrize(
    ("channels", "changed"),
    [
        ((), range(18)),
        (("position", "body_rate"), (0, 1, 2, 15, 16, 17)),
        (("velocity_z",), (5,)),
        (("rotation",), range(6, 15)),
    ],
)
def test_channels_are_chosen_by_name_or_by_stem(channels, changed):
    bias = SensorBias(size=0.5, distribution="fixed", channels=channels, schedule=Always())
    np.testing.assert_allclose(
        error(1, 1, bias)[:, 0], np.tile(0.5 * np.isin(np.arange(18), changed), (2, 1)), atol=1e-6
    )


def test_a_car_is_measured_by_its_own_channels():
    bias = SensorBias(size=0.3, distribution="fixed", channels=("yaw_rate", "lateral_velocity"), schedule=Always())
    env = make_batch("CarTrack")
    shifted, plain = (observations("CarTrack", 1, 2, shifts) for shifts in ((bias,), ()))
    changed = np.isin(env.observation_names, ["yaw_rate", "lateral_velocity"])
    np.testing.assert_allclose(shifted - plain, np.tile(0.3 * changed, (3, 1, 1)), atol=1e-6)


@pytest.mark.parametrize("name", ["body_rate_w", "body", "yaw_rate", ""])
def test_channels_that_are_not_measured_are_refused_with_the_list_of_those_that_are(name):
    with pytest.raises(
        ValueError, match=r"SensorBias.channels is .*: it must be .* position_x, .* body_rate_z, or stems"
    ):
        make_batch("DroneTrack", shifts=(SensorBias(channels=(name,)),))


def test_a_bare_name_is_refused():
    with pytest.raises(ValueError, match=r"SensorBias.channels is \'position\': it must be a tuple of names"):
        SensorBias(channels="position")
