"""Progress: a bar, lines, a function of the caller's, or nothing."""

from __future__ import annotations

import functools
import inspect
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import IO, Any, Protocol

from ._events import (
    ChunkFailed,
    ChunkFinished,
    ChunkStarted,
    Done,
    LengthDiffers,
    Merging,
    MergeStarted,
    Planned,
    Progress,
    RipProgress,
    StartedAfresh,
    TimingChanged,
)
from ._record import Record

type Listener[T] = bool | Callable[[T], object] | None

# The least time between two lines, and between two pictures of the plain bar, in seconds.
_LINES = 5.0
_PICTURES = 0.1


@contextmanager
def listener[T: Record](progress: Listener[T]) -> Iterator[Callable[[T], object] | None]:
    """What is to be told how far the work is, while the block runs."""
    if progress is None or progress is False:
        yield None
    elif progress is True:
        with Display(bar_maker()) as display:
            yield display.show
    elif callable(progress):
        yield functools.partial(_told_at_once, progress, _refuse_async(progress))
    else:
        raise TypeError(f"progress must be a bool or a callable, not {type(progress).__name__}")


def _refuse_async(progress: Callable[..., object]) -> str:
    """Refuse a coroutine function before anything begins; what to say of a callable that turns out to be like one."""
    text = "progress cannot be an async function here, where nothing awaits it; use encode_async or rip_async"
    called = getattr(progress, "__call__", None)  # noqa: B004
    if inspect.iscoroutinefunction(inspect.unwrap(progress)) or inspect.iscoroutinefunction(called):
        raise TypeError(text)
    return text


def _told_at_once[T](progress: Callable[[T], object], text: str, what: T) -> object:
    answer = progress(what)
    if inspect.isawaitable(answer):
        # A coroutine, or a task of an event loop: neither shall warn that nobody has awaited it.
        end = getattr(answer, "close", None) or getattr(answer, "cancel", None)
        if end is not None:
            end()
        raise TypeError(text)
    return answer


class Bar(Protocol):
    """A bar: what this module asks of tqdm's."""

    def show(self, done: int, note: str) -> None:
        """So much is done of the total."""

    def close(self) -> None:
        """It is not needed any more."""


type BarMaker = Callable[[int, str], Bar]


class Display:
    """Shows on one bar after another how far the work is. A bar appears with the first progress."""

    def __init__(self, make: BarMaker) -> None:
        self._make = make
        self._bar: Bar | None = None
        self._unit = ""
        self._done = self._total = 0

    def __enter__(self) -> Display:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if self._bar is not None:
            if kind is None and self._done < self._total:
                # The work is done; the last progress may have come before its last frame.
                self._bar.show(self._total, "")
            self._bar.close()
            self._bar = None

    def pause(self) -> None:
        """Take the bar away, for a line that is to stay; the next progress shows another one."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def show(self, told: Record) -> None:
        """Show what was told, if it says how far the work is."""
        if isinstance(told, Planned):
            self._to(0, sum(len(chunk.range) for chunk in told.chunks), "frames")
        elif isinstance(told, (Progress, RipProgress)):
            self._to(told.frames, told.frames_total, "frames", f"{told.bytes / 1e6:.1f} MB")
        elif isinstance(told, MergeStarted):
            # All frames are done, whatever was told of them last.
            self._to(self._total, self._total, "frames")
        elif isinstance(told, Merging):
            self._to(told.pictures, told.pictures_total, "pictures", "merging")
        elif isinstance(told, Done):
            self._to(self._total, self._total, self._unit)
        else:
            self._count(told.to_dict())

    def _count(self, told: dict[str, Any]) -> None:
        """Of a server: bytes of a transfer, or frames of a task."""
        for unit in ("bytes", "frames"):
            done, total = told.get(unit), told.get(f"{unit}_total")
            if done is not None and total:
                self._to(done, total, unit)
                return

    def _to(self, done: int, total: int, unit: str, note: str = "") -> None:
        """The bar for that unit; where another one was shown, that is finished."""
        if not total:
            return
        if self._bar is None or self._unit != unit:
            self.__exit__(None)
            self._bar = self._make(total, unit)
        self._unit, self._done, self._total = unit, done, total
        self._bar.show(done, note)


def bar_maker() -> BarMaker:
    """tqdm's bar, which knows terminals and notebooks, or a plain one where there is no tqdm."""
    try:
        from tqdm.auto import tqdm
    except ImportError:
        return functools.partial(PlainBar, sys.stderr)
    return functools.partial(_Tqdm, tqdm)


class _Tqdm:
    def __init__(self, tqdm: Any, total: int, unit: str) -> None:
        scaled = unit == "bytes"
        self._bar = tqdm(total=total, unit="B" if scaled else f" {unit}", unit_scale=scaled, dynamic_ncols=True)

    def show(self, done: int, note: str) -> None:
        self._bar.set_postfix_str(note, refresh=False)
        self._bar.update(done - self._bar.n)

    def close(self) -> None:
        self._bar.close()


class PlainBar:
    """A bar for a terminal, in plain characters."""

    def __init__(self, screen: IO[str], total: int, unit: str) -> None:
        self._screen = screen
        self._total = total
        self._unit = unit
        self._began = time.monotonic()
        self._drawn = float("-inf")
        self._width = 0

    def show(self, done: int, note: str) -> None:
        """Draw it, unless that was done a moment ago."""
        now = time.monotonic()
        if now - self._drawn < _PICTURES and done < self._total:
            return
        self._drawn = now
        speed = done / max(now - self._began, 1e-9)
        left = clock((self._total - done) / speed) if done else "-"
        figures = f" {self._amount(done)}/{self._amount(self._total)}  {self._amount(speed)}/s  {left} left  {note}".rstrip()
        share = min(done / self._total, 1.0)
        room = max(min(shutil.get_terminal_size().columns - len(figures) - 9, 60), 0)
        bar = f"[{'#' * int(share * room):<{room}}]" if room > 4 else ""
        self._write(f"{share:4.0%} {bar}{figures}")

    def close(self) -> None:
        """Go on in the next line."""
        if self._width:
            self._put("\n")

    def _amount(self, number: float) -> str:
        return f"{number / 1e6:.1f} MB" if self._unit == "bytes" else f"{number:.0f}"

    def _write(self, line: str) -> None:
        line = line[: max(shutil.get_terminal_size().columns - 1, 20)]
        self._put(f"\r{line:<{self._width}}")
        self._width = len(line)

    def _put(self, text: str) -> None:
        try:
            self._screen.write(text)
            self._screen.flush()
        except (OSError, ValueError):
            # A screen that is gone is no reason to stop.
            self._width = 0


class Lines:
    """A line for whatever happens, for a log: what is shown where there is no terminal."""

    def __init__(self, write: Callable[[str], object]) -> None:
        self._write = write
        self._told = time.monotonic()

    def show(self, told: Record) -> None:
        """Write a line of it, if it is worth one now."""
        line = lasting(told) or _happening(told)
        if line is None and time.monotonic() - self._told >= _LINES:
            line = _how_far(told)
            if line is not None:
                self._told = time.monotonic()
        if line is not None:
            self._write(line)


def lasting(told: Record) -> str | None:
    """What a person wants to find again after a rip, whatever else was shown."""
    match told:
        case StartedAfresh():
            return f"an earlier run's chunks are not used; changed: {', '.join(told.changed)}"
        case Planned() if told.finished:
            return f"{len(told.finished)} of {len(told.chunks)} chunks are finished by an earlier run"
        case ChunkFailed():
            return f"chunk {told.chunk}: attempt {told.attempt} failed, {told.attempts_left} left: {told.reason}"
        case TimingChanged():
            return f"chunk {told.chunk} shows a variable frame rate: starting again with the frames' own durations"
        case LengthDiffers():
            return (
                f"warning: the clip lasts {told.clip:.2f} s and the source's picture {told.source:.2f} s, "
                f"so that the source's sound does not fit: {told.cause}"
            )
    return None


def _happening(told: Record) -> str | None:
    match told:
        case Planned():
            frames = sum(len(chunk.range) for chunk in told.chunks)
            return f"{frames} frames in {len(told.chunks)} chunks, {told.workers} at a time"
        case ChunkStarted():
            again = f", attempt {told.attempt}" if told.attempt > 1 else ""
            return f"chunk {told.chunk}: frames {told.range.start}..{told.range.stop} on worker {told.worker}{again}"
        case ChunkFinished():
            return f"chunk {told.chunk}: finished, {told.frames} frames, {told.bytes / 1e6:.1f} MB, {told.elapsed:.1f} s"
        case MergeStarted():
            return f"merging {told.bytes / 1e6:.1f} MB"
    return None


def _how_far(told: Record) -> str | None:
    match told:
        case Progress() | RipProgress():
            left = "-" if told.eta is None else clock(told.eta)
            return f"{told.frames} of {told.frames_total} frames, {told.fps:.1f} fps, {told.bytes / 1e6:.1f} MB, {left} left"
        case Merging():
            return f"merged {told.pictures} of {told.pictures_total} pictures"
    return None


def clock(seconds: float) -> str:
    """Hours, minutes and seconds."""
    whole = int(min(max(seconds, 0), 1e9))
    return f"{whole // 3600}:{whole // 60 % 60:02}:{whole % 60:02}"
