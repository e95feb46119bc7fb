"""What a live clip is, in short: whether a rip that is taken up again has the same clip before it."""

from __future__ import annotations

import hashlib
import os
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

from ._errors import Cancelled, FrameError
from ._finalrip import CancelToken

if TYPE_CHECKING:
    import vapoursynth as vs
else:
    from ._lazy import vs

# How many frames are made for it, spread evenly, and how many of them at the same time.
_FRAMES = 12
_AT_ONCE = 3

# How often a token is looked at while a frame is made, in seconds.
_POLL = 0.05

# What of a frame's properties ends up in the file.
_PROPERTIES = (
    *("_DurationNum", "_DurationDen", "_SARNum", "_SARDen", "_Matrix", "_Transfer", "_Primaries", "_Range"),
    *("_ChromaLocation", "_FieldBased", "MasteringDisplayPrimariesX", "MasteringDisplayPrimariesY"),
    *("MasteringDisplayWhitePointX", "MasteringDisplayWhitePointY", "MasteringDisplayMinLuminance"),
    *("MasteringDisplayMaxLuminance", "ContentLightLevelMax", "ContentLightLevelAverage"),
)


def of_clip(node: vs.VideoNode, frames: tuple[int, int] | None, cancel: CancelToken) -> str:
    """The clip's format, size, length and rate, and twelve of its frames, planes and properties, as a text.

    A change that shows in none of these frames is not noticed.
    """
    start, end = frames or (0, node.num_frames)
    end = min(end, node.num_frames)
    numbers = sorted({start + (end - start) * (2 * part + 1) // (2 * _FRAMES) for part in range(_FRAMES)}) if start < end else []
    about = f"{node.format}, {node.width}x{node.height}, {node.num_frames} frames, {node.fps}"
    digests = []
    for first in range(0, len(numbers), _AT_ONCE):
        group = numbers[first : first + _AT_ONCE]
        pending: list[Future[Any]] = [node.get_frame_async(number) for number in group]
        digests += [f"{number}: {_digest(number, future, cancel)}" for number, future in zip(group, pending, strict=True)]
    return "\n".join(["a live clip", " ".join(about.split()), *digests])


def of_nothing() -> str:
    """The fingerprint of a rip that no later one shall take up."""
    return f"a live clip that is like no other: {os.urandom(16).hex()}"


def _digest(number: int, pending: Future[Any], cancel: CancelToken) -> str:
    frame = _awaited(number, pending, cancel)
    digest = hashlib.sha256()
    with frame:
        for plane in range(frame.format.num_planes):
            digest.update(memoryview(frame[plane]).tobytes())
        # By membership first: what is obsolete warns when it is read.
        said = [(name, frame.props[name]) for name in _PROPERTIES if name in frame.props]
        digest.update(repr(said).encode())
    return digest.hexdigest()


def _awaited(number: int, pending: Future[Any], cancel: CancelToken) -> Any:
    while True:
        if cancel.cancelled:
            raise Cancelled("the rip was cancelled")
        try:
            return pending.result(_POLL)
        except TimeoutError:
            if pending.done():
                raise
        except Exception as error:
            failed = FrameError(f"frame {number} failed: {error}")
            failed.frame, failed.traceback = number, str(error)
            raise failed from error
