"""Films, posters and film strips from saved episodes; nothing is simulated again."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from ...envs.rendering import CAMERAS
from ..episode import Episode
from ..files import write_atomically
from .encode import checked_film, encoder
from .overlay import Overlay
from .scene import Stage
from .split import SplitScreen
from .take import TRACK, Take

if TYPE_CHECKING:
    from ...policies import DeployedPolicy

SIZES = {"480p": (854, 480), "540p": (960, 540), "720p": (1280, 720)}
SCENE = "scene"
"""The camera of `Stage`, which shows both drones of DroneTrack in one scene; all others split the screen."""
BEFORE_S = 2.0
AFTER_S = 5.0
POSTER_S = 1.0
RUN_UP_S = 1.2  # drawn ahead of a still picture, so that it has trails and tyre marks

Progress = Callable[[int, int], None]


def render(
    episodes: Sequence[Episode],
    path: str | Path,
    *,
    camera: str | None = None,
    size: tuple[int, int] = SIZES["540p"],
    fps: float = 25.0,
    before: float = BEFORE_S,
    after: float = AFTER_S,
    slow: float = 1.0,
    policy: DeployedPolicy | None = None,
    progress: Progress | None = None,
) -> Path:
    """Film one episode, or two of the same task side by side, around the shift. Frames stream: no film is held in memory.

    Args:
        episodes: one, or the frozen and the adapting one.
        path: where the film goes: ``.mp4`` (H.264), ``.webm`` (VP9) or ``.gif``; a reader sees the old film or the whole
            new one.
        camera: one of `envs.rendering.CAMERAS`, which splits the screen, or "scene": both drones of DroneTrack in one scene.
            None is "scene" where there is one, else "chase".
        size: width and height in pixels, both even; see SIZES.
        fps: frames per second, about; the film runs in real time and shows every n-th control step.
        before: s of the film ahead of the shift.
        after: s of the film behind it.
        slow: how many times slower it runs around the shift.
        policy: what flew; the inside of its network is shown in a corner, that of the last episode.
        progress: called with the frames done and the frames in all.

    Returns:
        The path of the film.

    Raises:
        ValueError: the episodes are no pair (`Take`), the path, the size or the camera is none a film can have, or another
            policy flew.
        FilmUnavailable: this machine has no OpenGL context or no ffmpeg; the message says what to install.
    """
    path = Path(path)
    take = Take(tuple(episodes))
    checked_film(path, size)
    if not slow >= 1:
        raise ValueError(f"slow is {slow}: give how many times slower the film is to run around the shift, at least 1")
    steps = take.frames(before, after, fps, slow)
    stride = take.window(before, after, fps).step
    with _stage(take, size, camera) as stage:
        frames = _frames(stage, take, steps, size, slow, policy)
        with encoder(path, size, 1 / (take.dt * stride)) as film:
            for done, frame in enumerate(frames, 1):
                film(frame)
                if progress is not None:
                    progress(done, len(steps))
    return path


def render_pair(frozen: Episode, adapting: Episode, path: str | Path, *, progress: Progress | None = None) -> Path:
    """Film a frozen and an adapting controller on the same flight as `render` does by default."""
    return render((frozen, adapting), path, progress=progress)


def poster(
    episodes: Sequence[Episode],
    path: str | Path,
    *,
    camera: str | None = None,
    size: tuple[int, int] = SIZES["720p"],
    after_s: float = POSTER_S,
    policy: DeployedPolicy | None = None,
) -> Path:
    """Save the frame ``after_s`` s after the shift as a PNG; arguments and errors as `render`."""
    path = _png(path)
    take = Take(tuple(episodes))
    (frame,) = _stills(take, size, camera, [after_s], policy)
    _save(frame, path)
    return path


def strip(
    episodes: Sequence[Episode],
    path: str | Path,
    *,
    camera: str | None = None,
    size: tuple[int, int] = SIZES["480p"],
    at_s: Sequence[float] = (-0.5, 0.5, 1.5, 4.0),
) -> Path:
    """Save frames from ``at_s`` s after the shift below each other as one PNG; arguments and errors as `render`."""
    path = _png(path)
    take = Take(tuple(episodes))
    _save(np.concatenate(_stills(take, size, camera, at_s, None)), path)
    return path


def _stills(
    take: Take, size: tuple[int, int], camera: str | None, at_s: Sequence[float], policy: DeployedPolicy | None
) -> list[np.ndarray]:
    """The frames so many s after the shift, or after 2 s where nothing shifts."""
    steps = take.frames(max(BEFORE_S, -min(at_s)), max(AFTER_S, max(at_s)), 25.0)
    onset = BEFORE_S if take.onset_s is None else take.onset_s
    times = take.dt * (np.array(steps) + 1) - onset
    wanted = [steps[int(np.abs(times - at).argmin())] for at in at_s]
    shown = [step for step in steps if any(0 <= (last - step) * take.dt <= RUN_UP_S for last in wanted)]
    stills = {}
    with _stage(take, size, camera, samples=8) as stage:
        frames = _frames(stage, take, shown, size, 1.0, policy, (steps[0], steps[-1]))
        for step, frame in zip(shown, frames, strict=True):
            if step in wanted:
                stills[step] = frame
    return [stills[step] for step in wanted]


def _stage(take: Take, size: tuple[int, int], camera: str | None, samples: int = 4) -> Stage | SplitScreen:
    of_track = take.episodes[0].meta["env_id"] == TRACK
    if camera is None:
        camera = SCENE if of_track else "chase"
    if camera == SCENE and of_track:
        return Stage(take, size, samples)
    if camera not in CAMERAS:
        raise ValueError(f"no camera {camera!r} here; the cameras are {', '.join(CAMERAS)}, and of DroneTrack {SCENE}")
    return SplitScreen(take, size, camera)


def _frames(
    stage: Stage | SplitScreen,
    take: Take,
    steps: Sequence[int],
    size: tuple[int, int],
    slow: float,
    policy: DeployedPolicy | None,
    span: tuple[int, int] | None = None,
) -> Iterator[np.ndarray]:
    """The frames of control steps, with all that is written on them; `span` is that of the charts."""
    overlay = Overlay(take, span or (steps[0], steps[-1]), size, stage.legend, slow)
    inset = None
    if policy is not None:
        from .network import Inset

        inset = Inset(policy, take.episodes[-1], size)
    shown, frame = -1, np.zeros(0, np.uint8)
    for step in steps:
        if step != shown:
            picture = stage.draw(step)
            frame = overlay.draw(picture, step, stage.tags(step), stage.across)
            frame = frame if inset is None else inset.draw(frame, step)
        shown = step
        yield frame


def _png(path: str | Path) -> Path:
    path = Path(path)
    if path.suffix.lower() != ".png":
        raise ValueError(f"{path} must end in .png")
    return path


def _save(picture: np.ndarray, path: Path) -> None:
    content = io.BytesIO()
    Image.fromarray(picture).save(content, format="png", optimize=True)
    write_atomically(path, content.getvalue())
