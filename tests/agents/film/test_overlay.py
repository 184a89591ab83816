"""What is written says the right thing at the right moment. No picture of a scene is needed for that."""

from __future__ import annotations

import numpy as np
import pytest

from undrift.agents import Episode
from undrift.agents.evaluation.metrics import post_shift_rmse
from undrift.agents.film import Take
from undrift.agents.film import overlay as overlay_module
from undrift.agents.film.overlay import BANNER_S, GUARD_S, SHIFT, Overlay, summary

from .conftest import ONSET_S, Fly, changed

SIZE = (640, 360)
ACROSS = np.eye(3)[:2]
RED = (255, 26, 51)
STEPS = range(25, 200, 2)
ONSET = round(ONSET_S / 0.02)


def written(take: Take, step: int, size: tuple[int, int] = SIZE) -> np.ndarray:
    blank = np.full((size[1], size[0], 3), 60, np.uint8)
    tags = [(size[0] * (i + 1) / 3, size[1] / 2) for i in range(len(take.episodes))]
    drawn = Overlay(take, STEPS, size).draw(blank, step, tags, ACROSS)
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
    overlay = Overlay(pair, STEPS, SIZE)
    left, top, right, bottom = overlay.brush.box(overlay.errors.box)
    inked = [
        [count(written(pair, step)[top:bottom, left:right], ink, 60) for step in (30, 100, 198)] for ink in overlay.inks
    ]
    for early, middle, late in inked:
        assert 0 < early < middle < late


def test_the_large_figures_follow_the_error(pair: Take) -> None:
    numbers = slice(286, 312), slice(20, 190)
    assert (written(pair, 60)[numbers] != written(pair, 150)[numbers]).any()


def test_a_crash_is_written_in_place_of_the_figure(fly: Fly) -> None:
    fallen = changed(fly("wind", "frozen"), steps=120, crashed=True)
    take = Take((fallen, fly("wind", "integral")))
    numbers = slice(286, 312), slice(20, 100)
    assert count(written(take, 110)[numbers], RED) == 0
    assert count(written(take, 150)[numbers], RED) > 100


def test_the_arrow_points_where_the_wind_blows_in_the_picture(pair: Take) -> None:
    overlay = Overlay(pair, STEPS, SIZE)
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
    assert summary(pair) == (
        f"RMS error after the shift: frozen {frozen:.1f} cm, adapting {adapting:.1f} cm"
        f"  →  {frozen / adapting:.1f}× closer"
    )


def test_the_summary_claims_no_gain_where_there_is_none(fly: Fly) -> None:
    worse = Take((fly("wind", "integral"), changed(fly("wind", "frozen"), adapter="observer")))
    assert "closer" not in summary(worse)
    fallen = changed(fly("wind", "frozen"), steps=120, crashed=True)
    said = summary(Take((fallen, fly("wind", "integral"))))
    assert "frozen crashed" in said
    assert "closer" not in said


def test_wind_that_blows_from_the_start_is_shown_as_well(fly: Fly) -> None:
    steady = changed(fly("wind", "frozen"))
    steady.wind[:] = steady.wind[-1]
    calm, windy = written(Take((fly("none", "frozen"),)), 100), written(Take((steady,)), 100)
    assert count(calm[:50, 540:], SHIFT) == 0
    assert count(windy[:50, 540:], SHIFT) > 200


def test_full_commands_are_red_bars_between_their_limits(fly: Fly) -> None:
    episode = changed(fly("none", "frozen"))
    episode.action[:100], episode.action[100:] = 0.5, 1.0
    overlay = Overlay(Take((episode,)), STEPS, SIZE)
    left, right = round(overlay.effort_x * overlay.brush.scale), SIZE[0] - 18
    (half, full) = (written(Take((episode,)), step)[:, left:right] for step in (80, 120))
    heights = [
        np.ptp(np.nonzero(np.abs(p - ink).max(axis=2) < 12)[0]) for p, ink in ((half, overlay.inks[0][:3]), (full, RED))
    ]
    assert heights[1] == pytest.approx(2 * heights[0], abs=3)
    assert count(half, RED) == 0


def test_what_the_guard_does_is_counted_and_said_for_a_moment(fly: Fly) -> None:
    event = {"step": 60, "reason": "rolled back"}
    take = Take((changed(fly("none", "frozen"), guard_events=[event]),))
    dark_red = (150, 16, 32)
    pill = slice(225, 255), slice(150, 490)
    before, then, later = (written(take, step) for step in (58, 62, 62 + round(GUARD_S / 0.02)))
    assert [count(picture[pill], dark_red, 40) > 500 for picture in (before, then, later)] == [False, True, False]
    counted = slice(320, 335), slice(20, 120)
    assert count(before[counted], RED, 40) == 0 < count(later[counted], RED, 40)


def test_a_recovery_is_written_from_then_on_where_there_is_one(pair: Take, monkeypatch: pytest.MonkeyPatch) -> None:
    times = {"frozen": np.inf, "integral": 0.8}
    monkeypatch.setattr(overlay_module, "recovery_time", lambda episode, onset: times[episode.meta["adapter"]])
    orange, cyan = Overlay(pair, STEPS, SIZE).inks
    lines = slice(314, 324), slice(20, 107)
    place = slice(314, 324), slice(107, 190)
    early, late = (written(pair, round((ONSET_S + t) / 0.02)) for t in (0.7, 0.9))
    assert count(early[place], cyan, 60) == 0 < count(late[place], cyan, 60)
    assert count(late[lines], orange, 60) == 0


def test_the_disturbance_has_a_chart_where_it_is_estimated(pair: Take, learned: Episode) -> None:
    assert Overlay(pair, STEPS, SIZE).disturbance is None
    take = Take((learned,))
    overlay = Overlay(take, range(5, 100), SIZE)
    left, top, right, bottom = overlay.brush.box(overlay.disturbance.box)
    blank = np.full((SIZE[1], SIZE[0], 3), 60, np.uint8)
    early, late = (overlay.draw(blank, step, [], ACROSS)[top:bottom, left:right].astype(int) for step in (20, 95))
    assert count(late, overlay.inks[0], 60) > count(early, overlay.inks[0], 60) > 0


def test_a_distance_that_is_no_error_is_told_in_metres_and_summed_up_by_the_return(fly: Fly) -> None:
    far = changed(fly("wind", "frozen"), env_id="undrift/DroneReach-v0", env_kwargs={})
    far.error[:] = np.linspace(8.0, 2.0, far.steps)
    take = Take((far,))
    overlay = Overlay(take, STEPS, SIZE)
    assert (overlay.unit, take.error_name) == ("m", "distance to the target")
    after = far.reward[far.time > ONSET_S + 1e-9].sum()
    assert summary(take) == f"return after the shift: frozen {after:.0f}"


def test_a_shift_without_a_trace_in_the_arrays_is_named_with_its_strength(fly: Fly) -> None:
    biased = {"name": "gyro bias", "kind": "sensor_bias", "size": 0.1, "onset_s": ONSET_S}
    episode = changed(fly("none", "frozen"), shifts=[biased | {"schedule": {"name": "abrupt", "at": ONSET_S}}])
    episode.shift = (episode.time > ONSET_S)[:, None].astype(np.float32)
    take = Take((episode,))
    assert take.changes == ["Gyro bias"]
    named = slice(8, 32), slice(480, 640)
    before, after = (count(written(take, step)[named], SHIFT) for step in (ONSET - 5, ONSET + 100))
    assert before == 0 and after > 150
