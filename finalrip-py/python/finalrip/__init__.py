"""Encode VapourSynth clips and scripts with libav and rav1e, in one process, without a pipe.

>>> import finalrip, vapoursynth as vs
>>> clip = vs.core.std.BlankClip(width=640, height=360, length=48, format=vs.YUV420P8)
>>> report = finalrip.encode(clip, "blank.mkv", "-c:v libx264 -preset ultrafast")
>>> report.frames, report.codec, report.zero_copy
(48, 'h264', True)

`encode` takes a live `VideoNode`, a script's path or a script's text. `rip` makes a whole job of one: in chunks, to be
resumed after anything, merged with everything else that the source has. `Client` gives the job to a finalrip-server.
"""

from ._check import refuse_unsupported

refuse_unsupported()

from ._client import Client, ClipStatus, Problem, TaskStatus, Transfer  # noqa: E402
from ._command import Command, EncodeCommand  # noqa: E402
from ._doctor import Finding, doctor  # noqa: E402
from ._encode import EncodeOptions, encode, encode_async  # noqa: E402
from ._errors import (  # noqa: E402
    BusyError,
    Cancelled,
    ChunkError,
    ClipError,
    CommandError,
    EncoderError,
    Error,
    FrameError,
    OutputError,
    ProcessError,
    ScriptError,
    ServerError,
    SettingError,
    SetupError,
    SourceError,
)
from ._events import (  # noqa: E402
    Chunk,
    ChunkFailed,
    ChunkFinished,
    ChunkStarted,
    Done,
    Event,
    LengthDiffers,
    Merging,
    MergeStarted,
    Plan,
    Planned,
    Progress,
    RipProgress,
    StartedAfresh,
    TimingChanged,
    WorkerProgress,
)
from ._finalrip import CancelToken, encoders, libav_version  # noqa: E402
from ._finalrip import version as _version  # noqa: E402
from ._reports import EncodeReport, RipReport, StreamReport  # noqa: E402
from ._rip import RipOptions, plan, rip, rip_async, rip_iter  # noqa: E402

__version__: str = _version()

__all__ = [
    "BusyError",
    "CancelToken",
    "Cancelled",
    "Chunk",
    "ChunkError",
    "ChunkFailed",
    "ChunkFinished",
    "ChunkStarted",
    "Client",
    "ClipError",
    "ClipStatus",
    "Command",
    "CommandError",
    "Done",
    "EncodeCommand",
    "EncodeOptions",
    "EncodeReport",
    "EncoderError",
    "Error",
    "Event",
    "Finding",
    "FrameError",
    "LengthDiffers",
    "MergeStarted",
    "Merging",
    "OutputError",
    "Plan",
    "Planned",
    "Problem",
    "ProcessError",
    "Progress",
    "RipOptions",
    "RipProgress",
    "RipReport",
    "ScriptError",
    "ServerError",
    "SettingError",
    "SetupError",
    "SourceError",
    "StartedAfresh",
    "StreamReport",
    "TaskStatus",
    "TimingChanged",
    "Transfer",
    "WorkerProgress",
    "doctor",
    "encode",
    "encode_async",
    "encoders",
    "libav_version",
    "plan",
    "rip",
    "rip_async",
    "rip_iter",
]
