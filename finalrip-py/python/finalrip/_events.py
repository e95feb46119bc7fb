"""How far an encode is, and what happens in a rip."""

from __future__ import annotations

import json
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Self

from ._record import Record
from ._reports import RipReport


@dataclass(frozen=True, kw_only=True)
class Progress(Record):
    """How far an encode has come."""

    frames: int
    """Frames handed to the encoder so far."""
    frames_total: int
    packets: int
    """Packets written so far; behind `frames` by the encoder's look-ahead."""
    bytes: int
    """Bytes written so far."""
    fps: float
    """Frames a second since the first one was asked for."""
    bitrate: float
    """Bits a second of the video written so far."""
    elapsed: float
    """Seconds since the first frame was asked for."""
    eta: float | None
    """Seconds left at the present speed; None before the first frame."""


class Event(Record):
    """Something that happens in a rip. Each kind is a class of its own."""


@dataclass(frozen=True, kw_only=True)
class Chunk(Record):
    """One chunk of a plan."""

    range: range
    """The frames of the script's output."""
    at_cut: bool
    """Whether it starts at a scene cut that was looked for and found."""


@dataclass(frozen=True, kw_only=True)
class Plan(Record):
    """How a clip is divided."""

    chunks: tuple[Chunk, ...]
    """The chunks, in order; no frame is in two of them."""
    workers: int
    """Chunks that are encoded at the same time."""
    threads: int | None
    """Threads that each encoder is given; None leaves it the whole machine."""
    looked_at: int
    """Frames that were looked at for scene cuts."""
    frame_rate: Fraction | None
    """Frames a second of the clip; None where it varies."""

    @classmethod
    def from_wire(cls, wire: dict[str, Any]) -> Self:
        plan = super().from_wire({**wire, "chunks": []})
        object.__setattr__(plan, "chunks", tuple(Chunk.from_wire(chunk) for chunk in wire["chunks"]))
        return plan


@dataclass(frozen=True, kw_only=True)
class WorkerProgress(Record):
    """How far one worker has come with its chunk."""

    worker: int
    chunk: int
    frames: int
    frames_total: int
    bytes: int
    fps: float


@dataclass(frozen=True, kw_only=True)
class StartedAfresh(Event):
    """Chunks of an earlier run were there but could not be used, and are removed."""

    changed: tuple[str, ...]
    """What differs from that run, such as `the script`."""


@dataclass(frozen=True, kw_only=True)
class Planned(Event):
    """It is known which chunks there are."""

    chunks: tuple[Chunk, ...]
    finished: tuple[int, ...]
    """Chunks that an earlier run has finished."""
    workers: int
    """Chunks that are encoded at the same time."""

    @classmethod
    def from_wire(cls, wire: dict[str, Any]) -> Self:
        plan = wire["plan"]
        chunks = tuple(Chunk.from_wire(chunk) for chunk in plan["chunks"])
        return cls(chunks=chunks, finished=tuple(wire["finished"]), workers=plan["workers"])


@dataclass(frozen=True, kw_only=True)
class ChunkStarted(Event):
    """A worker takes up a chunk."""

    chunk: int
    range: range
    worker: int
    attempt: int
    """1 for the first time."""


@dataclass(frozen=True, kw_only=True)
class RipProgress(Event):
    """How far everything has come."""

    frames: int
    """Frames encoded, those of finished chunks and of earlier runs included."""
    frames_total: int
    chunks: int
    """Finished chunks."""
    chunks_total: int
    bytes: int
    fps: float
    """Frames a second of this run, all workers together."""
    elapsed: float
    eta: float | None
    workers: tuple[WorkerProgress, ...]
    """What each busy worker does."""

    @classmethod
    def from_wire(cls, wire: dict[str, Any]) -> Self:
        progress = super().from_wire({**wire, "workers": []})
        workers = tuple(WorkerProgress.from_wire(worker) for worker in wire["workers"])
        object.__setattr__(progress, "workers", workers)
        return progress


@dataclass(frozen=True, kw_only=True)
class ChunkFinished(Event):
    """A chunk is encoded, verified, and kept whatever comes."""

    chunk: int
    worker: int
    frames: int
    bytes: int
    elapsed: float


@dataclass(frozen=True, kw_only=True)
class ChunkFailed(Event):
    """A chunk failed. It is tried again unless no attempt is left."""

    chunk: int
    attempt: int
    attempts_left: int
    reason: str


@dataclass(frozen=True, kw_only=True)
class TimingChanged(Event):
    """The frames are not evenly spaced, as the first of them show: everything starts again with their own durations."""

    chunk: int
    """The chunk that showed it."""


@dataclass(frozen=True, kw_only=True)
class LengthDiffers(Event):
    """The clip is longer or shorter than the picture of the source, whose sound will not fit; told before it is encoded."""

    clip: float
    """The clip's length in seconds, at its own rate."""
    source: float
    """The source's picture in seconds."""
    cause: str
    """What usually is the cause."""


@dataclass(frozen=True, kw_only=True)
class MergeStarted(Event):
    """All chunks are there; they are being joined, with the source's other streams."""

    bytes: int


@dataclass(frozen=True, kw_only=True)
class Merging(Event):
    """How far the merge has come."""

    bytes: int
    pictures: int
    pictures_total: int


@dataclass(frozen=True, kw_only=True)
class Done(Event):
    """The file is complete and in place."""

    report: RipReport

    @classmethod
    def from_wire(cls, wire: dict[str, Any]) -> Self:
        return cls(report=RipReport.from_wire(wire))


_EVENTS: dict[str, type[Event]] = {
    "started_afresh": StartedAfresh,
    "planned": Planned,
    "chunk_started": ChunkStarted,
    "progress": RipProgress,
    "chunk_finished": ChunkFinished,
    "chunk_failed": ChunkFailed,
    "timing_changed": TimingChanged,
    "length_differs": LengthDiffers,
    "merge_started": MergeStarted,
    "merging": Merging,
    "done": Done,
}


def read_progress(text: str) -> Progress:
    return Progress.from_wire(json.loads(text))


def read_event(text: str) -> Event | None:
    """The event of the library's JSON; None for one that this version does not know."""
    wire = json.loads(text)
    kind = _EVENTS.get(wire["event"])
    return kind.from_wire(wire) if kind else None
