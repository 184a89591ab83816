"""Curves lie where their axes say, and come to light from the left."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from undrift.agents.film.brush import INK, Brush
from undrift.agents.film.chart import Chart, Curve, ticks

BOX = (100.0, 100.0, 500.0, 300.0)


def chart(dotted: bool = False) -> Chart:
    time = np.linspace(0.0, 10.0, 201)
    return Chart(Brush((1280, 720)), BOX, (0.0, 10.0), (-2.0, 2.0), [Curve(time, time / 5 - 1, INK, dotted)])


@pytest.mark.parametrize("dotted", [False, True])
@pytest.mark.parametrize("time", [2.0, 5.0, 9.0])
def test_a_curve_is_drawn_up_to_now_and_where_its_values_are(time: float, dotted: bool) -> None:
    image = Image.new("RGB", (1280, 720))
    chart(dotted).reveal(image, time)
    rows, columns = np.nonzero(np.asarray(image)[..., 0] > 120)
    assert columns.max() == pytest.approx(100 + 40 * time, abs=8)
    np.testing.assert_allclose(rows, 250 - (columns - 100) / 4, atol=5)


def test_values_beyond_the_limits_lie_on_the_edge() -> None:
    assert (chart().y(-9.0), chart().y(0.0), chart().y(9.0)) == (300.0, 200.0, 100.0)


@pytest.mark.parametrize(
    ("low", "high"), [(0, 4.0), (0, 7.3), (0, 55.0), (0, 100.0), (-0.6, 0.3), (-7.0, 1.0), (0, 0.4)]
)
def test_ticks_are_two_to_five_round_values_within_the_limits(low: float, high: float) -> None:
    values = ticks(low, high)
    assert 2 <= len(values) <= 5
    assert low <= values[0] and values[-1] < high
    assert 0.0 in values or low > 0
