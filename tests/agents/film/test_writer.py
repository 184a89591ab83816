"""Films and posters decode to what was asked for, and a failure leaves nothing behind."""

from __future__ import annotations

from pathlib import Path

import imageio_ffmpeg
import numpy as np
import pytest
from PIL import Image

from undrift.agents.film import poster, render, render_pair
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
    return render_pair(fly("wind", "frozen"), fly("wind", "integral"), path, size=SIZE)


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
    path = render((fly("payload", "frozen"),), tmp_path / "one.mp4", size=SIZE, progress=lambda *at: seen.append(at))
    _, frames = decoded(path)
    assert seen == [(i + 1, len(frames)) for i in range(len(frames))]


def test_a_failure_half_way_leaves_the_old_film_and_no_other_file(fly: Fly, tmp_path: Path) -> None:
    path = tmp_path / "film.mp4"
    path.write_bytes(b"the old film")

    def stop(done: int, total: int) -> None:
        if done == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        render_pair(fly("wind", "frozen"), fly("wind", "integral"), path, size=SIZE, progress=stop)
    assert path.read_bytes() == b"the old film"
    assert list(tmp_path.iterdir()) == [path]


def test_a_crashed_episode_is_filmed_to_the_end_of_the_other(fly: Fly, tmp_path: Path) -> None:
    fallen = changed(fly("wind", "frozen"), steps=110, crashed=True)
    _, frames = decoded(render_pair(fallen, fly("wind", "integral"), tmp_path / "crash.mp4", size=SIZE))
    assert len(frames) == 100


@pytest.mark.parametrize(("name", "size"), [("film.avi", (320, 180)), ("film.mp4", (321, 180)), ("film.mp4", (0, 0))])
def test_a_film_that_cannot_be_is_refused(fly: Fly, tmp_path: Path, name: str, size: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match=r"must end in \.mp4|even numbers"):
        render_pair(fly("wind", "frozen"), fly("wind", "integral"), tmp_path / name, size=size)
    assert list(tmp_path.iterdir()) == []


def test_mismatched_episodes_are_refused_before_anything_is_written(fly: Fly, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="they differ in seed"):
        render_pair(fly("wind", "frozen"), fly("wind", "integral", seed=1), tmp_path / "film.mp4", size=SIZE)
    assert list(tmp_path.iterdir()) == []


def test_a_poster_shows_the_moment_after_the_shift(fly: Fly, tmp_path: Path) -> None:
    path = poster(fly("wind", "frozen"), fly("wind", "integral"), tmp_path / "poster.png", size=SIZE)
    with Image.open(path) as image:
        assert image.format == "PNG"
        assert image.size == SIZE
        assert yellow(np.asarray(image).astype(int)[22:55, 60:260]) > 400
