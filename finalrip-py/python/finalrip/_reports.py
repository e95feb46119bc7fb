"""What became of an encode, and of a rip."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, Self

from ._record import Record


@dataclass(frozen=True, kw_only=True)
class _FileReport(Record):
    """What there is to say about every file that was made."""

    output: Path
    """The file, absolute."""
    container: str
    """The container's short name, such as `matroska`."""
    encoder: str
    """The encoder's name, such as `libx265`."""
    codec: str
    """The codec's name, such as `hevc`."""
    pixel_format: str
    """The pixel format that was encoded."""
    width: int
    height: int
    range: range
    """The frames of the clip that were taken."""
    pictures: int
    """Pictures that were encoded; other than the frames taken only when a filter of the command changes their number."""
    frame_rate: Fraction | None
    """The constant frame rate; None when timestamps are variable."""
    duration: float
    """The video's length in seconds."""
    bytes: int
    """The file's size."""
    elapsed: float
    """Seconds that it took in all, after the script was evaluated."""
    log: tuple[str, ...]
    """What the encoder and the library logged, oldest first: the last thousand lines. With `quiet`, what the script and its
    encoder printed as well."""


@dataclass(frozen=True, kw_only=True)
class EncodeReport(_FileReport):
    """What became of an encode."""

    frames: int
    """Frames of the clip that went in."""
    bitrate: float
    """Bits a second, the container's overhead included."""
    zero_copy: bool
    """Whether the encoder read the clip's own planes, without a conversion in between."""
    fps: float
    """Frames a second over `elapsed`."""
    notes: tuple[str, ...]
    """What else there is to know, such as durations of frames that contradict the clip's rate."""


@dataclass(frozen=True, kw_only=True)
class StreamReport(Record):
    """What became of one stream of a rip's source."""

    source_index: int
    """The stream's number in the source, from 0."""
    output_index: int | None
    """Its number in the output; None when it was left out."""
    kind: str
    """`video`, `audio`, `subtitle`, `attachment` or `data`."""
    codec: str
    """libav's name of its codec in the source."""
    language: str | None
    title: str | None
    action: str
    """`copied`, `converted to CODEC`, or `left out: REASON`."""

    @classmethod
    def from_wire(cls, wire: dict[str, Any]) -> Self:
        action = wire["action"]
        if isinstance(action, dict):
            converted = action.get("converted")
            action = f"converted to {converted['to']}" if converted else f"left out: {action['left_out']['reason']}"
        return super().from_wire({**wire, "action": action})


@dataclass(frozen=True, kw_only=True)
class RipReport(_FileReport):
    """What became of a rip."""

    video_bytes: int
    """Bytes of its video stream's chunks."""
    chunks: int
    """Chunks in all."""
    chunks_resumed: int
    """Chunks that were there from an earlier run."""
    failures: int
    """Attempts at chunks that failed."""
    streams: tuple[StreamReport, ...]
    """What became of each stream of the source."""
    chapters: int
    """Chapters in the file."""
    notes: tuple[str, ...]
    """What else there is to know about the merge."""
    fps: float
    """Frames a second of this run while it encoded; 0 when nothing was left to encode."""

    @classmethod
    def from_wire(cls, wire: dict[str, Any]) -> Self:
        streams = tuple(StreamReport.from_wire(stream) for stream in wire["streams"])
        report = super().from_wire({"log": [], **wire, "streams": []})
        object.__setattr__(report, "streams", streams)
        return report
