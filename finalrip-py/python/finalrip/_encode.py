"""One encode: a clip's frames into one finished file."""

from __future__ import annotations

import asyncio
import builtins
import concurrent.futures
import contextvars
import json
import os
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Literal

from . import _finalrip, _live, _process
from ._command import EncodeCommand, checked
from ._errors import Cancelled, ClipError, SettingError
from ._events import Progress, read_progress
from ._finalrip import CancelToken
from ._progress import Listener, listener
from ._reports import EncodeReport
from ._script import Script, as_script

if TYPE_CHECKING:
    import vapoursynth as vs

type Range = builtins.range | slice | tuple[int, int]
type Timing = Literal["auto", "constant", "variable"]

# How often a thread that waits for an event loop looks whether it is still there, in seconds.
_POLL = 0.1


def encode(
    clip: vs.VideoNode | str | os.PathLike[str],
    output: str | os.PathLike[str],
    command: str | EncodeCommand,
    *,
    progress: Listener[Progress] = None,
    progress_interval: float = 0.1,
    range: Range | None = None,
    ignore_props: bool = False,
    timing: Timing = "auto",
    requests: int | None = None,
    cancel: CancelToken | None = None,
    source: str | os.PathLike[str] | None = None,
    args: Mapping[str, str] | None = None,
    output_index: int = 0,
) -> EncodeReport:
    """Encode a clip's frames into `output`, and return a report.

    `clip` is a live `VideoNode`, a script's path, or a script's text, which is a `str` with a line break in it. A live clip is
    encoded in this process: planes are read where they lie, a frame is held until libav has done with it, and the GIL is free
    meanwhile. A script is evaluated in a process of its own, so that this one's VapourSynth is left alone.

    The container follows from the command's `-f` or the extension of `output`. The file appears under its name when it is
    complete; on any error, and on Ctrl-C, which raises `Cancelled` within a second, none is left.

    - `progress`: True for a bar (tqdm), or a callable that gets a `Progress` on the calling thread; what it raises stops the
      encode and is raised here. `progress_interval`: the least time between two calls, in seconds.
    - `range`: the frames to take, half open: `range(0, 240)`, `slice(100, None)` or `(0, 240)`. Default: all.
    - `ignore_props`: leave colour, aspect, field order, HDR metadata and durations of the frames aside, as a y4m pipe would.
    - `timing`: where timestamps come from; "auto" takes the clip's constant rate unless its frames say otherwise.
    - `requests`: frames requested ahead, those that wait for the encoder included. Default: the core's threads and two.
    - `cancel`: stops the encode from another thread.
    - `source`, `args`, `output_index`: for scripts only: what they read as `os.environ["FINALRIP_SOURCE"]`, variables of their
      namespace, and which output to take.
    """
    text = checked(command)
    token = cancel or CancelToken()
    node = _live.as_node(clip)
    if node is not None and (source is not None or args or output_index):
        raise TypeError("source, args and output_index are for scripts; this clip is evaluated already")
    script = None if node is not None else as_script(clip, source, args, output_index)
    with listener(progress) as told:
        listen = None if told is None else lambda text: told(read_progress(text))
        if node is not None:
            frames = node.num_frames
            settings = _settings(range, frames, ignore_props, timing, requests, progress_interval)
            live = _live.source_of(node)
            with _live.stopped_with_the_environment(token):
                report = _finalrip.encode(live, text, os.path.abspath(output), json.dumps(settings), token, listen)
        else:
            assert script is not None
            settings = _settings(range, None, ignore_props, timing, requests, progress_interval)
            report = _process.run(_process.events("encode", script, text, output, settings, token), listen)
    return EncodeReport.from_wire(json.loads(report))


async def encode_async(
    clip: vs.VideoNode | str | os.PathLike[str],
    output: str | os.PathLike[str],
    command: str | EncodeCommand,
    *,
    progress: Listener[Progress] = None,
    cancel: CancelToken | None = None,
    **options: Any,
) -> EncodeReport:
    """`encode` for asyncio: it runs on a thread, and a callable `progress` is called in the event loop.

    Cancelling the task stops the encode, and is over when that has stopped. `cancel` raises `asyncio.CancelledError` here,
    because a `KeyboardInterrupt` would end the event loop.
    """

    def work(token: CancelToken, told: Listener[Progress]) -> EncodeReport:
        return encode(clip, output, command, progress=told, cancel=token, **options)

    return await in_thread(work, progress, cancel)


async def in_thread[T, P](
    work: Callable[[CancelToken, Listener[P]], T], progress: Listener[P], cancel: CancelToken | None
) -> T:
    """Run `work` on a thread; cancelling the task uses its token, and waits for it."""
    token = cancel or CancelToken()
    loop = asyncio.get_running_loop()

    def told(what: P) -> object:
        assert callable(progress)
        ended = asyncio.run_coroutine_threadsafe(_call(progress, what), loop)
        while True:
            try:
                return ended.result(_POLL)
            except TimeoutError:
                # A loop that stands still may go on, but not when it is closed or Python ends.
                if ended.done():
                    raise
                if loop.is_closed() or not threading.main_thread().is_alive():
                    raise Cancelled("the event loop that was to be told has ended") from None

    listener = told if callable(progress) and not isinstance(progress, bool) else progress

    ended: concurrent.futures.Future[T | Cancelled] = concurrent.futures.Future()

    def run() -> None:
        try:
            ended.set_result(work(token, listener))
        except Cancelled as cancelled:
            # A KeyboardInterrupt must not pass through an event loop, which would end with it.
            ended.set_result(cancelled)
        except BaseException as error:
            ended.set_exception(error)

    # A thread of its own: the loop's executor has few, and the rest of the program needs them.
    context = contextvars.copy_context()
    threading.Thread(target=context.run, args=(run,), name="finalrip-async").start()
    running = asyncio.wrap_future(ended)
    try:
        result = await asyncio.shield(running)
    except asyncio.CancelledError:
        token.cancel()
        while not running.done():
            # It may be cancelled again.
            with suppress(asyncio.CancelledError):
                await asyncio.wait([running])
        raise
    if isinstance(result, Cancelled):
        raise asyncio.CancelledError(str(result)) from result
    return result


async def _call[P](progress: Callable[[P], object], what: P) -> object:
    return progress(what)


def _settings(
    range: Range | None,
    frames: int | None,
    ignore_props: bool,
    timing: Timing,
    requests: int | None,
    interval: float,
) -> dict[str, Any]:
    return {
        "range": bounds(range, frames),
        "ignore_props": bool(ignore_props),
        "timing": timing,
        "requests": requests,
        "interval": interval,
    }


def bounds(frames: Range | None, total: int | None) -> tuple[int, int] | None:
    """The first frame and one past the last one. What counts from the end needs the clip's length."""
    if frames is None:
        return None
    if isinstance(frames, builtins.range):
        frames = slice(frames.start, frames.stop, frames.step)
    if not isinstance(frames, slice):
        start, stop = frames
        frames = slice(start, stop)
    if frames.step not in (None, 1):
        raise SettingError(f"range cannot be {frames}: only whole stretches of frames can be taken")
    start, stop = frames.start or 0, frames.stop
    if total is not None:
        stop = total if stop is None else stop + total if stop < 0 else stop
        start = start + total if start < 0 else start
    if total is not None and (start < 0 or stop < 0):
        raise ClipError(f"the clip cannot be encoded: the range {frames} begins before it, which has {total} frames")
    if stop is None or start < 0 or stop < 0:
        raise SettingError(f"range cannot be {frames}: a script's frames are not counted yet, name the first and the last")
    return start, stop
