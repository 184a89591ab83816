"""Films and posters from saved episodes; nothing is simulated again."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from pathlib import Path

import imageio_ffmpeg
import numpy as np
from PIL import Image

from ..episode import Episode
from .overlay import Overlay
from .replay import Replay
from .scene import FilmUnavailable, Stage
from .take import Take

BEFORE_S = 2.0
AFTER_S = 5.0
POSTER_S = 1.0


def render(
    episodes: tuple[Episode, ...],
    path: str | Path,
    *,
    size: tuple[int, int] = (960, 540),
    fps: float = 25.0,
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Film one episode, or two of the same flight in one scene, around the shift: mp4, H.264, plays in browsers.

    Args:
        episodes: one, or the frozen and the adapting one.
        path: where the film goes, ``.mp4``; a reader sees the old film or the whole new one.
        size: width and height in pixels, both even.
        fps: frames per second, about; the film runs in real time and shows every n-th control step.
        progress: called with the frames done and the frames in all.

    Returns:
        The path of the film.

    Raises:
        ValueError: the episodes are no pair (`Take`), or the path or the size is none a film can have.
        FilmUnavailable: this machine has no OpenGL context or no ffmpeg; the message says what to install.
    """
    path = _checked(path, ".mp4")
    if min(size) < 2 or size[0] % 2 or size[1] % 2:
        raise ValueError(f"film size {size} is not a pair of even numbers; use (960, 540) or (1280, 720)")
    take = Take(tuple(episodes))
    steps = take.window(BEFORE_S, AFTER_S, fps)
    partial = path.with_name(f".{path.stem}.{os.getpid()}.mp4")
    try:
        with _stage(take, size) as stage, closing(_encoder(partial, size, 1 / (take.dt * steps.step))) as film:
            for done, frame in enumerate(_frames(stage, Overlay(take, steps, size, stage.vehicle_mass), steps), 1):
                film.send(frame)
                if progress is not None:
                    progress(done, len(steps))
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
    return path


def render_pair(
    frozen: Episode,
    adapting: Episode,
    path: str | Path,
    *,
    size: tuple[int, int] = (960, 540),
    fps: float = 25.0,
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Film a frozen and an adapting controller on the same flight; see `render`."""
    return render((frozen, adapting), path, size=size, fps=fps, progress=progress)


def poster(
    frozen: Episode,
    adapting: Episode,
    path: str | Path,
    *,
    size: tuple[int, int] = (1280, 720),
    after_s: float = POSTER_S,
) -> Path:
    """Save the frame ``after_s`` s after the shift as a PNG; arguments and errors as `render`."""
    path = _checked(path, ".png")
    take = Take((frozen, adapting))
    steps = take.window(BEFORE_S, AFTER_S, 1 / take.dt)
    onset = steps[0] * take.dt + BEFORE_S if take.onset_s is None else take.onset_s
    chosen = min(round((onset + after_s) / take.dt), steps[-1])
    with _stage(take, size, samples=8) as stage:
        overlay = Overlay(take, steps, size, stage.vehicle_mass)
        frame = next(_frames(stage, overlay, range(chosen, chosen + 1)))
    partial = path.with_name(f".{path.stem}.{os.getpid()}.png")
    try:
        Image.fromarray(frame).save(partial, optimize=True)
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
    return path


def _stage(take: Take, size: tuple[int, int], samples: int = 4) -> Stage | Replay:
    return Replay(take, size) if take.of_cars else Stage(take, size, samples)


def _frames(stage: Stage | Replay, overlay: Overlay, steps: range) -> Iterator[np.ndarray]:
    for step in steps:
        picture = stage.draw(step)
        yield overlay.draw(picture, step, stage.tags(step), stage.across)


def _encoder(path: Path, size: tuple[int, int], fps: float) -> Generator[None, np.ndarray | None, None]:
    """Takes frames by ``send``: H.264 with the colour format and the layout browsers need."""
    options = ["-preset", "veryfast", "-crf", "24", "-movflags", "+faststart"]
    film = imageio_ffmpeg.write_frames(
        path, size, fps=fps, codec="libx264", quality=None, macro_block_size=2, output_params=options
    )
    try:
        film.send(None)
    except RuntimeError as error:
        raise FilmUnavailable(f"no film: {error} Install it with `apt-get install ffmpeg`") from error
    return film


def _checked(path: str | Path, suffix: str) -> Path:
    path = Path(path)
    if path.suffix.lower() != suffix:
        raise ValueError(f"{path} must end in {suffix}")
    path.parent.mkdir(parents=True, exist_ok=True)
    return path
