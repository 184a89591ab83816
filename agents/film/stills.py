"""Stills out of a film that is there already."""

from __future__ import annotations

import io
from pathlib import Path

import imageio_ffmpeg
from PIL import Image


def stills(path: str | Path, count: int = 4, width: int = 400) -> list[bytes]:
    """JPEG pictures of a film, `width` pixels wide, at evenly spaced times; with their order the film in short.

    Raises:
        ValueError: ffmpeg cannot read the file.
    """
    try:
        _, seconds = imageio_ffmpeg.count_frames_and_secs(str(path))
        return [_still(str(path), seconds * (index + 0.5) / count, width) for index in range(count)]
    except (RuntimeError, OSError) as error:
        raise ValueError(f"{path} is not a film that can be read; `undrift render` makes one") from error


def _still(path: str, at_s: float, width: int) -> bytes:
    frames = imageio_ffmpeg.read_frames(path, input_params=["-ss", f"{at_s:.3f}"], output_params=["-frames:v", "1"])
    facts, pixels = next(frames), next(frames)
    frames.close()
    content = io.BytesIO()
    picture = Image.frombytes("RGB", facts["size"], pixels)
    picture.thumbnail((width, facts["size"][1]))
    picture.save(content, format="jpeg", quality=82, optimize=True)
    return content.getvalue()
