from __future__ import annotations

import pickle
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from gymnasium import spaces

from undrift.agents.algorithms import replay
from undrift.agents.algorithms.replay import ReplayedSequences, SequenceReplayBuffer

ENVS, UNITS, GAMMA = 3, 2, 0.9
BOX = spaces.Box(-np.inf, np.inf, (3,), np.float32)
ACTIONS = spaces.Box(-1.0, 1.0, (2,), np.float32)


class Stream:
    """Steps of three environments in which an observation is (environment, episode, time in it)."""

    def __init__(self, dictionary: bool = False, **lengths: int) -> None:
        self.rng = np.random.default_rng(0)
        self.dictionary = dictionary
        space = spaces.Dict({"whose": spaces.Box(-np.inf, np.inf, (2,)), "time": spaces.Discrete(99)})
        lengths = {"seq_len": 5, "burn_in": 2, "n_steps": 1, "state_every": 3} | lengths
        size = lengths.pop("buffer_size", 180)
        self.buffer = SequenceReplayBuffer(
            size, space if dictionary else BOX, ACTIONS, "cpu", ENVS, gamma=GAMMA, **lengths
        )
        self.buffer.allocate_states(UNITS)
        self.lengths = [[int(self.rng.integers(1, 12)) for _ in range(99)] for _ in range(ENVS)]
        self.episode, self.time = np.zeros(ENVS, int), np.zeros(ENVS, int)

    def observe(self, time: np.ndarray) -> np.ndarray | dict[str, np.ndarray]:
        obs = np.stack([np.arange(ENVS), self.episode, time], 1).astype(np.float32)
        return {"whose": obs[:, :2], "time": time} if self.dictionary else obs

    def run(self, steps: int) -> Stream:
        for _ in range(steps):
            key = self.code(np.arange(ENVS), self.episode, self.time)
            done = np.array([self.time[i] + 1 == self.lengths[i][self.episode[i]] for i in range(ENVS)])
            infos = [{"TimeLimit.truncated": bool(done[i] and self.truncated(i, self.episode[i]))} for i in range(ENVS)]
            self.buffer.begin_step(torch.tensor(key)[:, None].expand(-1, UNITS), self.time == 0)
            obs, next_obs = self.observe(self.time), self.observe(self.time + 1)
            self.buffer.add(obs, next_obs, np.stack([key, -key], 1), self.reward(key), done, infos)
            self.time = np.where(done, 0, self.time + 1)
            self.episode += done
        return self

    def code(self, env, episode, time):
        return 10_000.0 * env + 100.0 * episode + time

    def reward(self, key):
        return np.sin(key)

    def truncated(self, env: int, episode: int) -> bool:
        return (env + episode) % 2 == 0

    def steps(self, batch: ReplayedSequences) -> Iterator[tuple[int, int, int, int, int]]:
        """(step, sequence, environment, episode, time) of all observations of a batch."""
        obs = batch.observations
        if self.dictionary:
            obs = torch.cat([obs["whose"], obs["time"][..., None].float()], -1)
        for (t, b), row in zip(np.ndindex(*obs.shape[:2]), obs.reshape(-1, 3).int().tolist(), strict=True):
            yield t, b, *row


@pytest.mark.parametrize("n_steps", [1, 3])
@pytest.mark.parametrize("steps", [20, 60, 137])
@pytest.mark.parametrize("dictionary", [False, True])
def test_sequences_hold_consecutive_steps_with_their_returns_and_what_follows_them(n_steps, steps, dictionary):
    stream = Stream(dictionary, n_steps=n_steps).run(steps)
    np.random.seed(0)
    batch = stream.buffer.sample(5 * 200)
    at = {(t, b): (env, episode, time) for t, b, env, episode, time in stream.steps(batch)}
    assert batch.actions.shape == (5, 200, 2) and max(at) == (2 + 5 + n_steps - 1, 199)
    taken = 0
    for (t, b), (env, episode, time) in at.items():
        length = stream.lengths[env][episode]
        assert batch.episode_starts[t, b] == (time == 0)
        if (t + 1, b) in at:
            assert at[t + 1, b] == ((env, episode, time + 1) if time < length else (env, episode + 1, 0))
        if not 2 <= t < 7:
            continue
        learnt = t - 2, b
        assert (batch.weights[learnt] > 0) == (time < length)
        if time == length:
            continue
        taken += 1
        count = min(n_steps, length - time)
        rewards = [GAMMA**k * stream.reward(stream.code(env, episode, time + k)) for k in range(count)]
        over = time + count == length and not stream.truncated(env, episode)
        assert at[int(batch.successors[learnt]) + 2, b] == (env, episode, time + count)
        assert batch.rewards[learnt].item() == pytest.approx(sum(rewards), abs=1e-5)
        assert batch.discounts[learnt].item() == pytest.approx(0.0 if over else GAMMA**count, abs=1e-6)
        assert batch.actions[learnt].tolist() == [stream.code(env, episode, time), -stream.code(env, episode, time)]
    assert taken > 0 and batch.weights.sum().item() == pytest.approx(1.0, abs=1e-5)
    assert batch.weights.max() == pytest.approx(1 / taken)


def test_a_sequence_comes_with_the_memory_before_its_first_observation():
    stream = Stream().run(137)
    batch = stream.buffer.sample(5 * 200)
    begun = [(b, *where) for t, b, *where in stream.steps(batch) if t == 0]
    # from the last observation of an episode on, nothing depends on the memory
    within = [(b, env, episode, time) for b, env, episode, time in begun if time < stream.lengths[env][episode]]
    assert len(within) > 100
    for b, *where in within:
        assert batch.states[b].tolist() == [stream.code(*where)] * UNITS


@pytest.mark.parametrize("steps", [40, 137])
def test_all_that_is_stored_is_drawn_but_for_the_edges(steps):
    stream = Stream().run(steps)
    buffer = stream.buffer
    drawn = {where for t, _, *where in stream.steps(buffer.sample(5 * 3000)) if 2 <= t < 7 for where in [tuple(where)]}
    stored = {
        tuple(int(number) for number in buffer.observations[row % buffer.buffer_size, env])
        for env in range(ENVS)
        for row in range(max(buffer.written[env] - buffer.buffer_size, 0), buffer.written[env])
    }
    assert drawn <= stored and len(stored - drawn) <= ENVS * (2 + 1 + 2 * (3 - 1))


def test_it_holds_no_more_than_it_says_and_says_how_much_that_is(monkeypatch):
    buffer = SequenceReplayBuffer(1000, BOX, ACTIONS, "cpu", 2, state_every=8)
    buffer.allocate_states(64)
    assert buffer.buffer_size == 504
    assert buffer.nbytes == 2 * 504 * (4 * (3 + 2 + 1 + 64 / 8) + 2)
    assert Stream().run(137).buffer.size() == 60

    class Full:
        @staticmethod
        def virtual_memory():
            return type("Memory", (), {"available": 1000})

    monkeypatch.setattr(replay, "psutil", Full)
    with pytest.warns(UserWarning, match="the replay buffer needs 0.00 GB, 0.00 GB are free; take a smaller buffer"):
        buffer.allocate_states(64)


def test_a_pickled_buffer_draws_the_same():
    buffer = Stream(dictionary=True).run(50).buffer
    batches = []
    for one in (buffer, pickle.loads(pickle.dumps(buffer))):
        np.random.seed(1)
        batches.append(one.sample(20))
    for one, other in zip(*batches, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0)


def test_nothing_is_drawn_before_a_whole_sequence_is_stored():
    stream = Stream()
    stream.lengths = [[99]] * ENVS
    with pytest.raises(ValueError, match="no sequence of 8 steps is stored yet"):
        stream.run(7).buffer.sample(5)
    assert not stream.buffer.ready and stream.run(1).buffer.ready
    stream.buffer.reset()
    assert not stream.buffer.ready and stream.buffer.size() == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"optimize_memory_usage": True}, "store every observation once already"),
        ({"seq_len": 0}, "seq_len must be at least 1, got 0"),
        ({"burn_in": -1}, "burn_in must be at least 0, got -1"),
        ({"n_steps": 0}, "n_steps must be at least 1, got 0"),
        ({"state_every": 0}, "state_every must be at least 1, got 0"),
        ({"seq_len": 200}, "too small for sequences of 205 steps; it needs at least 426"),
    ],
)
def test_lengths_that_cannot_be_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        SequenceReplayBuffer(200, BOX, ACTIONS, "cpu", 2, **arguments)
