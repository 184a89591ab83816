"""The fields of every shift: numbers within their bounds are taken, all else is refused with what is valid."""

import json
import math
import re
from dataclasses import fields

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from undrift.envs import SHIFTS, Abrupt, make_shift
from undrift.envs.drift import Drift
from undrift.envs.shift import valid_range
from undrift.envs.shifts import shift_from_dict, shift_to_dict

from .conftest import NATIVE_SHIFTS, at_home

MAGNITUDES = {name: [f for f in fields(shift) if f.metadata] for name, shift in SHIFTS.items()}
NAMES = [
    (name, f)
    for name in NATIVE_SHIFTS
    for f in fields(SHIFTS[name])
    if not f.metadata and isinstance(f.default, str | tuple | None)
]
of_every_shift = pytest.mark.parametrize("name", [name for name, magnitudes in MAGNITUDES.items() if magnitudes])
some = settings(max_examples=4, deadline=None, derandomize=True)


def within(field):
    bounds = field.metadata["bounds"]
    least, most = max(bounds["least"], bounds["above"]), min(bounds["most"], bounds["below"])
    return st.floats(
        max(least, -1e6),
        min(most, 1e6),
        exclude_min=bounds["above"] == least > -np.inf,
        exclude_max=bounds["below"] == most < np.inf,
    )


def beyond(field):
    bounds = field.metadata["bounds"]
    wrong = [st.sampled_from([math.nan, math.inf, -math.inf, "much", True, (), (1.0, 2.0, 3.0)])]
    if bounds["least"] > -np.inf:
        wrong.append(st.floats(max_value=bounds["least"], exclude_max=True))
    if bounds["most"] < np.inf:
        wrong.append(st.floats(min_value=bounds["most"], exclude_min=True))
    if bounds["above"] > -np.inf:
        wrong.append(st.floats(max_value=bounds["above"]))
    if bounds["below"] < np.inf:
        wrong.append(st.floats(min_value=bounds["below"]))
    return st.one_of(wrong)


def make(name, field, value):
    """The shift with that value, and no spread beside it: what is spread must be within the bounds as well."""
    spread = {"spread": 0.0} if "spread" in SHIFTS[name].__dataclass_fields__ else {}
    return make_shift(name, **{**spread, field.name: value})


@of_every_shift
@some
@given(data=st.data())
def test_magnitudes_and_ranges_within_the_bounds_are_taken_survive_json_and_are_drawn_from(name, data):
    for field in MAGNITUDES[name]:
        low, high = sorted(data.draw(st.tuples(within(field), within(field))))
        for value in (low, (low, high)):
            shift = make(name, field, value)
            assert shift_from_dict(json.loads(json.dumps(shift_to_dict(shift)))) == shift
            assert low <= getattr(shift.drawn(np.random.default_rng(0)), field.name) <= high


@of_every_shift
@some
@given(data=st.data())
def test_magnitudes_beyond_the_bounds_are_refused_with_the_field_and_what_is_valid(name, data):
    for field in MAGNITUDES[name]:
        said = rf"{SHIFTS[name].__name__}\.{field.name} is .*{re.escape(valid_range(field.metadata))}"
        wrong, right = data.draw(beyond(field)), data.draw(within(field))
        for value in (wrong, (right, wrong), (wrong, right)):
            with pytest.raises(ValueError, match=said):
                make(name, field, value)


@of_every_shift
@some
@given(data=st.data())
def test_ranges_the_wrong_way_round_are_refused(name, data):
    for field in MAGNITUDES[name]:
        low, high = sorted(data.draw(st.tuples(within(field), within(field)).filter(lambda ends: ends[0] != ends[1])))
        with pytest.raises(ValueError, match=rf"{SHIFTS[name].__name__}\.{field.name} is .*with low first"):
            make(name, field, (high, low))


@of_every_shift
def test_no_magnitude_is_refused_unless_it_stands_for_one_that_is_drawn(name):
    for field in MAGNITUDES[name]:
        if field.default is None:
            make_shift(name, **{field.name: None})
        else:
            with pytest.raises(ValueError, match=rf"{SHIFTS[name].__name__}\.{field.name} is None"):
                make_shift(name, **{field.name: None})


@pytest.mark.parametrize(("name", "field"), NAMES, ids=[f"{name}.{field.name}" for name, field in NAMES])
def test_names_of_what_the_world_has_not_are_refused_with_the_valid_ones(name, field):
    unknown = ("nonesuch",) if isinstance(field.default, tuple) else "nonesuch"
    with pytest.raises(ValueError, match=rf"{SHIFTS[name].__name__}\.{field.name} is .*nonesuch.*: it must be .*,"):
        at_home(name, 1, make_shift(name, **{field.name: unknown}))


@pytest.mark.parametrize("name", NATIVE_SHIFTS)
def test_an_onset_beyond_the_horizon_is_refused_with_those_that_are_valid(name):
    world = at_home(name, 1)
    with pytest.raises(ValueError, match=r"sets in at 3 s, but an episode lasts 2 s: give an onset in \[0, 2\) s"):
        Drift(world, (make_shift(name, schedule=Abrupt(3.0)),), 1, horizon=2.0)
