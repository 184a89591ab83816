"""Films and posters decode to what was asked for, and a failure leaves nothing behind."""

from __future__ import annotations

import os
import subprocess
import sys
from ctypes.util import find_library
from pathlib import Path

import imageio_ffmpeg
import numpy as np
import pytest
from PIL import Image

from undrift.agents.film import FilmUnavailable, poster, render, strip
from undrift.agents.film.overlay import SHIFT

from .conftest import ONSET_S, Fly, changed

SIZE = (320, 180)
pytestmark = pytest.mark.usefixtures("opengl")


def decoded(path: Path) -> tuple[dict[str, object], np.ndarray]:
    reader = imageio_ffmpeg.read_frames(path)
    facts = next(reader)
    width, height = facts["size"]
    return facts, np.stack([np.frombuffer(frame, np.uint8).reshape(height, width, 3) for frame in reader]).astype(int)


def yellow(frame: np.ndarray) -> int:
    return int((np.abs(frame - np.array(SHIFT[:3])).max(axis=-1) < 40).sum())


@pytest.fixture(scope="module")
def film(fly: Fly, tmp_path_factory: pytest.TempPathFactory, opengl: None) -> Path:
    path = tmp_path_factory.mktemp("films") / "deep" / "wind.mp4"
    return render((fly("wind", "frozen"), fly("wind", "integral")), path, size=SIZE)


def test_a_film_is_h264_that_browsers_play(film: Path) -> None:
    facts, frames = decoded(film)
    assert facts["codec"] == "h264"
    assert str(facts["pix_fmt"]).startswith("yuv420p")
    assert facts["size"] == SIZE
    assert facts["fps"] == 25
    assert film.read_bytes().index(b"moov") < film.read_bytes().index(b"mdat")
    assert len(frames) == 100
    assert facts["duration"] == pytest.approx(4.0, abs=0.05)


def test_a_film_moves_and_is_never_black(film: Path) -> None:
    _, frames = decoded(film)
    assert frames.mean(axis=(1, 2, 3)).min() > 20
    assert (np.abs(np.diff(frames, axis=0)).mean(axis=(1, 2, 3)) > 0.3).all()


def test_a_film_announces_the_shift_when_it_comes(film: Path) -> None:
    _, frames = decoded(film)
    first = next(i for i, frame in enumerate(frames) if yellow(frame[22:55, 60:260]) > 400)
    assert 0 < (first * 2 + 1) * 0.02 - ONSET_S <= 0.1


def test_nothing_but_the_film_is_left_in_the_folder(film: Path) -> None:
    assert [entry.name for entry in film.parent.iterdir()] == ["wind.mp4"]


def test_progress_counts_every_frame(fly: Fly, tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    path = tmp_path / "one.mp4"
    render((fly("payload", "frozen"),), path, size=SIZE, fps=10, progress=lambda *at: seen.append(at))
    _, frames = decoded(path)
    assert seen == [(i + 1, len(frames)) for i in range(len(frames))]


def test_a_failure_half_way_leaves_the_old_film_and_no_other_file(fly: Fly, tmp_path: Path) -> None:
    path = tmp_path / "film.mp4"
    path.write_bytes(b"the old film")

    def stop(done: int, total: int) -> None:
        if done == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        render((fly("wind", "frozen"), fly("wind", "integral")), path, size=SIZE, progress=stop)
    assert path.read_bytes() == b"the old film"
    assert list(tmp_path.iterdir()) == [path]


def test_a_crashed_episode_is_filmed_to_the_end_of_the_other(fly: Fly, tmp_path: Path) -> None:
    fallen = changed(fly("wind", "frozen"), steps=110, crashed=True)
    _, frames = decoded(render((fallen, fly("wind", "integral")), tmp_path / "crash.mp4", size=SIZE, fps=10))
    assert len(frames) == 40


@pytest.mark.parametrize(("name", "size"), [("film.avi", (320, 180)), ("film.mp4", (321, 180)), ("film.mp4", (0, 0))])
def test_a_film_that_cannot_be_is_refused(fly: Fly, tmp_path: Path, name: str, size: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match=r"must end in \.mp4, \.webm, \.gif|even numbers"):
        render((fly("wind", "frozen"), fly("wind", "integral")), tmp_path / name, size=size)
    assert list(tmp_path.iterdir()) == []


def test_mismatched_episodes_are_refused_before_anything_is_written(fly: Fly, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="they differ in seed"):
        render((fly("wind", "frozen"), fly("wind", "integral", seed=1)), tmp_path / "film.mp4", size=SIZE)
    assert list(tmp_path.iterdir()) == []


def test_a_poster_shows_the_moment_after_the_shift(fly: Fly, tmp_path: Path) -> None:
    path = poster((fly("wind", "frozen"), fly("wind", "integral")), tmp_path / "poster.png", size=SIZE)
    with Image.open(path) as image:
        assert image.format == "PNG"
        assert image.size == SIZE
        assert yellow(np.asarray(image).astype(int)[22:55, 60:260]) > 400


@pytest.mark.parametrize(("suffix", "codec"), [(".webm", "vp9"), (".gif", "gif")])
def test_a_pair_of_cars_is_filmed_in_the_other_formats_frozen_on_the_left(
    drive: Fly, tmp_path: Path, suffix: str, codec: str
) -> None:
    pair = drive("patches", "frozen"), drive("patches", "integral")
    facts, frames = decoded(render(pair, tmp_path / f"cars{suffix}", size=SIZE, fps=10, before=0.4, after=0.6))
    assert str(facts["codec"]).strip(",") == codec and facts["size"] == SIZE
    assert len(frames) == 10 and facts["duration"] == pytest.approx(1.0, abs=0.15)
    assert frames.mean(axis=(1, 2, 3)).min() > 20
    assert (np.abs(np.diff(frames, axis=0)).mean(axis=(1, 2, 3)) > 0.3).all()
    left, right = frames[:, 60:110, :160], frames[:, 60:110, 160:]
    assert (left[..., 0] - left[..., 2] > 60).sum() > 500 < (right[..., 2] - right[..., 0] > 60).sum()
    assert yellow(frames[2, 22:55, 60:260]) == 0 < yellow(frames[7, 22:55, 60:260])


def test_slow_motion_lasts_longer_and_runs_at_the_same_rate(fly: Fly, tmp_path: Path) -> None:
    facts, frames = decoded(
        render((fly("wind", "frozen"),), tmp_path / "slow.mp4", size=(160, 90), before=0.3, after=1.0, slow=3.0)
    )
    assert facts["fps"] == 25
    assert len(frames) == pytest.approx(3 * 1.3 * 25, abs=3)


def test_a_strip_is_its_frames_below_each_other(fly: Fly, tmp_path: Path) -> None:
    pair = fly("wind", "frozen"), fly("wind", "integral")
    with Image.open(strip(pair, tmp_path / "strip.png", size=SIZE, at_s=(-0.3, 0.4))) as image:
        assert image.size == (SIZE[0], 2 * SIZE[1])
        before, after = np.split(np.asarray(image).astype(int), 2)
    assert yellow(before[22:55, 60:260]) == 0
    assert yellow(after[22:55, 60:260]) > 400


def test_an_unknown_camera_or_picture_is_refused_by_naming_what_there_is(fly: Fly, drive: Fly, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="chase, orbit, top, first_person, fixed, and of DroneTrack scene"):
        render((drive("none", "frozen"),), tmp_path / "film.mp4", camera="scene")
    with pytest.raises(ValueError, match=r"must end in \.png"):
        poster((fly("none", "frozen"),), tmp_path / "poster.jpg")
    with pytest.raises(ValueError, match="at least 1"):
        render((fly("none", "frozen"),), tmp_path / "film.mp4", slow=0.5)
    assert list(tmp_path.iterdir()) == []


def test_without_ffmpeg_the_error_says_how_to_install_it(
    fly: Fly, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IMAGEIO_FFMPEG_EXE", str(tmp_path / "no-ffmpeg"))
    with pytest.raises(FilmUnavailable, match="apt-get install ffmpeg"):
        render((fly("none", "frozen"),), tmp_path / "film.mp4", size=SIZE)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(find_library("OSMesa") is None, reason="no OSMesa: apt-get install libosmesa6 libopengl0")
def test_the_same_film_is_drawn_by_osmesa(drive: Fly, tmp_path: Path) -> None:
    episode = drive("none", "frozen").save(tmp_path / "episode.npz")
    code = (
        "import sys; from undrift.agents.film import poster; from undrift.agents import Episode; "
        "poster([Episode.load(sys.argv[1])], sys.argv[2], size=(320, 180))"
    )
    environment = {key: value for key, value in os.environ.items() if key != "PYOPENGL_PLATFORM"}
    command = [sys.executable, "-c", code, episode, tmp_path / "osmesa.png"]
    answer = subprocess.run(
        command, env=environment | {"MUJOCO_GL": "osmesa"}, capture_output=True, text=True, timeout=120, check=False
    )
    assert answer.returncode == 0, answer.stderr
    poster([drive("none", "frozen")], tmp_path / "here.png", size=SIZE)
    pictures = [np.asarray(Image.open(tmp_path / name)).astype(int) for name in ("osmesa.png", "here.png")]
    assert np.abs(pictures[0] - pictures[1]).mean() < 3 and pictures[0].std() > 20
