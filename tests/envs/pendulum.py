"""A pendulum of Gymnasium's interface and MuJoCo's physics, whose observations are a Dict and whose episodes have no end."""

from __future__ import annotations

import gymnasium
import mujoco
import numpy as np
from gymnasium import spaces

MASS, LENGTH, DAMPING = 2.0, 0.5, 0.05
INERTIA = MASS * LENGTH**2 + 0.01
"""kg m², about the hinge."""
MODEL = f"""
<mujoco>
  <option timestep="0.001" integrator="RK4"/>
  <worldbody>
    <body>
      <joint name="hinge" axis="0 1 0" damping="{DAMPING}"/>
      <inertial pos="0 0 {-LENGTH}" mass="{MASS}" diaginertia="0.01 0.01 0.01"/>
    </body>
  </worldbody>
</mujoco>
"""


class Pendulum(gymnasium.Env):
    action_space = spaces.Box(-1.0, 1.0, (1,), np.float32)
    observation_space = spaces.Dict({"angle": spaces.Box(-np.inf, np.inf, (1,))})
    dt = 0.01

    def __init__(self):
        self.model = mujoco.MjModel.from_xml_string(MODEL)
        self.data = mujoco.MjData(self.model)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        mujoco.mj_resetData(self.model, self.data)
        self.data.qpos[:] = 1e-3
        return self._observe(), {}

    def step(self, action):
        mujoco.mj_step(self.model, self.data, 10)
        return self._observe(), 0.0, False, False, {}

    def _observe(self):
        return {"angle": self.data.qpos.astype(np.float32)}
