"""Films that show what adapting does: saved episodes redrawn, frozen and adapting side by side."""

from __future__ import annotations

from .scene import FilmUnavailable
from .take import Take
from .writer import poster, render, render_pair

__all__ = ["FilmUnavailable", "Take", "poster", "render", "render_pair"]
