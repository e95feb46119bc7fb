"""A live `VideoNode` on its way to the library."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from ._errors import ClipError
from ._finalrip import CancelToken, Source

if TYPE_CHECKING:
    import vapoursynth as vs


# How long an environment's end waits for its encodes to stop, in seconds; the library needs 650 ms where a filter is stuck.
_PATIENCE = 2.0


@contextmanager
def stopped_with_the_environment(cancel: CancelToken) -> Iterator[None]:
    """Stop an encode before the caller's environment is destroyed, as previewers do to reload, and Python at its end.

    VapourSynth frees the core and all frames then, those too that an encoder is reading.
    """
    import vapoursynth as vs

    ended = threading.Event()

    def stop() -> None:
        cancel.cancel()
        ended.wait(_PATIENCE)

    vs.register_on_destroy(stop)
    try:
        yield
    finally:
        ended.set()
        # An environment that is being destroyed has no such list any more.
        with suppress(ValueError, RuntimeError):
            vs.unregister_on_destroy(stop)


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
