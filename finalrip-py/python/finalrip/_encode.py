"""One encode: a clip's frames into one finished file."""

from __future__ import annotations

import concurrent.futures
import contextvars
import inspect
import json
import os
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Literal, TypedDict, Unpack

from . import _finalrip, _live, _process
from ._command import Command, checked
from ._errors import Cancelled
from ._events import Progress, read_progress
from ._finalrip import CancelToken
from ._log import Log
from ._progress import Listener, listener
from ._range import Range, ends, within
from ._reports import EncodeReport
from ._script import as_script
from ._settings import choice, flag, seconds, whole_or_none
from ._sink import Output, opened

if TYPE_CHECKING:
    import asyncio

    import vapoursynth as vs
else:
    from ._lazy import vs

type Timing = Literal["auto", "constant", "variable"]

# How often a thread that waits for an event loop looks whether it is still there, in seconds.
_POLL = 0.1


class EncodeOptions(TypedDict, total=False):
    """The options of `encode` by their names, for `encode_async` and for those who keep them in a dictionary."""

    progress_interval: float
    range: Range | None
    ignore_props: bool
    timing: Timing
    requests: int | None
    quiet: bool
    source: str | os.PathLike[str] | None
    args: Mapping[str, str] | None
    output_index: int
    threads: int | None
    cache: int | None


def encode(
    clip: vs.VideoNode | vs.VideoOutputTuple | str | os.PathLike[str],
    output: Output,
    command: Command,
    *,
    progress: Listener[Progress] = None,
    progress_interval: float = 0.1,
    range: Range | None = None,
    ignore_props: bool = False,
    timing: Timing = "auto",
    requests: int | None = None,
    cancel: CancelToken | None = None,
    quiet: bool = False,
    source: str | os.PathLike[str] | None = None,
    args: Mapping[str, str] | None = None,
    output_index: int = 0,
    threads: int | None = None,
    cache: int | None = None,
) -> EncodeReport:
    """Encode a clip's frames into `output`, and return a report.

    `clip` is a live `VideoNode`, a script's path, or a script's text, which is a `str` with a line break in it. A live clip is
    encoded in this process: planes are read where they lie, a frame is held until libav has done with it, and the GIL is free
    meanwhile. A script is evaluated in a process of its own, so that this one's VapourSynth is left alone.

    The container follows from the command's `-f` or the extension of `output`. The file appears under its name when it is
    complete; on any error, and on Ctrl-C, which raises `Cancelled` within a second, none is left. What the encoder and libav
    log is in the report, and goes to the logger `finalrip`. An output that is the script or its source, under whatever name, is
    refused.

    `output` may be an object with a `write` that takes bytes; the command names the container then. An open file of Python's is
    written to from where it stands, another object that can be sought in gets the finished file, and any other gets the bytes as
    they come, on a thread of its own: for Matroska, MPEG-TS and other containers that can be streamed.

    - `progress`: True for a bar, or a callable that gets a `Progress` on the calling thread; what it raises stops the
      encode and is raised here. `progress_interval`: the least time between two calls, in seconds.
    - `range`: the frames to take, half open: `range(0, 240)`, `slice(100, None)` or `(0, 240)`. Default: all.
    - `ignore_props`: leave colour, aspect, field order, HDR metadata and durations of the frames aside, as a y4m pipe would.
    - `timing`: where timestamps come from; "auto" takes the clip's constant rate unless its frames say otherwise.
    - `requests`: frames requested ahead, those that wait for the encoder included. Default: the core's threads and two.
    - `cancel`: stops the encode from another thread.
    - `quiet`: keep what the script prints, and what its encoder writes to standard error by itself as x265 does, off this
      program's output; it goes to the logger `finalrip` instead. Of a live clip it silences x265 alone, by x265's own
      `log-level`, which x265 notes in the stream.
    - `source`, `args`, `output_index`: for scripts only: what they read as `os.environ["FINALRIP_SOURCE"]`, variables of their
      namespace, and which output to take. `threads`, `cache`: filter threads of their core, and its cache's size in MiB.
    """
    text = checked(command)
    settings = frame_settings(ignore_props, timing, requests, progress_interval)
    stretch, token, log = ends(range), cancel or CancelToken(), Log()
    quiet = flag("quiet", quiet)
    node = _live.as_node(clip)
    if node is not None:
        refuse_for_live(args=args, output_index=output_index, threads=threads, cache=cache, source=source)
    with opened(output) as (target, descriptor), listener(progress) as told:
        listen = None if told is None else lambda text: told(read_progress(text))
        if node is not None:
            settings["range"] = within(stretch, node.num_frames)
            live = _live.source_of(node, _live.alpha_of(clip))
            if quiet:
                text = _live.hushed(text)
            with _live.stopped_with_the_environment(token):
                encode = (live, text, target, json.dumps(settings), token, log.take, listen)
                report = _finalrip.encode(*encode, descriptor=descriptor)
        else:
            script = as_script(clip, source, args, output_index).with_core(threads, cache)
            job = _process.Job("encode", script, text, target, {**settings, "range": stretch}, quiet, descriptor)
            report = _process.run(_process.events(job, token, log), listen)
    return EncodeReport.from_wire({**json.loads(report), "log": log.lines})


async def encode_async(
    clip: vs.VideoNode | vs.VideoOutputTuple | str | os.PathLike[str],
    output: Output,
    command: Command,
    *,
    progress: Listener[Progress] = None,
    cancel: CancelToken | None = None,
    **options: Unpack[EncodeOptions],
) -> EncodeReport:
    """`encode` for asyncio: it runs on a thread, and a callable `progress`, which may be async, is called in the event loop.

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
    import asyncio

    token = cancel or CancelToken()
    left = threading.Event()
    listener = progress
    if callable(progress) and not isinstance(progress, bool):
        listener = _in_loop(progress, asyncio.get_running_loop(), left)
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
        left.set()
        while not running.done():
            # It may be cancelled again.
            with suppress(asyncio.CancelledError):
                await asyncio.wait([running])
        raise
    if isinstance(result, Cancelled):
        raise asyncio.CancelledError(str(result)) from result
    return result


def _in_loop[P](
    progress: Callable[[P], object], loop: asyncio.AbstractEventLoop, left: threading.Event
) -> Callable[[P], object]:
    """`progress` as a function for another thread, which waits until the loop has called it, and awaited what it returns.

    When `left` is set, nobody waits for what it awaits any more.
    """

    import asyncio

    def told(what: P) -> object:
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
                if left.is_set():
                    ended.cancel()
            except concurrent.futures.CancelledError:
                raise Cancelled("the task that was to be told was cancelled") from None

    return told


async def _call[P](progress: Callable[[P], object], what: P) -> object:
    answer = progress(what)
    return await answer if inspect.isawaitable(answer) else answer


def frame_settings(ignore_props: bool, timing: Timing, requests: int | None, interval: float) -> dict[str, Any]:
    """What `encode` and `rip` have in common, checked."""
    return {
        "ignore_props": flag("ignore_props", ignore_props),
        "timing": choice("timing", timing, ("auto", "constant", "variable")),
        "requests": whole_or_none("requests", requests, 1),
        "interval": seconds("progress_interval", interval),
    }


def refuse_for_live(**options: object) -> None:
    """Refuse what only scripts can be given."""
    given = [name for name, value in options.items() if value not in (None, 0) and value != {}]
    if given:
        names = " and ".join(given)
        raise TypeError(f"{names} can only be given with scripts; this clip is evaluated already")
