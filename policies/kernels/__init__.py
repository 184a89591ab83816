"""Compiled (numba) twins of the cells; numpy and numba only."""
