"""A whole job: a clip's frames encoded in chunks, joined, and merged with everything else that the source has."""

from __future__ import annotations

import difflib
import json
import math
import os
from collections.abc import Callable, Generator, Mapping
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal, TypedDict, Unpack

from . import _finalrip, _fingerprint, _live, _process
from ._command import Command, checked
from ._encode import Timing, frame_settings, in_thread, refuse_for_live
from ._errors import Error, as_cancelled
from ._events import Done, Event, Plan, StartedAfresh, read_event
from ._finalrip import CancelToken
from ._log import Log
from ._progress import Listener, listener
from ._range import Ends, Range, ends, within
from ._reports import RipReport
from ._script import as_script
from ._settings import choice, flag, path, refuse, whole, whole_or_none

if TYPE_CHECKING:
    import vapoursynth as vs
else:
    from ._lazy import vs


type Environments = Literal["shared", "per-worker"]


class RipOptions(TypedDict, total=False):
    """The options of `rip` by their names, for those who keep them in a dictionary."""

    source: str | os.PathLike[str] | None
    args: Mapping[str, str] | None
    output_index: int
    threads: int | None
    cache: int | None
    progress_interval: float
    range: Range | None
    ignore_props: bool
    timing: Timing
    requests: int | None
    quiet: bool
    workers: int | None
    slice: bool
    chunk: int | str | None
    scene: bool
    resume: bool
    retries: int
    environments: Environments
    audio: bool
    subtitles: bool
    attachments: bool
    chapters: bool
    metadata: bool


def rip(
    clip: vs.VideoNode | vs.VideoOutputTuple | str | os.PathLike[str],
    output: str | os.PathLike[str],
    command: Command,
    *,
    progress: Listener[Event] = None,
    cancel: CancelToken | None = None,
    **options: Unpack[RipOptions],
) -> RipReport:
    """Make a whole job of a clip, from plan to finished file, and return a report.

    `clip` is a script's path, a script's text, which is a `str` with a line break in it, or a live `VideoNode`. A script reads
    `source` as `os.environ["FINALRIP_SOURCE"]`, and `args` as variables, and is evaluated in a process of its own: this one's
    VapourSynth session is left alone. The frames of a live clip are made in this process.

    What is finished is kept beside the output, in `OUTPUT.finalrip`, until the file is in place. After Ctrl-C, a crash or a
    power cut the same call goes on from there, if it is about the same frames. Of a script that is known by its text, its
    arguments, and the source; of a live clip by format, size, length, rate, and twelve of its frames, which are made for
    that at the start: a change that shows in none of them is not noticed, and wants `resume=False`.

    - `progress`: True for a bar, or a callable that gets each `Event` on the calling thread; what it raises stops the
      rip and is raised here.
    - `cancel`: stops the rip from another thread. What is finished is kept. A rip whose file is in place by then is done.
    - `source`: the video whose sound, subtitles, attachments and chapters are taken along. Default: none.
    - `workers`: chunks that are encoded at the same time. Default: from the processors, the encoder and the free memory.
    - `chunk`: how long a chunk should be: a whole number of frames, or text such as "30s" or "720f". Default: from the clip.
    - `slice=True`: whether to divide the clip. `scene=True`: whether chunks should start at scene cuts.
    - `resume=True`: whether to use what an earlier run has finished. `retries=3`: how often a failed chunk is tried again.
    - `environments="shared"`: whether the workers share one evaluated script, or have a core each ("per-worker"), for source
      filters that seek badly; for scripts only. Modules that the script imports are imported once.
    - `audio=True`, `subtitles=True`, `attachments=True`, `chapters=True`, `metadata=True`: what to take from the source. The
      command can say what becomes of it: `-c:a libopus -b:a 96k`, `-c:s:0 srt`, `-metadata:s:a:0 title=Main`.
    - `range`, `ignore_props`, `timing`, `requests`, `progress_interval`, `quiet`: as for `encode`.
    - `args`, `output_index`, `threads`, `cache`: as for `encode`, for scripts only.
    """
    report: RipReport | None = None
    events = rip_iter(clip, output, command, cancel=cancel, **options)
    with closing(events), listener(progress) as listen:
        try:
            for event in events:
                if isinstance(event, Done):
                    report = event.report
                if listen is not None:
                    listen(event)
        except KeyboardInterrupt as interrupt:
            # Where the file is in place, nothing was cancelled.
            raise interrupt if report is not None else as_cancelled(interrupt)
    assert report is not None, "a rip that ends without an error has told that it is done"
    return report


def rip_iter(
    clip: vs.VideoNode | vs.VideoOutputTuple | str | os.PathLike[str],
    output: str | os.PathLike[str],
    command: Command,
    *,
    cancel: CancelToken | None = None,
    **options: Unpack[RipOptions],
) -> Generator[Event, None, None]:
    """`rip` as an iterator over what happens; the last event is `Done`, with the report.

    The rip waits while the loop's body runs longer than a few events, and `cancel` is looked at when the body has run. Leaving
    the loop stops the rip once the iterator is closed, which `contextlib.closing` does for certain; what is finished is kept.
    """
    log = Log()
    live = _live.as_node(clip) is not None
    # Not a generator itself: what is wrong with the arguments is said at once.
    return _events(_begun("rip", clip, (output, command), options, (cancel or CancelToken(), log)), log, live)


async def rip_async(
    clip: vs.VideoNode | vs.VideoOutputTuple | str | os.PathLike[str],
    output: str | os.PathLike[str],
    command: Command,
    *,
    progress: Listener[Event] = None,
    cancel: CancelToken | None = None,
    **options: Unpack[RipOptions],
) -> RipReport:
    """`rip` for asyncio: it runs on a thread, and a callable `progress`, which may be async, is called in the event loop.

    Cancelling the task stops the rip, and is over when that has stopped.
    """

    def work(token: CancelToken, told: Listener[Event]) -> RipReport:
        return rip(clip, output, command, progress=told, cancel=token, **options)

    return await in_thread(work, progress, cancel)


def plan(
    clip: vs.VideoNode | vs.VideoOutputTuple | str | os.PathLike[str],
    output: str | os.PathLike[str],
    command: Command,
    *,
    cancel: CancelToken | None = None,
    **options: Unpack[RipOptions],
) -> Plan:
    """The plan that `rip` would make without an earlier run's state, and nothing else: no file is written.

    It looks at up to 5 % of the clip's frames, for scene cuts.
    """
    work = _begun("plan", clip, (output, command), options, (cancel or CancelToken(), Log()))
    with closing(work):
        return Plan.from_wire(json.loads(_process.run(work, None)))


def _begun(
    work: Literal["rip", "plan"],
    clip: object,
    file: tuple[str | os.PathLike[str], Command],
    options: RipOptions,
    told: tuple[CancelToken, Log],
) -> Generator[str, None, str]:
    """The work, whose arguments are checked: the library's events as JSON."""
    (output, command), (cancel, log) = file, told
    _refuse_unknown(work, options)
    given = _Options(**options)
    text, target, settings = checked(command), path("output", output), given.settings()
    node = _live.as_node(clip)
    if node is not None:
        own = settings["per_worker"] or None
        refuse_for_live(
            args=given.args, output_index=given.output_index, threads=given.threads, cache=given.cache, environments=own
        )
        clip = (node, _live.alpha_of(clip))
        return _live_events(work, clip, (_live.hushed(text) if given.quiet else text, target), settings, told)
    script = as_script(clip, given.source, given.args, given.output_index).with_core(given.threads, given.cache)
    return _process.events(_process.Job(work, script, text, target, settings, given.quiet), cancel, log)


def _refuse_unknown(work: str, options: Mapping[str, object]) -> None:
    """Refuse options that there are not, as Python does with arguments."""
    for name in options:
        if name not in RipOptions.__annotations__:
            close = difflib.get_close_matches(name, RipOptions.__annotations__, 1)
            hint = f"; did you mean {close[0]!r}?" if close else ""
            raise TypeError(f"{work}() got an unexpected keyword argument {name!r}{hint}")


class _Options:
    """The options with their defaults."""

    def __init__(
        self,
        *,
        source: str | os.PathLike[str] | None = None,
        args: Mapping[str, str] | None = None,
        output_index: int = 0,
        threads: int | None = None,
        cache: int | None = None,
        progress_interval: float = 0.1,
        range: Range | None = None,
        ignore_props: bool = False,
        timing: Timing = "auto",
        requests: int | None = None,
        quiet: bool = False,
        **others: Any,
    ) -> None:
        self.source, self.args, self.output_index = source, args, output_index
        self.threads, self.cache, self.quiet = threads, cache, flag("quiet", quiet)
        self._frames = frame_settings(ignore_props, timing, requests, progress_interval)
        self._range: Ends | None = ends(range)
        self._chunks = _chunk_settings(**others)

    def settings(self) -> dict[str, Any]:
        """For the compiled half; of the range, what the caller said."""
        source = None if self.source is None else path("source", self.source)
        return {**self._frames, **self._chunks, "range": self._range, "source": source}


def _chunk_settings(
    *,
    workers: int | None = None,
    slice: bool = True,
    chunk: int | str | None = None,
    resume: bool = True,
    scene: bool = True,
    retries: int = 3,
    environments: Environments = "shared",
    **merge: Any,
) -> dict[str, Any]:
    frames, seconds = _chunk_length(chunk)
    return {
        "workers": whole_or_none("workers", workers, 1),
        "slice": flag("slice", slice),
        "chunk_frames": frames,
        "chunk_seconds": seconds,
        "scene": flag("scene", scene),
        "resume": flag("resume", resume),
        "retries": whole("retries", retries, 0),
        "per_worker": choice("environments", environments, ("shared", "per-worker")) == "per-worker",
        **_merge_settings(**merge),
    }


def _merge_settings(
    *,
    audio: bool = True,
    subtitles: bool = True,
    attachments: bool = True,
    chapters: bool = True,
    metadata: bool = True,
) -> dict[str, bool]:
    return {
        "audio": flag("audio", audio),
        "subtitles": flag("subtitles", subtitles),
        "attachments": flag("attachments", attachments),
        "chapters": flag("chapters", chapters),
        "metadata": flag("metadata", metadata),
    }


def _live_events(
    work: Literal["rip", "plan"],
    clip: tuple[vs.VideoNode, vs.VideoNode | None],
    file: tuple[str, str],
    settings: dict[str, Any],
    told: tuple[CancelToken, Log],
) -> Generator[str, None, str]:
    (text, target), (cancel, log), (node, alpha) = file, told, clip
    settings = {**settings, "range": within(settings["range"], node.num_frames)}
    live = _live.source_of(node, alpha)
    resumes = work == "rip" and settings["resume"]

    def events() -> Generator[str, None, str]:
        clips = [part for part in (node, alpha) if part is not None]
        prints = [_fingerprint.of_clip(part, settings["range"], cancel) for part in clips if resumes]
        print_of_clip = "\n".join(prints) or _fingerprint.of_nothing()

        def run(token: CancelToken, listen: Callable[[str], object]) -> str:
            arguments: list[tuple[str, str]] = []
            rip = (live, print_of_clip, arguments, text, target, json.dumps(settings), token, log.take)
            return _finalrip.plan(*rip) if work == "plan" else _finalrip.rip(*rip, listen)

        return (yield from _live.events(run, cancel))

    return events()


def _events(told: Generator[str, None, str], log: Log, live: bool) -> Generator[Event, None, None]:
    with closing(told):
        for text in told:
            event = read_event(text)
            if isinstance(event, Done):
                event = replace(event, report=replace(event.report, log=log.lines))
            elif isinstance(event, StartedAfresh) and live:
                changed = (name.replace("the script", "the clip's frames") for name in event.changed)
                event = replace(event, changed=tuple(changed))
            if event is not None:
                yield event


def _chunk_length(chunk: int | str | None) -> tuple[int | None, float | None]:
    """Frames, or seconds, or neither."""
    if chunk is None or chunk == "auto":
        return None, None
    possible = "a number of frames, or text such as '30s' or '720f'"
    try:
        if not isinstance(chunk, str):
            return whole("chunk", chunk, 1), None
        if chunk.isdecimal() or chunk.endswith("f"):
            return whole("chunk", int(chunk.removesuffix("f")), 1), None
        length = float(chunk.removesuffix("s")) if chunk.endswith("s") else math.nan
    except (ValueError, Error):
        raise refuse("chunk", chunk, possible) from None
    if not (length > 0 and math.isfinite(length)):
        raise refuse("chunk", chunk, possible)
    return None, length
