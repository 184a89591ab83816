"""Jobs: the units of an evaluation, flown in this process or in several, each on disk as soon as it is done."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import signal
import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import cache
from itertools import islice
from multiprocessing import get_context, parent_process
from pathlib import Path
from typing import Any

from ...envs import Scenario
from ..episode import Episode, versions
from ..files import replace_folder, slug
from ..rollout import rollout
from ..run import Run
from .external import ExternalPolicy
from .summary import ORACLE

Entrant = Run | ExternalPolicy

Progress = Callable[[int, int, str], None]
"""Called with (jobs done, jobs in all, the one of those in the air that was begun last)."""

_SOURCES = ("agents", "envs", "policies")


@dataclass(frozen=True)
class Job:
    """One policy with one adapter in one scenario, on all seeds.

    All of it is flown in one batch, always, so that the flights are the same whenever and wherever they are flown.

    Args:
        policy: how the entrant's policy was trained, as the report names it.
    """

    entrant: Entrant
    adapter: str
    scenario: Scenario
    seeds: tuple[int, ...]
    policy: str

    def __str__(self) -> str:
        return f"{self.scenario.name}, {self.adapter}, {self.entrant.name}"

    @property
    def place(self) -> Path:
        """Where among the episodes of an evaluation its own are kept."""
        return place(self.scenario.name, self.adapter, self.entrant.name)

    @property
    def files(self) -> list[str]:
        """Names of its episodes' files, in the order of the seeds."""
        return [f"{seed}.npz" for seed in self.seeds]

    def fly(self) -> list[Episode]:
        """One episode for each seed, in order."""
        entrant = self.entrant
        meta: dict[str, Any] = {"run": entrant.name, "training_seed": entrant.seed, "policy": self.policy}
        if entrant.sha256 is not None:
            meta["policy_sha256"] = entrant.sha256
        if isinstance(entrant, Run) and entrant.kind == ORACLE:
            meta[ORACLE] = entrant.config[ORACLE]
        return rollout(self.scenario, entrant.controller(self.adapter), self.seeds, meta=meta)

    def save(self, folder: Path) -> None:
        """Fly, and write the episodes into `folder`, which appears whole or not at all."""
        episodes = self.fly()
        with replace_folder(folder, mark=self.files[0]) as partial:
            for name, episode in zip(self.files, episodes, strict=True):
                episode.save(partial / name)

    def fingerprint(self) -> str:
        """Hash of everything that determines its flights, and of what is told about them."""
        nominal = self.entrant.nominal
        facts = {
            # Without a hash a policy is like no other, not even like itself at another time.
            "policy": self.entrant.sha256 or os.urandom(16).hex(),
            "nominal": None if nominal is None else nominal.sha256,
            "told": [self.entrant.name, self.entrant.seed, self.policy],
            "adapter": self.adapter,
            "scenario": self.scenario.to_dict(),
            "seeds": self.seeds,
            "sources": _sources(),
            "versions": versions(),
        }
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def place(scenario: str, adapter: str, run: str) -> Path:
    """The folder of a job's episodes, inside that of all."""
    return Path(slug(scenario)) / adapter / slug(run)


def save_all(jobs: Sequence[Job], folder: Path, processes: int, progress: Progress | None = None) -> list[Path]:
    """Fly those jobs whose episodes are not in `folder` yet; returns the folder of each job's episodes, in order.

    An error, or Ctrl-C, that ends it tells in a note how much is kept.

    Args:
        processes: how many fly at a time, one thread each; 1 flies in this process.

    Raises:
        Whatever a job raises; the jobs in the air are finished first.
    """
    parts = [folder / f"{slug(str(job))}-{job.fingerprint()[:16]}" for job in jobs]
    left = [(job, part) for job, part in zip(jobs, parts, strict=True) if not part.is_dir()]

    def tell(flown: int) -> None:
        if progress is not None:
            in_the_air = left[flown : flown + processes]
            progress(len(jobs) - len(left) + flown, len(jobs), str(in_the_air[-1][0]) if in_the_air else "")

    try:
        tell(0)
        with closing(_saved(left, processes)) as saved:
            for flown, _ in enumerate(saved, start=1):
                tell(flown)
    except BaseException as error:
        kept = sum(part.is_dir() for part in parts)
        error.add_note(f"{kept} of {len(jobs)} jobs are done and kept in {folder}: the same call goes on from there")
        raise
    return parts


@contextmanager
def unfinished(out: Path) -> Iterator[Path]:
    """The folder that holds the jobs of an evaluation until its result is in `out`; it stays if the block does not end well.

    Raises:
        ValueError: another evaluation into `out` is under way.
    """
    folder = out.with_name(f"{out.name}.unfinished")
    folder.mkdir(parents=True, exist_ok=True)
    lock = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ValueError(
                f"another evaluation into {out} is under way: give this one a folder of its own."
            ) from None
        for partial in folder.glob(".*.partial"):
            shutil.rmtree(partial)
        yield folder
        # What is left belongs to an evaluation of something else into the same folder.
        if not any(folder.iterdir()):
            folder.rmdir()
    finally:
        os.close(lock)


def _saved(jobs: Sequence[tuple[Job, Path]], processes: int) -> Generator[None, None, None]:
    """Flies and saves the jobs; yields whenever one is done."""
    if processes == 1:
        for job, part in jobs:
            with _named(job):
                job.save(part)
            yield
        return
    spawn = get_context("spawn")  # a fork would copy locks and threads in whatever state they are
    pool, waiting = ProcessPoolExecutor(processes, spawn, initializer=_begin_worker), iter(jobs)
    try:
        # No more than fly at a time: what the pool has been given it flies, even when it is to stop.
        with _single_threaded():
            flying = {pool.submit(job.save, part): job for job, part in islice(waiting, processes)}
        while flying:
            for future in wait(flying, return_when=FIRST_COMPLETED).done:
                with _named(flying.pop(future)):
                    future.result()
                flying |= {pool.submit(job.save, part): job for job, part in islice(waiting, 1)}
                yield
    finally:
        pool.shutdown()


@contextmanager
def _named(job: Job) -> Iterator[None]:
    """Errors within say which job they ended."""
    try:
        yield
    except Exception as error:
        error.add_note(f"while flying {job}")
        raise


def _begin_worker() -> None:
    """Ctrl-C is for the process that started this one, and with that process this one ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    starter = parent_process()
    assert starter is not None

    def end_with_starter() -> None:
        starter.join()
        os._exit(1)

    threading.Thread(target=end_with_starter, daemon=True).start()


@contextmanager
def _single_threaded() -> Iterator[None]:
    """Processes started within have one thread for linear algebra each."""
    before = os.environ.get("OMP_NUM_THREADS")
    os.environ["OMP_NUM_THREADS"] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ["OMP_NUM_THREADS"]
        else:
            os.environ["OMP_NUM_THREADS"] = before


@cache
def _sources() -> str:
    """Hash of undrift's own code: dynamics, shifts, adapters and the guard's limits are in it."""
    root, digest = Path(__file__).resolve().parents[2], hashlib.sha256()
    for path in sorted(path for layer in _SOURCES for kind in ("*.py", "*.xml") for path in (root / layer).rglob(kind)):
        digest.update(path.relative_to(root).as_posix().encode() + path.read_bytes())
    return digest.hexdigest()
