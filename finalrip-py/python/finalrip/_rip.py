"""A whole job: a script's frames encoded in chunks, joined, and merged with everything else that the source has."""

from __future__ import annotations

import os
from collections.abc import Generator, Mapping
from contextlib import closing
from typing import Any

from . import _process
from ._command import EncodeCommand, checked
from ._encode import Range, Timing, bounds, in_thread
from ._errors import SettingError
from ._events import Done, Event, read_event
from ._finalrip import CancelToken
from ._progress import Listener, listener
from ._reports import RipReport
from ._script import as_script


def rip(
    script: str | os.PathLike[str],
    output: str | os.PathLike[str],
    command: str | EncodeCommand,
    *,
    source: str | os.PathLike[str] | None = None,
    args: Mapping[str, str] | None = None,
    progress: Listener[Event] = None,
    cancel: CancelToken | None = None,
    **options: Any,
) -> RipReport:
    """Make a whole job of a script, from plan to finished file, and return a report.

    `script` is a path, or a text, which is a `str` with a line break in it. It reads `source` as
    `os.environ["FINALRIP_SOURCE"]`, and `args` as variables. It is evaluated in a process of its own: this one's VapourSynth
    session is left alone.

    What is finished is kept beside the output, in `OUTPUT.finalrip`, until the file is in place. After Ctrl-C, a crash or a
    power cut the same call goes on from there.

    - `progress`: True for a bar (tqdm), or a callable that gets each `Event` on the calling thread; what it raises stops the
      rip and is raised here.
    - `cancel`: stops the rip from another thread. What is finished is kept. A rip whose file is in place by then is done.
    - `workers`: chunks that are encoded at the same time. Default: from the processors, the encoder and the free memory.
    - `chunk`: how long a chunk should be: a whole number of frames, or text such as "30s" or "720f". Default: from the clip.
    - `slice=True`: whether to divide the clip. `scene=True`: whether chunks should start at scene cuts.
    - `resume=True`: whether to use what an earlier run has finished. `retries=3`: how often a failed chunk is tried again.
    - `audio=True`, `subtitles=True`, `attachments=True`, `chapters=True`, `metadata=True`: what to take from the source.
    - `range`, `ignore_props`, `timing`, `requests`, `progress_interval`, `output_index`: as for `encode`.
    """
    report: RipReport | None = None
    events = rip_iter(script, output, command, source=source, args=args, cancel=cancel, **options)
    with closing(events), listener(progress) as listen:
        try:
            for event in events:
                if isinstance(event, Done):
                    report = event.report
                if listen is not None:
                    listen(event)
        except KeyboardInterrupt as interrupt:
            # Where the file is in place, nothing was cancelled.
            raise interrupt if report is not None else _process.as_cancelled(interrupt)
    assert report is not None, "a rip that ends without an error has told that it is done"
    return report


def rip_iter(
    script: str | os.PathLike[str],
    output: str | os.PathLike[str],
    command: str | EncodeCommand,
    *,
    source: str | os.PathLike[str] | None = None,
    args: Mapping[str, str] | None = None,
    cancel: CancelToken | None = None,
    output_index: int = 0,
    progress_interval: float = 0.1,
    range: Range | None = None,
    ignore_props: bool = False,
    timing: Timing = "auto",
    requests: int | None = None,
    workers: int | None = None,
    slice: bool = True,
    chunk: int | str | None = None,
    scene: bool = True,
    resume: bool = True,
    retries: int = 3,
    audio: bool = True,
    subtitles: bool = True,
    attachments: bool = True,
    chapters: bool = True,
    metadata: bool = True,
) -> Generator[Event, None, None]:
    """`rip` as an iterator over what happens; the last event is `Done`, with the report.

    The rip waits while the loop's body runs longer than a few events, and `cancel` is looked at when the body has run. Leaving
    the loop stops the rip once the iterator is closed, which `contextlib.closing` does for certain; what is finished is kept.
    """
    frames, seconds = _chunk_length(chunk)
    given = as_script(script, source, args, output_index)
    settings = {
        "range": bounds(range, None),
        "ignore_props": ignore_props,
        "timing": timing,
        "requests": requests,
        "interval": progress_interval,
        "source": given.source,
        "workers": workers,
        "slice": slice,
        "chunk_frames": frames,
        "chunk_seconds": seconds,
        "scene": scene,
        "resume": resume,
        "retries": retries,
        "audio": audio,
        "subtitles": subtitles,
        "attachments": attachments,
        "chapters": chapters,
        "metadata": metadata,
    }
    # Not a generator itself: what is wrong with the arguments is said at once.
    return _events(_process.events("rip", given, checked(command), output, settings, cancel or CancelToken()))


async def rip_async(
    script: str | os.PathLike[str],
    output: str | os.PathLike[str],
    command: str | EncodeCommand,
    *,
    progress: Listener[Event] = None,
    cancel: CancelToken | None = None,
    **options: Any,
) -> RipReport:
    """`rip` for asyncio: it runs on a thread, and a callable `progress` is called in the event loop.

    Cancelling the task stops the rip, and is over when that has stopped.
    """

    def work(token: CancelToken, told: Listener[Event]) -> RipReport:
        return rip(script, output, command, progress=told, cancel=token, **options)

    return await in_thread(work, progress, cancel)


def _events(told: Generator[str, None, str]) -> Generator[Event, None, None]:
    with closing(told):
        for text in told:
            event = read_event(text)
            if event is not None:
                yield event


def _chunk_length(chunk: int | str | None) -> tuple[int | None, float | None]:
    """Frames, or seconds, or neither."""
    if chunk is None or chunk == "auto":
        return None, None
    try:
        if isinstance(chunk, int):
            return int(chunk), None
        if chunk.isdecimal() or chunk.endswith("f"):
            return int(chunk.removesuffix("f")), None
        if chunk.endswith("s"):
            return None, float(chunk[:-1])
    except (TypeError, ValueError, AttributeError):
        pass
    raise SettingError(f"chunk cannot be {chunk!r}: a number of frames, or text such as '30s' or '720f'")
