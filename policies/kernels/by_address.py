"""Calling compiled code by its address: a kernel that named another, or were given it, would be compiled for that one alone.

So a policy can be asked within kernels that know of no cell. A cell's `single` is its `step` for one vehicle, from the addresses of
the policy (`whole`) and of the vehicle's observation, elapsed time, state and action (`vehicle`).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np

from .backend import HELPERS, LEAN, helper, inlined, kept_until_changed, numba
from .packed import by_rows, integer, integers, real, singles
from .views import view

if numba is not None:
    from llvmlite import ir
    from numba import types
    from numba.extending import intrinsic

    _DOUBLES, _SINGLES = types.CPointer(types.float64), types.CPointer(types.float32)
    _SIGNATURE = (_DOUBLES, _DOUBLES, _DOUBLES, _SINGLES, _DOUBLES), types.void

    @intrinsic
    def call(context, address, policy, observation, dt, state, action):
        """Call what `address_of` found, with the addresses of arrays."""

        def generate(context, builder, signature, arguments):
            kinds = [context.get_value_type(each) for each in signature.args[1:]]
            function = ir.FunctionType(ir.VoidType(), kinds).as_pointer()
            builder.call(builder.inttoptr(arguments[0], function), arguments[1:])
            return context.get_dummy_value()

        return types.void(*[types.int64] * 6), generate

else:
    call = None  # type: ignore[assignment]
    """Nothing has an address then."""


@inlined
def whole(policy):
    """The policy of this address, packed (`PreparedCell.single_step`): numbers of channels, of states and of actions, and what its
    cell's `step` takes before the arguments of a `vehicle`."""
    return view(policy, 0, (int(view(policy, 0, (1,), np.float64)[0]),), np.float64)


@helper
def vehicle(packed, observation, dt, state, action):
    """The last arguments of `step`, of one vehicle and the policy that was packed."""
    inputs, states, actions = integer(packed, 0), integer(packed, 1), integer(packed, 2)
    return (
        view(observation, 0, (1, inputs), np.float64),
        view(dt, 0, (1,), np.float64),
        view(state, 0, (1, states), np.float32),
        view(action, 0, (1, actions), np.float64),
    )


@helper
def period_and_actor(packed, k):
    """The arguments of `step` between those of the cell and the last ones, of which the first is the k-th that was packed."""
    squash, shown = integer(packed, k + 4) != 0, integer(packed, k + 5)
    sizes = by_rows(integers(packed, k + 3), 2)
    return real(packed, k), singles(packed, k + 1), singles(packed, k + 2), sizes, squash, shown


@cache
def _compiled(single: Callable[..., None]) -> Any:
    """A cell's `single`, kept on disk as a `kernel` is, and in memory as long as the process: its address may be in use."""
    from numba.core.ccallback import CFunc

    compiled: Any = CFunc(single, _SIGNATURE, locals={}, options=dict(LEAN))
    compiled.enable_caching()
    kept_until_changed(compiled, HELPERS)
    compiled.compile()
    return compiled


def address_of(single: Callable[..., None]) -> int:
    """Where the compiled code of a cell's `single` is in this process."""
    address: int = _compiled(single).address
    return address
