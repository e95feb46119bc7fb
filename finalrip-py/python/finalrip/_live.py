"""A live `VideoNode` on its way to the library."""

from __future__ import annotations

import dataclasses
import queue
import shlex
import sys
import threading
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager, suppress
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from ._command import EncodeCommand
from ._errors import ClipError, CommandError, as_cancelled
from ._finalrip import CancelToken, Source

if TYPE_CHECKING:
    import vapoursynth as vs
else:
    from ._lazy import vs


# How long an environment's end waits for its encodes to stop, in seconds; the library needs 650 ms where a filter is stuck.
_PATIENCE = 2.0

# How often a token, and whether anybody still listens, is looked at, in seconds.
_POLL = 0.05


@contextmanager
def stopped_with_the_environment(cancel: CancelToken, ended: threading.Event | None = None) -> Iterator[None]:
    """Stop an encode before the caller's environment is destroyed, as previewers do to reload, and Python at its end.

    VapourSynth frees the core and all frames then, those too that an encoder is reading. `ended` is set when the encode has
    stopped; by default that is when the block ends.
    """
    import vapoursynth as vs

    ended = ended or threading.Event()

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


def alpha_of(clip: object) -> vs.VideoNode | None:
    """The alpha that was set beside a clip, if it is what `get_output` returns and has one."""
    module: Any = sys.modules.get("vapoursynth")
    return getattr(clip, "alpha", None) if isinstance(clip, getattr(module, "VideoOutputTuple", ())) else None


def source_of(node: vs.VideoNode, alpha: vs.VideoNode | None = None) -> Source:
    """The node as the library takes it, with its alpha, in the environment of the caller."""
    import vapoursynth as vs

    if getattr(node, "gpu_resident", False) or getattr(alpha, "gpu_resident", False):
        raise ClipError("the clip cannot be encoded: its frames are on the GPU; bring them back in the script")
    try:
        environment = vs.get_current_environment()
        # The one environment of a Python without a policy of its own is everybody's, on every thread.
        within = None if environment.single else environment
    except RuntimeError:
        within = None
    try:
        return Source(node, vs.core.core, within, alpha)
    except (ValueError, OverflowError) as error:
        raise ClipError(f"the clip cannot be encoded: {error}") from None


def events(work: Callable[[CancelToken, Callable[[str], object]], str], cancel: CancelToken) -> Generator[str, None, str]:
    """Do `work` on a thread. What it tells comes as JSON; the report, as JSON, is the generator's value. Closing it stops
    the work, which waits until the next event is asked for.
    """
    own = CancelToken()
    ended = threading.Event()
    thread = _Work(work, own, ended)
    with stopped_with_the_environment(own, ended):
        thread.start()
        try:
            while True:
                if cancel.cancelled:
                    own.cancel()
                try:
                    event = thread.told.get(timeout=_POLL)
                except queue.Empty:
                    continue
                if event is None:
                    return thread.result()
                yield event
                thread.answered.release()
        except KeyboardInterrupt as interrupt:
            own.cancel()
            ended.wait()
            # Where the file is in place, nothing was cancelled.
            raise interrupt if thread.report is not None else as_cancelled(interrupt)
        finally:
            own.cancel()
            thread.join()


class _Work(threading.Thread):
    """Work that tells what happens, and waits each time until that is heard, or nobody listens any more."""

    def __init__(
        self, work: Callable[[CancelToken, Callable[[str], object]], str], own: CancelToken, ended: threading.Event
    ) -> None:
        super().__init__(name="finalrip-live")
        self.told: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self.answered = threading.Semaphore(0)
        self.report: str | None = None
        self._error: BaseException | None = None
        self._work = work
        self._own = own
        self._ended = ended

    def run(self) -> None:
        try:
            self.report = self._work(self._own, self._tell)
        except BaseException as error:
            self._error = error
        self._ended.set()
        self.told.put(None)

    def _tell(self, event: str) -> None:
        self.told.put(event)
        while not self.answered.acquire(timeout=_POLL):
            if self._own.cancelled:
                return

    def result(self) -> str:
        if self._error is not None:
            raise self._error
        assert self.report is not None, "work that has ended has a report or an error"
        return self.report


def hushed(command: str) -> str:
    """The command, with x265 told to write nothing to standard error. Other encoders log through libav, or are left as they are."""
    read = EncodeCommand.parse(command)
    if read.encoder != "libx265" or "log-level" in command or "log=" in command:
        return command
    words = shlex.split(command)
    if PurePath(words[0].replace("\\", "/")).name.removesuffix(".exe") == "x265":
        return shlex.join([words[0], "--log-level", "none", *words[1:]])
    parameters = ":".join(filter(None, [read.options.get("x265-params"), "log-level=none"]))
    try:
        return dataclasses.replace(read, options={**read.options, "x265-params": parameters}).text
    except CommandError:
        return command
