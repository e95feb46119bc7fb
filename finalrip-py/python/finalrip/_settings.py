"""Settings, checked where they are given: what is wrong is said with the argument's name, its value and what is possible."""

from __future__ import annotations

import math
import operator
import os
from collections.abc import Iterable

from ._errors import SettingError


def refuse(name: str, value: object, possible: str) -> SettingError:
    """The exception for an argument that cannot have this value."""
    return SettingError(f"{name} cannot be {value!r}: {possible}")


def whole(name: str, value: object, least: int) -> int:
    """A whole number; numpy's are ones too, and truth values are none."""
    possible = f"a whole number, {least} or more"
    try:
        number = operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        raise refuse(name, value, possible) from None
    # As many as fit into 32 bits are more than enough of anything here.
    if isinstance(value, bool) or not least <= number < 1 << 32:
        raise refuse(name, value, possible)
    return number


def whole_or_none(name: str, value: object, least: int) -> int | None:
    """A whole number, or None for the default."""
    return None if value is None else whole(name, value, least)


def flag(name: str, value: object) -> bool:
    """A truth value. Text is none: "no" would mean yes."""
    if value is True or value is False:
        return value
    if type(value).__module__ == "numpy" and type(value).__name__.startswith("bool"):
        return bool(value)
    raise refuse(name, value, "True or False")


def seconds(name: str, value: object) -> float:
    """A length of time."""
    possible = "seconds, 0 or more"
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        raise refuse(name, value, possible) from None
    if isinstance(value, (str, bool)) or not (number >= 0 and math.isfinite(number)):
        raise refuse(name, value, possible)
    return number


def choice(name: str, value: object, possible: Iterable[str]) -> str:
    """One of a few words."""
    words = list(possible)
    if not isinstance(value, str) or value not in words:
        quoted = [f'"{word}"' for word in words]
        raise refuse(name, value, f"{', '.join(quoted[:-1])} or {quoted[-1]}")
    return value


def path(name: str, value: object) -> str:
    """A path as text, absolute. What is not UTF-8 is kept."""
    if not isinstance(value, (str, os.PathLike)):
        raise TypeError(f"{name} must be a str or an os.PathLike, not {type(value).__name__}")
    text = os.fsdecode(value)
    if not text:
        raise refuse(name, value, "the name of a file")
    if "\0" in text:
        raise refuse(name, value, "a path without a NUL character")
    return os.path.abspath(text)
