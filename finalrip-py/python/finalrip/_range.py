"""Stretches of frames: what a caller says, and which frames of a clip that are."""

from __future__ import annotations

import builtins
import operator

from ._errors import ClipError, SettingError
from ._settings import refuse

type Range = builtins.range | slice | tuple[int | None, int | None]

# From, and up to but not including; None is the clip's own end, and below 0 counts from it.
type Ends = tuple[int | None, int | None]

_POSSIBLE = "two frame numbers, half open, as range(0, 240), slice(100, None) or (0, 240)"


def ends(frames: Range | None) -> Ends | None:
    """What a caller says, checked as far as that goes without the clip."""
    if frames is None:
        return None
    start: object
    stop: object
    step: object
    if isinstance(frames, (builtins.range, slice)):
        start, stop, step = frames.start, frames.stop, frames.step
    else:
        try:
            (start, stop), step = frames, None
        except (TypeError, ValueError):
            raise refuse("range", frames, _POSSIBLE) from None
    if step not in (None, 1):
        raise refuse("range", frames, "only whole stretches of frames can be taken, without a step")
    return _number(frames, start), _number(frames, stop)


def _number(frames: object, value: object) -> int | None:
    try:
        return None if value is None else operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        raise refuse("range", frames, _POSSIBLE) from None


def within(given: Ends | None, total: int) -> tuple[int, int] | None:
    """The first frame and one past the last one, of a clip of so many frames."""
    if given is None:
        return None
    first, last = given
    start = 0 if first is None else first + total if first < 0 else first
    stop = total if last is None else last + total if last < 0 else last
    said = f"{'' if first is None else first}..{'' if last is None else last}"
    if start < 0 or stop < 0:
        raise ClipError(f"the clip cannot be encoded: the range {said} begins before it, which has {total} frames")
    if start >= stop:
        raise SettingError(f"range cannot be {said}: no frame is in it; the clip has {total} frames")
    return start, stop
