"""Where roads come from: random circuits and lanes, a user's centreline, and patches of other grip upon them."""

from .centreline import from_csv, through
from .circuit import circuit
from .lane import lane
from .patches import Patch, with_patches

__all__ = ["Patch", "circuit", "from_csv", "lane", "through", "with_patches"]
