"""Views of memory that the caller of a kernel holds, and room on the kernel's own stack: a pointer and a shape each.

numba's slices, its `reshape` and `np.empty` keep count of who holds what. A control step takes hundreds of them, and the counting was
a third of its time. So its kernels (`backend.lean`) have no count at all; these are what they make arrays with.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .backend import inlined, numba

CACHE_LINE = 64

if numba is not None:
    from numba import types
    from numba.core import cgutils
    from numba.core.errors import TypingError
    from numba.extending import intrinsic
    from numba.np.arrayobj import make_array, populate_array

    @intrinsic
    def view(typing, memory, begin, shape, dtype):
        """An array [*shape] from the `begin`-th number on of an array without gaps, or of an address: for arrays that outlive it,
        as a kernel's arguments do."""
        if isinstance(memory, types.Array) and not memory.is_contig:
            raise TypingError(f"a view is of memory without gaps, this array has layout {memory.layout!r}")

        def generate(context, builder, signature, arguments):
            made, held = signature.return_type, arguments[0]
            if isinstance(signature.args[0], types.Array):
                held = make_array(signature.args[0])(context, builder, held).data
            kind = context.get_data_type(made.dtype)
            first = builder.bitcast(builder.gep(held, [arguments[1]]), kind.as_pointer())
            return _array(context, builder, made, first, arguments[2])

        return _made(shape, dtype)(memory, types.intp, shape, dtype), generate

    @intrinsic
    def scratch(typing, shape, dtype):
        """An array [*shape] on the stack of the kernel that is running, of whatever was there: not to be returned, and not to be
        made in a loop."""

        def generate(context, builder, signature, arguments):
            made, count = signature.return_type, context.get_constant(types.intp, 1)
            for length in cgutils.unpack_tuple(builder, arguments[0]):
                count = builder.mul(count, length)
            room = builder.alloca(context.get_data_type(made.dtype), count)
            room.align = CACHE_LINE
            return _array(context, builder, made, room, arguments[0])

        return _made(shape, dtype)(shape, dtype), generate

    def _made(shape, dtype):
        return types.Array(dtype.dtype, len(shape), "C")

    def _array(context, builder, made, first, shape):
        """An array that begins at the pointer `first`, and is counted by nobody."""
        size = context.get_constant(types.intp, context.get_abi_sizeof(context.get_data_type(made.dtype)))
        lengths, strides = cgutils.unpack_tuple(builder, shape), [size]
        for length in reversed(lengths[1:]):
            strides.insert(0, builder.mul(strides[0], length))
        array = make_array(made)(context, builder)
        populate_array(array, data=first, shape=lengths, strides=strides, itemsize=size, meminfo=None)
        return array._getvalue()

else:

    def view(memory: np.ndarray, begin: int, shape: tuple[int, ...], dtype: Any) -> np.ndarray:  # type: ignore[misc]
        return memory.ravel()[begin:].view(dtype)[: np.prod(shape)].reshape(shape)

    def scratch(shape: tuple[int, ...], dtype: Any) -> np.ndarray:  # type: ignore[misc]
        return np.empty(shape, dtype)


@inlined
def vector(length):
    """`scratch` for so many float64 numbers."""
    return scratch((length,), np.float64)
