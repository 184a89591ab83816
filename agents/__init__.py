"""Training, adaptation during deployment, evaluation, films and the command line.

Names load on first use, so that a deployed controller imports neither torch nor Stable-Baselines3. `rollout` is not among
them: its module has the same name, so import it from there.
"""

from importlib import import_module
from typing import Any

from .. import __version__ as __version__

_EXPORTS = {
    "A2C": "algorithms",
    "ADAPTERS": "adaptation",
    "Adapter": "adaptation",
    "BatchVecEnv": "vec_env",
    "Controller": "controller",
    "Episode": "episode",
    "ExternalPolicy": "evaluation.external",
    "FilmCallback": "film.callback",
    "Guard": "adaptation",
    "PPO": "algorithms",
    "Peer": "peers",
    "Recipe": "training",
    "Recorder": "film",
    "Run": "run",
    "SAC": "algorithms",
    "TD3": "algorithms",
    "evaluate": "evaluation.evaluate",
    "feed_forward": "peers",
    "imitate": "imitation",
    "import_sb3": "peers",
    "load_peer": "peers",
    "make_adapter": "adaptation",
    "make_vec_env": "vec_env",
    "render": "film",
    "render_pair": "film",
    "summarize": "evaluation.summary",
    "train": "training",
    "write_report": "evaluation.report",
}
__all__ = list(_EXPORTS)


def __getattr__(name: str) -> Any:
    if name not in _EXPORTS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}; it offers {', '.join(__all__)}")
    return getattr(import_module(f".{_EXPORTS[name]}", __name__), name)


def __dir__() -> list[str]:
    return __all__
