"""Guard: nothing that an adapter proposes passes unseen; every intervention is logged with its reason."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit

from .adapter import State, choose_rows


@dataclass(frozen=True)
class GuardEvent:
    """One intervention.

    Args:
        step: control steps since the vehicle's reset.
        row: which vehicle of the batch.
        reason: what happened and what was done.
    """

    step: int
    row: int
    reason: str


class Guard:
    """Accepts, shrinks or rolls back each proposal, row by row.

    Measurements and actions that are not finite are always repaired. `enabled=False` lets everything else through, for
    the ablation.

    Args:
        enabled: the switch.
        authority: |proposed - policy's own action| at most, in units of the action.
        seen_limit: |observation shown - measured| at most, in each channel's own unit.
        loss_margin: what was learned may predict worse than nothing by this much, in nats (`Adapter.loss`).
        patience: for so many steps in a row, before it is rolled back.
        snapshot_every: steps between the states that are kept to go back to.
    """

    def __init__(
        self,
        enabled: bool = True,
        authority: float = 1.0,
        seen_limit: float = 4.0,
        loss_margin: float = 0.1,
        patience: int = 25,
        snapshot_every: int = 50,
    ) -> None:
        self.enabled, self.authority, self.seen_limit = enabled, authority, seen_limit
        self.loss_margin, self.patience, self.snapshot_every = loss_margin, patience, snapshot_every
        self.events: list[GuardEvent] = []

    def repair(
        self, observation: np.ndarray, last: np.ndarray, sampled: np.ndarray, steps: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Observations [N, O] with every non-finite channel held at `last`, and which rows [N] were measured anew.

        A sample whose channels `sampled` (those that nothing but a sensor changes) all repeat the last one to the bit did not
        arrive.
        """
        fresh = np.ones(len(observation), dtype=bool)
        if self.enabled and len(sampled):
            held = (observation[:, sampled] == last[:, sampled]).all(1) & (steps > 0)
            if held.any():
                self._log(held, steps, "sample repeats the last one: nothing learned")
                fresh = ~held
        broken = _broken_rows(observation)
        if broken is None:
            return observation, fresh
        self._log(broken, steps, "observation not finite: last value held, nothing learned")
        return np.where(np.isfinite(observation), observation, last), fresh & ~broken

    def admit_view(self, measured: np.ndarray, seen: np.ndarray, steps: np.ndarray) -> np.ndarray:
        """The observations to show the policy: those proposed, within the limit; the measured ones if not finite."""
        if not self.enabled:
            return seen
        broken = _broken_rows(seen)
        if broken is not None:
            self._log(broken, steps, "proposed observation not finite: the measured one shown")
            seen = np.where(broken[:, None], measured, seen)
        far = np.abs(seen - measured) > self.seen_limit
        if far.any():
            self._log(far.any(1), steps, "proposed observation beyond its limit: shrunk")
            seen = np.where(far, measured + np.clip(seen - measured, -self.seen_limit, self.seen_limit), seen)
        return seen

    def admit_action(
        self, own: np.ndarray, proposed: np.ndarray, last_sent: np.ndarray, steps: np.ndarray
    ) -> np.ndarray:
        """The action to send [N, A], before its bounds: the proposal within the authority around the policy's own."""
        broken = _broken_rows(own)
        if broken is not None:
            self._log(broken, steps, "policy's action not finite: last action held")
            own = np.where(broken[:, None], last_sent, own)
        broken_proposal = _broken_rows(proposed)
        if broken_proposal is not None:
            self._log(broken_proposal, steps, "proposed action not finite: the policy's own sent")
            proposed = np.where(broken_proposal[:, None], own, proposed)
        if not self.enabled:
            return proposed
        far = np.abs(proposed - own) > self.authority
        if far.any():
            self._log(far.any(1), steps, "proposed action beyond its authority: shrunk")
            proposed = own + np.clip(proposed - own, -self.authority, self.authority)
        return proposed

    def admit_state(self, before: State, after: State, steps: np.ndarray) -> State:
        """What the adapter may remember: rows whose new state is not finite are rolled back."""
        if not self.enabled or not after:
            return after
        changed = [values for key, values in after.items() if values is not before[key]]
        numbers = [values.reshape(-1) for values in changed if values.dtype.kind == "f"]
        if not numbers or _finite(np.concatenate(numbers)):
            return after
        found = [broken for broken in map(_broken_rows, changed) if broken is not None]
        broken = np.logical_or.reduce(found)
        self._log(broken, steps, "adapter's state not finite: rolled back to the last good one")
        return {key: choose_rows(broken, before[key], new) for key, new in after.items()}

    def review(
        self, learned: State, kept: State, worse: np.ndarray, loss: np.ndarray | None, steps: np.ndarray
    ) -> tuple[State, State, np.ndarray]:
        """What the adapter goes on with, the last state known to be good, and for how many steps [N] it has been worse.

        A state whose predictions are worse than without it, for `patience` steps, gives way to the last one kept while they
        were not; that one is kept anew every `snapshot_every` steps.
        """
        if not self.enabled or loss is None:
            return learned, kept, worse
        bad = loss[:, 0] > loss[:, 1] + self.loss_margin
        worse = np.where(bad, worse + 1, 0)
        back = worse >= self.patience
        if back.any():
            self._log(back, steps, "adapter predicts worse than without it: rolled back to the last good state")
            learned = {key: choose_rows(back, kept[key], new) for key, new in learned.items()}
            worse = np.where(back, 0, worse)
        keep = ~bad & (steps % self.snapshot_every == 0)
        if keep.any():
            kept = {key: choose_rows(keep, new, kept[key]) for key, new in learned.items()}
        return learned, kept, worse

    def _log(self, rows: np.ndarray, steps: np.ndarray, reason: str) -> None:
        self.events.extend(GuardEvent(int(steps[row]), int(row), reason) for row in np.flatnonzero(rows))


@njit(cache=True)
def _finite(values: np.ndarray) -> bool:
    for value in values:
        if not np.isfinite(value):
            return False
    return True


def _broken_rows(values: np.ndarray) -> np.ndarray | None:
    """Which rows [N] hold something that is not finite; None if none does."""
    if values.dtype.kind != "f" or _finite(values.reshape(-1)):
        return None
    broken = ~np.isfinite(values).reshape(len(values), -1).all(1)
    return broken if broken.any() else None
