"""Guard: nothing that an adapter learns or proposes passes unseen; every intervention is logged with its reason."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np

from .adapter import Adapter
from .compiled import helper, kernel
from .state import State

_SAME_EVENT_STEPS = 50
"""An intervention that repeats within so many steps is one event."""
_SATURATED = 0.98
"""From where on an action saturates."""


@dataclass
class GuardEvent:
    """One intervention, or one that was repeated for the same reason.

    Args:
        step: control steps since the vehicle's reset.
        row: which vehicle of the batch.
        reason: what happened and what was done.
        last: step of the last repetition.
        count: in how many steps it was done.
    """

    step: int
    row: int
    reason: str
    last: int
    count: int = 1


class Guard:
    """Accepts, shrinks or rolls back each proposal, and says what each sample may teach; row by row.

    Measurements and actions that are not finite are always repaired. `enabled=False` lets everything else through, for
    the ablation; a part alone is switched off by the value named with it. The dead zone and the leak act at every sample
    and are no events. A controller takes note of these values when it is made or reset.

    Args:
        enabled: the switch.
        hold_stale: samples that did not arrive teach nothing (False: they are taken for new ones).
        authority: |proposed - policy's own action| at most, in units of the action (inf: any).
        seen_limit: |observation shown - measured| at most, in each channel's own unit (inf: any).
        freeze: while an action saturates, nothing is integrated and little is made of what is missing.
        unwind: back-calculation. Integrals decay at this rate times what was wished for and could not be sent, 1/s per
            unit of action (0: they keep what they have).
        leak: rate at which an estimated disturbance and the integral of `integral` are forgotten, 1/s (0: never).
        dead_zone: an estimated disturbance stays while its smoothed innovation is within so many of its standard errors:
            noise explains it (0: always moves, the default: a bank that holds a member without a disturbance tells noise
            better).
        excitation: without commands that change by so much per step of late, in units of the action, nothing is learned
            that only moving commands can tell (0: always learned).
        loss_margin: what was learned may predict worse than the last state known to be good by this much, in nats
            (`Adapter.loss`; inf: never rolled back).
        patience: for so many steps in a row, before it is rolled back.
        keep_every: steps between the moments at which what was learned, if it predicts no worse, becomes that good state.
    """

    def __init__(
        self,
        enabled: bool = True,
        hold_stale: bool = True,
        authority: float = 1.0,
        seen_limit: float = 4.0,
        freeze: bool = True,
        unwind: float = 1.0,
        leak: float = 0.02,
        dead_zone: float = 0.0,
        excitation: float = 1e-3,
        loss_margin: float = 0.1,
        patience: int = 25,
        keep_every: int = 25,
    ) -> None:
        # Kernels are compiled for each type that they are given.
        self.enabled, self.hold_stale, self.freeze = bool(enabled), bool(hold_stale), bool(freeze)
        self.authority, self.seen_limit, self.unwind = float(authority), float(seen_limit), float(unwind)
        self.leak, self.dead_zone, self.excitation = float(leak), float(dead_zone), float(excitation)
        self.loss_margin, self.patience, self.keep_every = float(loss_margin), int(patience), int(keep_every)
        self.events: list[GuardEvent] = []
        self._open: dict[tuple[int, str], GuardEvent] = {}

    def clear(self) -> None:
        """Forget all events."""
        self.events.clear()
        self._open.clear()

    def announce(self, reason: str, n: int) -> None:
        """Log what holds of all `n` vehicles from the beginning."""
        self._log(np.ones(n, dtype=bool), np.zeros(n, dtype=np.int64), reason)

    def repair(
        self, observation: np.ndarray, last: np.ndarray, sampled: np.ndarray, steps: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Observations [N, O] with every non-finite channel held at `last`, and which rows [N] were measured anew.

        A sample whose channels `sampled` (those that nothing but a sensor changes) all repeat the last one to the bit did not
        arrive.
        """
        fresh = np.empty(len(observation), dtype=bool)
        if all_fresh(observation, last, sampled, steps, self.enabled and self.hold_stale, fresh):
            return observation, fresh
        finite = np.isfinite(observation)
        broken = ~finite.all(1)
        self._log(~fresh & ~broken, steps, "sample repeats the last one: nothing learned")
        self._log(broken, steps, "observation not finite: last value held, nothing learned")
        return np.where(finite, observation, last), fresh

    def admit_sample(
        self,
        observation: np.ndarray,
        last: np.ndarray,
        sampled: np.ndarray,
        terminated: bool | np.ndarray,
        wish: np.ndarray,
        activity: np.ndarray,
        steps: np.ndarray,
    ) -> tuple[np.ndarray, np.ndarray, tuple[np.ndarray, np.ndarray, np.ndarray, float, float]]:
        """What followed an action [N, O], as `repair`; which rows [N] of it were measured anew and of no vehicle that was
        `terminated`; and what they may teach, as `permit`. Samples may share these arrays, so nobody writes into them."""
        if self.enabled and not np.count_nonzero(terminated):
            limits = self.hold_stale, self.excitation
            if all_teach(observation, last, sampled, wish, activity, steps, *limits):
                usable, saturated, excited, unwind = _unrestrained(*wish.shape)
                return observation, usable, (saturated, excited, unwind, self.leak, self.dead_zone)
        following, fresh = self.repair(observation, last, sampled, steps)
        usable = fresh & ~np.asarray(terminated, dtype=bool)
        return following, usable, self.permit(wish, activity, steps)

    def admit_view(
        self,
        measured: np.ndarray,
        seen: np.ndarray,
        adapter: Adapter,
        before: State,
        after: State,
        steps: np.ndarray,
    ) -> tuple[np.ndarray, State]:
        """The observations to show the policy: those proposed, within the limit around what is measured and asked for;
        the measured ones if not finite. And what the adapter may remember, as `admit_state`."""
        if not self.enabled or all_admissible(measured, seen, self.seen_limit, after.rows):
            return seen, after
        broken = ~np.isfinite(seen).all(1)
        self._log(broken, steps, "proposed observation not finite: the measured one shown")
        seen = np.where(broken[:, None], measured, seen)
        after = self.admit_state(before, after, steps)
        # To ask for half of a high speed is no estimate gone astray.
        expected = adapter.ask_less(after, measured)
        far = np.abs(seen - expected) > self.seen_limit
        self._log(far.any(1), steps, "proposed observation beyond its limit: shrunk")
        return np.where(far, expected + np.clip(seen - expected, -self.seen_limit, self.seen_limit), seen), after

    def admit_action(
        self,
        own: np.ndarray,
        proposed: np.ndarray,
        last_sent: np.ndarray,
        before: State,
        after: State,
        steps: np.ndarray,
    ) -> tuple[np.ndarray, np.ndarray, State]:
        """The policy's own action [N, A], the last one sent where it is not finite; the action to send, before its bounds: the
        proposal within the authority around it; and what the adapter may remember, as `admit_state`."""
        authority = self.authority if self.enabled else np.inf
        if all_admissible(own, proposed, authority, after.rows):
            return own, proposed, after
        broken = ~np.isfinite(own).all(1)
        self._log(broken, steps, "policy's action not finite: last action held")
        own = np.where(broken[:, None], last_sent, own)
        broken = ~np.isfinite(proposed).all(1)
        self._log(broken, steps, "proposed action not finite: the policy's own sent")
        proposed = np.where(broken[:, None], own, proposed)
        far = np.abs(proposed - own) > authority
        self._log(far.any(1), steps, "proposed action beyond its authority: shrunk")
        wish = np.where(far, own + np.clip(proposed - own, -authority, authority), proposed)
        return own, wish, self.admit_state(before, after, steps)

    def admit_state(self, before: State, after: State, steps: np.ndarray) -> State:
        """What the adapter may remember: rows whose new state is not finite are rolled back."""
        if not self.enabled or _all_finite(after.rows):
            return after
        broken = np.logical_or.reduce(~np.isfinite(after.rows), axis=1)
        self._log(broken, steps, "adapter's state not finite: rolled back to the last good one")
        return before.where(broken, after)

    def permit(
        self, wish: np.ndarray, activity: np.ndarray, steps: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, float, float]:
        """What a sample may teach: the last fields of `Transition`, saturated [N, A], excited [N], unwind [N], leak and
        dead_zone.

        Args:
            wish: [N, A] the action before the sample, before its bounds.
            activity: [N] by how much the liveliest action changes per step of late.
            steps: [N] since the reset.
        """
        if not self.enabled:
            return np.zeros(wish.shape, dtype=bool), np.ones(len(steps), dtype=bool), np.zeros(len(steps)), 0.0, 0.0
        saturated, excited = np.empty(wish.shape, dtype=bool), np.empty(len(wish), dtype=bool)
        unwind = np.empty(len(wish))
        if _limits_learning(wish, activity, self.freeze, self.excitation, self.unwind, saturated, excited, unwind):
            self._log(~excited, steps, "commands at rest: what only moving ones tell is not learned")
            self._log(unwind > 0.0, steps, "action beyond its bounds: integrals unwound")
        return saturated, excited, unwind, self.leak, self.dead_zone

    def admit_learned(
        self,
        adapter: Adapter,
        before: State,
        learned: State,
        acted: np.ndarray,
        worse: np.ndarray,
        steps: np.ndarray,
    ) -> tuple[State, np.ndarray]:
        """What `review` makes of what was learned by the vehicles that `acted` [N], as far as `admit_state` lets it pass; the
        others stay as they were `before`."""
        loss = adapter.loss(learned) if self.enabled else None
        if loss is not None:
            limits = self.loss_margin, self.keep_every
            if _none_due(learned.rows, np.ascontiguousarray(loss), acted, worse, steps, *limits):
                return learned, worse
        learned = self.admit_state(before, learned, steps)
        if np.count_nonzero(acted) < len(acted):
            learned = learned.where(acted, before)
        return self.review(adapter, learned, worse, steps)

    def review(self, adapter: Adapter, state: State, worse: np.ndarray, steps: np.ndarray) -> tuple[State, np.ndarray]:
        """The state that acts next, and for how many steps [N] what it learned has predicted worse than the shadow copy.

        The shadow is what was known when it was last good. Both are scored on every sample before anything is learned
        from it. What was learned becomes the shadow, every `keep_every` steps, unless it predicts worse; after `patience`
        steps in which it predicts worse by the margin it gives way to the shadow.
        """
        loss = adapter.loss(state) if self.enabled else None
        if loss is None:
            return state, worse
        loss, worse = np.ascontiguousarray(loss), worse.copy()
        goes_back, is_kept = _due(loss, steps, self.loss_margin, self.patience, self.keep_every, worse)
        if goes_back:
            back = worse >= self.patience
            self._log(back, steps, "adapter predicts worse than before: rolled back to the last good state")
            state, worse[back] = adapter.restore(state, back), 0
        if is_kept:
            state = adapter.keep(state, (loss[:, 0] <= loss[:, 2]) & (steps % self.keep_every == 0))
        return state, worse

    def _log(self, rows: np.ndarray, steps: np.ndarray, reason: str) -> None:
        for row in map(int, np.flatnonzero(rows)):
            step, known = int(steps[row]), self._open.get((row, reason))
            if known is None or not 0 <= step - known.last <= _SAME_EVENT_STEPS:
                known = self._open[row, reason] = GuardEvent(step, row, reason, step)
                self.events.append(known)
            elif step > known.last:
                known.last, known.count = step, known.count + 1


@cache
def _unrestrained(n: int, actions: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """usable [N], saturated [N, A], excited [N] and unwind [N] of n vehicles whose samples may teach all that they can."""
    ones = np.ones(n, dtype=bool)
    return ones, np.zeros((n, actions), dtype=bool), ones, np.zeros(n)


# At almost every step there is nothing to do, and one pass over the numbers says so. What is done otherwise may take its time.


@helper
def _finite(values):  # type: ignore[no-untyped-def]
    """Whether every one of values [N, K] is."""
    for n in range(values.shape[0]):
        if not _is_finite(values[n]):
            return False
    return True


@helper
def _is_finite(values):  # type: ignore[no-untyped-def]
    """Whether every one of values [K] is."""
    nothing = 0.0
    for k in range(values.shape[0]):
        nothing += 0.0 * values[k]
    return nothing == 0.0


@kernel
def _all_finite(values):  # type: ignore[no-untyped-def]
    return _finite(values)


@kernel
def all_admissible(expected, proposed, limit, state):  # type: ignore[no-untyped-def]
    """Whether all of proposed [N, K] is finite and within the limit around expected [N, K], and all of state [N, S] finite."""
    for n in range(expected.shape[0]):
        for k in range(expected.shape[1]):
            distance = abs(proposed[n, k] - expected[n, k])
            if not (np.isfinite(distance) and distance <= limit):
                return False
    return _finite(state)


@kernel
def all_fresh(observation, last, sampled, steps, hold_stale, fresh):  # type: ignore[no-untyped-def]
    """Whether every row of observation [N, O] is finite and, where `sampled` says, no copy of the last one; fresh [N] is
    written."""
    everywhere = True
    for n in range(observation.shape[0]):
        fresh[n] = _is_fresh(observation[n], last[n], sampled, steps[n], hold_stale)
        everywhere = everywhere and fresh[n]
    return everywhere


@helper
def all_arrived(observation, last, sampled, steps, hold_stale):  # type: ignore[no-untyped-def]
    """`all_fresh`, which does not say of each row."""
    for n in range(observation.shape[0]):
        if not _is_fresh(observation[n], last[n], sampled, steps[n], hold_stale):
            return False
    return True


@helper
def _is_fresh(observation, last, sampled, step, hold_stale):  # type: ignore[no-untyped-def]
    """Whether an observation [O] is finite and, where `sampled` says, no copy of the last one [O]."""
    stale = hold_stale and sampled.shape[0] > 0 and step > 0
    for k in range(sampled.shape[0]):
        stale = stale and observation[sampled[k]] == last[sampled[k]]
    return _is_finite(observation) and not stale


@kernel
def all_teach(  # type: ignore[no-untyped-def]
    observation, last, sampled, wish, activity, steps, hold_stale, excitation
):
    """Whether every sample was measured anew (`all_fresh`), under commands that move and do not saturate."""
    for n in range(wish.shape[0]):
        if not activity[n] >= excitation:
            return False
        for j in range(wish.shape[1]):
            if not abs(wish[n, j]) <= _SATURATED:
                return False
    return all_arrived(observation, last, sampled, steps, hold_stale)


@kernel
def _limits_learning(  # type: ignore[no-untyped-def]
    wish, activity, freeze, excitation, rate, saturated, excited, unwind
):
    """Whether any vehicle is not excited or unwinds; `Guard.permit`'s saturated [N, A], excited [N] and unwind [N] are
    written."""
    anywhere = False
    for n in range(wish.shape[0]):
        unsent = 0.0
        for j in range(wish.shape[1]):
            saturated[n, j] = freeze and abs(wish[n, j]) > _SATURATED
            unsent = max(unsent, abs(wish[n, j]) - 1.0)
        excited[n], unwind[n] = activity[n] >= excitation, rate * unsent
        anywhere = anywhere or not excited[n] or unwind[n] > 0.0
    return anywhere


@kernel
def _due(loss, steps, margin, patience, keep_every, worse):  # type: ignore[no-untyped-def]
    """For how long each row has been worse [N], written; whether any is to go back, and whether any is to be kept."""
    goes_back, is_kept = False, False
    for n in range(loss.shape[0]):
        worse[n] = steps_worse(loss[n], margin, worse[n])
        goes_back = goes_back or worse[n] >= patience
        is_kept = is_kept or is_good(loss[n], steps[n], keep_every)
    return goes_back, is_kept


@helper
def steps_worse(loss, margin, before):  # type: ignore[no-untyped-def]
    """For how many steps in a row a vehicle of this loss [3] has predicted worse than its shadow, and did so `before`."""
    return before + 1 if loss[0] > loss[2] + margin else 0


@kernel
def none_goes_back(state, loss, acted, worse, margin, patience):  # type: ignore[no-untyped-def]
    """Whether all states [N, S] are finite, every vehicle acted, and none has predicted worse than its shadow for too long."""
    for n in range(loss.shape[0]):
        if not acted[n] or steps_worse(loss[n], margin, worse[n]) >= patience:
            return False
    return _finite(state)


@helper
def is_good(loss, step, keep_every):  # type: ignore[no-untyped-def]
    """Whether what a vehicle of this loss [3] learned is to become its shadow now."""
    return loss[0] <= loss[2] and step % keep_every == 0


@kernel
def _none_due(state, loss, acted, worse, steps, margin, keep_every):  # type: ignore[no-untyped-def]
    """`none_goes_back`, and whether none predicts worse, or did so, or is to be kept."""
    for n in range(loss.shape[0]):
        if worse[n] > 0 or is_good(loss[n], steps[n], keep_every):
            return False
    return none_goes_back(state, loss, acted, worse, margin, 1)
