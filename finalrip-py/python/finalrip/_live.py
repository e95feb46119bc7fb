"""A live `VideoNode` on its way to the library."""

from __future__ import annotations

import atexit
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from ._errors import ClipError
from ._finalrip import CancelToken, Source

if TYPE_CHECKING:
    import vapoursynth as vs


# How long Python's end waits for encodes on daemon threads to stop, in seconds; the library needs 650 ms where a filter is stuck.
_PATIENCE = 2.0

# What runs: how to learn that it has ended, and how to stop it.
_running: dict[threading.Event, CancelToken] = {}


@contextmanager
def stopped_when_python_ends(cancel: CancelToken) -> Iterator[None]:
    """For a daemon thread: VapourSynth frees its core and all frames when Python ends, those too that an encoder is reading."""
    # What is registered last is called first, and VapourSynth may have been imported after this module.
    atexit.unregister(_stop)
    atexit.register(_stop)
    ended = threading.Event()
    _running[ended] = cancel
    try:
        yield
    finally:
        ended.set()
        del _running[ended]


def _stop() -> None:
    running = list(_running.items())
    for _, cancel in running:
        cancel.cancel()
    until = time.monotonic() + _PATIENCE
    for ended, _ in running:
        ended.wait(max(0.0, until - time.monotonic()))


def as_node(clip: object) -> vs.VideoNode | None:
    """The node, if it is one, or what `get_output` returns of one. Nothing is imported for anything else."""
    module: Any = sys.modules.get("vapoursynth")
    if module is None:
        return None
    clip = getattr(clip, "clip", clip) if isinstance(clip, getattr(module, "VideoOutputTuple", ())) else clip
    if isinstance(clip, module.RawNode) and not isinstance(clip, module.VideoNode):
        raise ClipError("the clip cannot be encoded: it is audio; only video can be encoded")
    return clip if isinstance(clip, module.VideoNode) else None


def source_of(node: vs.VideoNode) -> Source:
    """The node as the library takes it, in the environment of the caller."""
    import vapoursynth as vs

    if getattr(node, "gpu_resident", False):
        raise ClipError("the clip cannot be encoded: its frames are on the GPU; bring them back in the script")
    try:
        environment = vs.get_current_environment()
        # The one environment of a Python without a policy of its own is everybody's, on every thread.
        within = None if environment.single else environment
    except RuntimeError:
        within = None
    try:
        return Source(node, vs.core.core, within)
    except (ValueError, OverflowError) as error:
        raise ClipError(f"the clip cannot be encoded: {error}") from None
