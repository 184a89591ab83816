"""Run: the folder that training writes and that everything else reads."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from importlib import resources
from pathlib import Path
from typing import Any

from ..policies.deployed import DeployedPolicy
from ..policies.feed_forward import FeedForwardPolicy
from ..policies.stored import read_config
from .adaptation import NominalModel, make_adapter
from .controller import Controller
from .files import replace_folder

RUNS = Path("runs")
"""Where runs are looked up by name, relative to the working directory."""

FILES = ("config.json", "policy.json", "policy.safetensors", "nominal.json", "nominal.safetensors", "curve.csv")
"""What a whole run holds."""


@dataclass(frozen=True)
class Run:
    """A trained policy, the nominal model learned from its own flights, and how both came to be.

    Args:
        folder: where the run lies.
        config: the recipe (`recipe`), the training seed (`seed`), `versions` and `machine`; where the policy was not
            trained for the unshifted world, how it was (`kind`); of an oracle its `base`, `shift` and `steps` (`oracle`). Of a
            policy of plain SB3 the recipe is the environment alone, beside the `algorithm` and its `steps` (`imported`).
        policy: ready to fly, without torch; with memory or without.
        nominal: the nominal dynamics model that adapters predict with.
    """

    folder: Path
    config: dict[str, Any]
    policy: DeployedPolicy | FeedForwardPolicy
    nominal: NominalModel

    @property
    def name(self) -> str:
        return self.folder.resolve().name

    @property
    def env_id(self) -> str:
        """Environment it was trained on."""
        return self.config["recipe"]["env_id"]

    @property
    def seed(self) -> int:
        """Training seed."""
        return int(self.config["seed"])

    @property
    def kind(self) -> str:
        """How the policy was trained: "nominal", "domain-randomised", "trained with ADAPTER" where that adapter was in the
        loop, or "oracle" after `undrift oracle`."""
        return str(self.config.get("kind", "nominal"))

    @property
    def sha256(self) -> str:
        """Hash of its policy."""
        return self.policy.sha256

    @property
    def cells(self) -> tuple[str, ...]:
        """Names of the cells that its policy remembers with: one, or none."""
        return () if self.policy.cell is None else (self.policy.cell.name,)

    @cached_property
    def curve(self) -> dict[str, list[float]]:
        """Learning curve, a list per column of curve.csv."""
        return read_curve(self.folder / "curve.csv")

    def controller(self, adapter: str = "auto") -> Controller:
        """A controller that flies this policy with the adapter of that name, and has learned nothing yet.

        Raises:
            ValueError: unknown adapter; the message lists the valid ones.
        """
        return Controller(self.policy, make_adapter(adapter, self.nominal))

    @staticmethod
    def load(folder_or_name: str | Path) -> Run:
        """Read a run by its folder, or by its name under `runs/`; "reference" is the one that ships with undrift.

        Raises:
            FileNotFoundError: there is no such run, or one of its files is missing; the message names it.
            ValueError: a file is truncated or damaged; the message names it.
        """
        if str(folder_or_name) == "reference":
            return Run.reference()
        return _load(find(folder_or_name))

    @staticmethod
    def reference() -> Run:
        """The run that ships inside the package: the reference drone policy.

        Raises:
            FileNotFoundError, ValueError: the installation is damaged.
        """
        return _load(Path(str(resources.files("undrift.agents") / "reference")))


def find(folder_or_name: str | Path) -> Path:
    """The folder of a run given by folder or by name.

    Raises:
        FileNotFoundError: no such run; the message lists the ones there are.
    """
    for folder in (Path(folder_or_name), RUNS / folder_or_name):
        if folder.is_dir():
            return folder
    known = ", ".join(["reference", *sorted(path.parent.name for path in RUNS.glob("*/policy.json"))])
    raise FileNotFoundError(f"no run {str(folder_or_name)!r}, as a folder or by name under {RUNS}/; there are: {known}")


@contextmanager
def new_run(folder: str | Path) -> Iterator[Path]:
    """A temporary folder to write a run into; it takes the name `folder` when the block ends well, and is gone if not.

    Raises:
        FileExistsError: `folder` exists; runs are never overwritten.
        FileNotFoundError: the block left out a file of the run.
    """
    folder = Path(folder)
    refuse_existing(folder)
    with replace_folder(folder, mark="config.json") as partial:
        yield partial
        _require_files(partial)


def refuse_existing(folder: Path) -> None:
    """Raise FileExistsError where a run would be written over something."""
    if folder.exists():
        raise FileExistsError(f"{folder} exists already; choose another name or remove it first")


def read_curve(path: Path) -> dict[str, list[float]]:
    """Columns of a learning curve by name.

    Raises:
        ValueError: not a table of numbers with a header.
    """
    text = path.read_text()
    header, *rows = list(csv.reader(text.splitlines())) or [[]]
    try:
        if not text.endswith("\n") or any(len(row) != len(header) for row in rows):
            raise ValueError("a row is incomplete")
        columns = zip(*[[float(value) for value in row] for row in rows], strict=True) if rows else ([] for _ in header)
        return {name: list(column) for name, column in zip(header, columns, strict=True)}
    except ValueError as error:
        raise ValueError(f"{path} is not a whole learning curve ({error}); restore the file or train again") from error


def _load(folder: Path) -> Run:
    _require_files(folder)
    kind = DeployedPolicy if "cell" in read_config(folder) else FeedForwardPolicy
    run = Run(folder, _read_config(folder / "config.json"), kind.load(folder), NominalModel.load(folder))
    _ = run.curve
    return run


def _require_files(folder: Path) -> None:
    missing = [name for name in FILES if not (folder / name).is_file()]
    if missing:
        raise FileNotFoundError(
            f"{folder} is not a whole run, it lacks {', '.join(missing)}; restore it or train again"
        )


def _read_config(path: Path) -> dict[str, Any]:
    try:
        config = json.loads(path.read_text())
        recipe = config["recipe"]
        recipe["env_id"], recipe["env_kwargs"], int(config["seed"])
    except (ValueError, KeyError, TypeError) as error:
        what = f"it has no {error}" if isinstance(error, KeyError) else error
        raise ValueError(f"{path} is no run's config ({what}); restore the file or train again") from error
    return config
