"""Encoding: frames stream into a film, whatever its format; a reader sees the old film or the whole new one."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import imageio_ffmpeg
import numpy as np

from .scene import FilmUnavailable

# Per-frame palettes let a GIF stream; ffmpeg's default, one for all, would hold every frame in memory.
_GIF = "split[a][b];[a]palettegen=stats_mode=single[p];[b][p]paletteuse=new=1:dither=bayer:bayer_scale=4:diff_mode=rectangle"
FORMATS: dict[str, tuple[str, list[str]]] = {
    ".mp4": ("libx264", ["-preset", "veryfast", "-crf", "24", "-movflags", "+faststart"]),
    ".webm": ("libvpx-vp9", ["-crf", "36", "-b:v", "0", "-deadline", "realtime", "-cpu-used", "6", "-row-mt", "1"]),
    ".gif": ("gif", ["-filter_complex", _GIF, "-loop", "0"]),
}
"""By suffix: codec and options. H.264 and VP9 in yuv420p, which browsers play."""


@contextmanager
def encoder(path: Path, size: tuple[int, int], fps: float) -> Iterator[Callable[[np.ndarray], None]]:
    """What takes the frames, uint8 [height, width, 3], one by one; the film is at `path` when the block ends well.

    Raises:
        ValueError: the suffix is of no format, or width or height are not even.
        FilmUnavailable: this machine has no ffmpeg.
    """
    checked_film(path, size)
    codec, options = FORMATS[path.suffix.lower()]
    partial = path.with_name(f".{path.stem}.{os.getpid()}{path.suffix}")
    film = imageio_ffmpeg.write_frames(
        partial,
        size,
        fps=fps,
        codec=codec,
        pix_fmt_out="rgb8" if codec == "gif" else "yuv420p",
        quality=None,
        macro_block_size=2,
        output_params=options,
    )
    try:
        with closing(film):
            try:
                film.send(None)
            except (RuntimeError, OSError) as error:
                raise FilmUnavailable(f"no film, for want of ffmpeg: {error}. `apt-get install ffmpeg`") from error
            yield lambda frame: film.send(np.ascontiguousarray(frame))
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def checked_film(path: Path, size: tuple[int, int]) -> None:
    """Raise ValueError where a film cannot be, and make its folder."""
    if path.suffix.lower() not in FORMATS:
        raise ValueError(f"{path} must end in {', '.join(FORMATS)}")
    if min(size) < 2 or size[0] % 2 or size[1] % 2:
        raise ValueError(f"film size {size} is not a pair of even numbers; use one of (854, 480) and (1280, 720)")
    path.parent.mkdir(parents=True, exist_ok=True)
