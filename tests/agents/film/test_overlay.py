"""What is written says the right thing at the right moment. No picture of a scene is needed for that."""

from __future__ import annotations

import numpy as np
import pytest

from undrift.agents.evaluation.metrics import post_shift_rmse
from undrift.agents.film import Take
from undrift.agents.film.overlay import BANNER_S, SHIFT, Overlay, _summary, _ticks

from .conftest import ONSET_S, Fly, changed

SIZE = (640, 360)
ACROSS = np.eye(3)[:2]
STEPS = range(25, 200, 2)
ONSET = round(ONSET_S / 0.02)


def written(take: Take, step: int, size: tuple[int, int] = SIZE) -> np.ndarray:
    blank = np.full((size[1], size[0], 3), 60, np.uint8)
    tags = [(size[0] * (i + 1) / 3, size[1] / 2) for i in range(len(take.episodes))]
    drawn = Overlay(take, STEPS, size, 0.64).draw(blank, step, tags, ACROSS)
    assert drawn.shape == blank.shape
    assert drawn.dtype == np.uint8
    assert (blank == 60).all()
    return drawn.astype(int)


def count(picture: np.ndarray, colour: tuple[int, ...], tolerance: int = 12) -> int:
    return int((np.abs(picture - np.array(colour[:3])).max(axis=2) <= tolerance).sum())


@pytest.fixture
def pair(fly: Fly) -> Take:
    return Take((fly("wind", "frozen"), fly("wind", "integral")))


def test_the_banner_stands_at_the_shift_and_not_before_or_long_after(pair: Take) -> None:
    banner = slice(50, 105), slice(120, 520)
    before, at, later = (
        count(written(pair, step)[banner], SHIFT)
        for step in (ONSET - 2, ONSET + 25, ONSET + round(BANNER_S / 0.02) + 2)
    )
    assert before == later == 0
    assert at > 5000


def test_the_curves_are_uncovered_as_the_film_plays(pair: Take) -> None:
    overlay = Overlay(pair, STEPS, SIZE, 0.64)
    left, top, right, bottom = overlay._box(overlay._chart)
    inked = [
        [count(written(pair, step)[top:bottom, left:right], ink, 60) for step in (30, 100, 198)] for ink in overlay.inks
    ]
    for early, middle, late in inked:
        assert 0 < early < middle < late


def test_the_chart_puts_time_and_error_where_its_axes_say(pair: Take) -> None:
    overlay = Overlay(pair, STEPS, SIZE, 0.64)
    _, top, right, bottom = overlay._chart
    x, y = overlay._chart_point(pair.episodes[0], STEPS[-1])
    assert x == pytest.approx(right)
    expected = bottom - (bottom - top) * 100 * pair.episodes[0].error[STEPS[-1]] / overlay.ceiling
    assert y == pytest.approx(expected)
    assert overlay.curves.size == tuple(np.subtract(overlay._box(overlay._chart)[2:], overlay._box(overlay._chart)[:2]))


def test_the_large_figures_follow_the_error(pair: Take) -> None:
    numbers = slice(298, 342), slice(20, 230)
    assert (written(pair, 60)[numbers] != written(pair, 150)[numbers]).any()


def test_a_crash_is_written_in_place_of_the_figure(fly: Fly) -> None:
    fallen = changed(fly("wind", "frozen"), steps=120, crashed=True)
    take = Take((fallen, fly("wind", "integral")))
    numbers = slice(298, 342), slice(20, 120)
    red = (255, 26, 51)
    assert count(written(take, 110)[numbers], red) == 0
    assert count(written(take, 150)[numbers], red) > 100


def test_the_arrow_points_where_the_wind_blows_in_the_picture(pair: Take) -> None:
    overlay = Overlay(pair, STEPS, SIZE, 0.64)
    blank = np.full((SIZE[1], SIZE[0], 3), 60, np.uint8)
    wind = pair.longest.wind[150] / np.linalg.norm(pair.longest.wind[150])
    centre_x = SIZE[0] - 32
    for sign in (1, -1):
        across = np.stack([sign * wind, np.cross([0, 0, 1.0], wind)])
        drawn = overlay.draw(blank, 150, [], across)[10:50, centre_x - 20 : centre_x + 20].astype(int)
        lit = np.abs(drawn - np.array(SHIFT[:3])).max(axis=2) < 40
        head, tail = (lit[:, 22:], lit[:, :18]) if sign > 0 else (lit[:, :18], lit[:, 22:])
        assert head.sum(axis=0).max() > 1.5 * tail.sum(axis=0).max() > 0


@pytest.mark.parametrize("scenario", ["wind", "payload", "motor", "none"])
@pytest.mark.parametrize("size", [(640, 360), (426, 240)])
def test_every_scenario_is_written_at_every_step_and_size(fly: Fly, scenario: str, size: tuple[int, int]) -> None:
    take = Take((fly(scenario, "frozen"), fly(scenario, "integral")))
    for step in (STEPS[0], ONSET - 1, ONSET, ONSET + 1, STEPS[-1]):
        assert (written(take, step, size) != 60).mean() > 0.1


def test_one_episode_alone_is_written_too(fly: Fly) -> None:
    assert count(written(Take((fly("wind", "frozen"),)), ONSET + 25), SHIFT) > 3000


def test_the_summary_gives_the_figures_of_the_tables(pair: Take) -> None:
    frozen, adapting = (100 * post_shift_rmse(episode, ONSET_S) for episode in pair.episodes)
    assert _summary(pair) == (
        f"RMS error after the shift: frozen {frozen:.1f} cm, adapting {adapting:.1f} cm"
        f"  →  {frozen / adapting:.1f}× closer to the path"
    )


def test_the_summary_claims_no_gain_where_there_is_none(fly: Fly) -> None:
    worse = Take((fly("wind", "integral"), changed(fly("wind", "frozen"), adapter="observer")))
    assert "closer" not in _summary(worse)
    fallen = changed(fly("wind", "frozen"), steps=120, crashed=True)
    summary = _summary(Take((fallen, fly("wind", "integral"))))
    assert "frozen crashed" in summary
    assert "closer" not in summary


@pytest.mark.parametrize("ceiling", [4.0, 7.3, 23.0, 55.0, 100.0])
def test_ticks_are_two_to_four_round_values_below_the_ceiling(ceiling: float) -> None:
    ticks = _ticks(ceiling)
    assert ticks[0] == 0
    assert 2 <= len(ticks) <= 4
    assert ticks[-1] < ceiling


def test_wind_that_blows_from_the_start_is_shown_as_well(fly: Fly) -> None:
    steady = changed(fly("wind", "frozen"))
    steady.wind[:] = steady.wind[-1]
    calm, windy = written(Take((fly("none", "frozen"),)), 100), written(Take((steady,)), 100)
    assert count(calm[:50, 540:], SHIFT) == 0
    assert count(windy[:50, 540:], SHIFT) > 200
