"""Stills come from all along the film."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from undrift.agents.film.encode import encoder
from undrift.agents.film.stills import stills


def test_stills_are_small_pictures_at_even_times_of_the_film(tmp_path: Path) -> None:
    film = tmp_path / "brighter.mp4"
    with encoder(film, (96, 64), 10.0) as add:
        for grey in range(0, 240, 6):
            add(np.full((64, 96, 3), grey, np.uint8))
    pictures = [Image.open(io.BytesIO(content)) for content in stills(film, count=4, width=48)]
    assert [(picture.format, picture.size) for picture in pictures] == [("JPEG", (48, 32))] * 4
    found = [np.asarray(picture).mean() for picture in pictures]
    assert found == pytest.approx([240 * share for share in (1 / 8, 3 / 8, 5 / 8, 7 / 8)], abs=12)


def test_what_is_no_film_is_named(tmp_path: Path) -> None:
    (tmp_path / "film.mp4").write_bytes(b"text")
    with pytest.raises(ValueError, match=r"film\.mp4 is not a film that can be read"):
        stills(tmp_path / "film.mp4")
