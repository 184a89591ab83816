"""Arguments that may be given by their fields."""

from dataclasses import dataclass

import pytest

from undrift.envs.written import from_fields


@dataclass(frozen=True)
class Period:
    mean: float
    spread: float = 0.0


def test_fields_become_the_object_and_anything_else_stays():
    assert from_fields(Period, {"mean": 0.02}, "a period") == Period(0.02)
    given = Period(0.01, 0.1)
    assert from_fields(Period, given, "a period") is given
    assert from_fields(Period, None, "a period") is None


def test_an_unknown_field_is_named_beside_those_that_there_are():
    with pytest.raises(ValueError, match="a period has no 'jitter'; it has: mean, spread"):
        from_fields(Period, {"mean": 0.02, "jitter": 0.1}, "a period")
