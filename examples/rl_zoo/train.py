"""rl_zoo3's own command line with undrift's algorithms beside its own: liquid_ppo, liquid_a2c, liquid_sac, liquid_td3.

python examples/rl_zoo/train.py --algo liquid_ppo --env CartPoleNoVel-v1 --conf-file examples/rl_zoo/liquid_ppo.yml
"""

import rl_zoo3
from rl_zoo3.train import train

from undrift.agents.algorithms import ALGORITHMS

rl_zoo3.ALGOS.update({f"liquid_{name.lower()}": algorithm for name, algorithm in ALGORITHMS.items()})

if __name__ == "__main__":
    train()
