"""Arguments that may be given as objects, or as the fields that they are written by in JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any, TypeVar

Kind = TypeVar("Kind")


def from_fields(kind: type[Kind], given: Kind | Mapping[str, Any] | None, what: str) -> Kind | None:
    """What is `given`, or if that is a mapping, the dataclass `kind` of those fields; None stays None.

    Raises:
        ValueError: `what` ("a clock") has no such field; or one is out of range.
    """
    if not isinstance(given, Mapping):
        return given
    known = [f.name for f in fields(kind)]  # type: ignore[arg-type]
    if unknown := sorted(set(given) - set(known)):
        raise ValueError(f"{what} has no {unknown[0]!r}; it has: {', '.join(known)}.")
    return kind(**given)
