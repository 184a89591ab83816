"""Films that show what adapting does: saved episodes redrawn, frozen and adapting side by side."""

from __future__ import annotations

from .recorder import Recorder
from .scene import FilmUnavailable
from .take import Take
from .writer import SIZES, poster, render, render_pair, strip

__all__ = ["SIZES", "FilmUnavailable", "Recorder", "Take", "poster", "render", "render_pair", "strip"]
