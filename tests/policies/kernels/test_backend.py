from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import undrift
from undrift.policies import CELLS, CfC, DeployedPolicy
from undrift.policies.kernels import backend, cfc

WITHOUT_NUMBA = """
import os, sys, warnings
{cause}
import numpy as np
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    from undrift.policies import DeployedPolicy
    policy = DeployedPolicy.load(sys.argv[1])
    state = policy.initial_state(2)
    for _ in range(3):
        action, state = policy.step(np.ones((2, policy.input_size)), state, np.full(2, 0.02))
    assert "torch" not in sys.modules
    import torch
    from undrift.policies import CELLS, make_cell
    from undrift.policies.prepared import prepared
    for name in CELLS:
        cell = make_cell({{"cell": name}}, input_size=3, units=4)
        x, dt = torch.randn(5, 2, 3), cell.period * (0.5 + torch.rand(5, 2))
        with torch.no_grad():
            y, _ = cell.sequence(x, cell.initial_state(2), dt)
        steps = prepared(cell)
        h = steps.initial_state(2)
        for t in range(5):
            h = steps.step(x[t].numpy(), h, dt[t].numpy())
            np.testing.assert_allclose(steps.output(h), y[t].numpy(), atol=1e-5, err_msg=name)
assert [warning.category for warning in caught] == [RuntimeWarning], [str(warning.message) for warning in caught]
assert "numba" in str(caught[0].message) and "backend='torch'" in str(caught[0].message)
try:
    make_cell({{"cell": "cfc"}}, input_size=3, units=4, backend="numba").sequence(x, torch.zeros(2, 4))
except RuntimeError as error:
    assert "choose 'auto' or 'torch'" in str(error)
else:
    raise AssertionError("backend='numba' must not fall back")
np.save(sys.argv[2], action)
"""


def run(program: str, *arguments: str, **environment: str) -> str:
    """What the program prints."""
    process = subprocess.run(
        [sys.executable, "-c", program, *arguments],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.returncode == 0, process.stderr
    return process.stdout


@pytest.mark.parametrize(
    "cause", ['sys.modules["numba"] = None', 'os.environ["NUMBA_DISABLE_JIT"] = "1"'], ids=["missing", "disabled"]
)
def test_without_numba_every_cell_computes_and_every_step_is_taken_and_one_warning_says_so(
    tmp_path: Path, cause: str
) -> None:
    reference = Path(undrift.__file__).parent / "agents" / "reference"
    run(WITHOUT_NUMBA.format(cause=cause), str(reference), str(tmp_path / "action.npy"))
    policy = DeployedPolicy.load(reference)
    state = policy.initial_state(2)
    for _ in range(3):
        action, state = policy.step(np.ones((2, policy.input_size)), state, np.full(2, 0.02))
    np.testing.assert_allclose(np.load(tmp_path / "action.npy"), action, atol=1e-5)


def test_kernels_that_do_not_compile_leave_the_sequence_to_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(dtype: str) -> None:
        raise OSError("no space left on device")

    cell = CfC(3, 4)
    x = torch.ones(5, 2, 3)
    expected, _ = cell.sequence(x, cell.initial_state(2))
    monkeypatch.setattr(cfc, "compile_for", fail)
    backend.available.cache_clear()
    with pytest.warns(RuntimeWarning, match="OSError: no space left on device"):
        y, _ = cell.sequence(x, cell.initial_state(2))
    torch.testing.assert_close(y, expected)
    backend.available.cache_clear()


def test_every_cell_has_kernels_that_can_be_compiled_ahead() -> None:
    assert set(backend.KERNELS) == set(CELLS)
    progress: list[tuple[int, int]] = []
    backend.compile_kernels(progress=lambda done, total: progress.append((done, total)))
    count = len(backend.KERNELS) + 1
    assert progress == [(done, count) for done in range(count + 1)]
    assert all(backend.available(name, "float32") for name in (*backend.KERNELS, "actor"))


def test_the_kernels_load_without_torch() -> None:
    modules = ", ".join(f"undrift.policies.kernels.{name}" for name in backend.KERNELS)
    run(f"import sys, {modules}; assert not {{'torch', 'stable_baselines3'}} & set(sys.modules)")


def test_compiled_kernels_are_kept_until_their_helpers_change(tmp_path: Path) -> None:
    kernels = tmp_path / "kernels"
    kernels.mkdir()
    (kernels / "backend.py").write_text(Path(backend.__file__).read_text())
    for name in ("__init__.py", "actor.py", "by_address.py", "packed.py", "views.py"):
        (kernels / name).touch()
    (kernels / "cell.py").write_text(
        "from .arithmetic import double\nfrom .backend import kernel\n@kernel\ndef apply(x):\n    return double(x)\n"
    )
    program = "from kernels.cell import apply; print(apply(1.0), sum(apply.stats.cache_hits.values()))"
    printed = []
    for factor in (2.0, 2.0, 3.0):
        (kernels / "arithmetic.py").write_text(
            f"from .backend import helper\n@helper\ndef double(x):\n    return {factor} * x\n"
        )
        # Python's own cache would not notice a change within the same second that leaves the size.
        printed.append(run(program, PYTHONPATH=str(tmp_path), PYTHONDONTWRITEBYTECODE="1").split())
    assert printed == [["2.0", "0"], ["2.0", "1"], ["3.0", "0"]]
