"""The exceptions. All of them are `finalrip.Error`; those that have a counterpart among Python's own are that as well."""

from __future__ import annotations

from pathlib import Path
from typing import Any


class Error(Exception):
    """What failed, where, and what to do about it. The base of everything that this package raises."""


class SetupError(Error, OSError):
    """VapourSynth, or something else that is needed, is not there."""

    fix: str = ""


class ScriptError(Error):
    """The script could not be read, raised an exception, or set no output."""

    script: str = ""
    """The script's path, or `<string>`."""
    traceback: str = ""
    """Python's traceback, from the script's first line on."""


class ClipError(Error, ValueError):
    """The clip cannot be encoded as it is: no frames, a format that libav lacks, a range outside it."""


class FrameError(Error):
    """A filter failed while it made a frame. Of a live clip, what Python raised in it, if it did, is the `__cause__`."""

    frame: int = -1
    """The number of the output frame, from 0."""
    traceback: str = ""
    """The filter's message, or Python's traceback."""


class CommandError(Error, ValueError):
    """The encode command does not mean anything here."""


class SettingError(Error, ValueError):
    """An argument has a value that makes no sense."""


class EncoderError(Error, RuntimeError):
    """The encoder, or a filter in front of it, refused its settings or its input."""

    stage: str = ""
    """The encoder's or filter's name, such as `libx265`."""
    log: tuple[str, ...] = ()
    """The last lines that it logged, oldest first."""


class SourceError(Error, OSError):
    """The source of a merge cannot be read."""

    path: Path | None = None


class OutputError(Error, OSError):
    """The output, or the state that a rip keeps beside it, could not be written."""

    path: Path | None = None


class BusyError(Error, OSError):
    """Another rip is making the same file."""

    path: Path | None = None


class ChunkError(Error):
    """A chunk of a rip failed each time that it was tried; the `__cause__` says why. What is finished is kept."""

    chunk: int = -1
    """The chunk, from 0."""


class ProcessError(Error, ChildProcessError):
    """The process that evaluated a script ended by itself: it crashed, or somebody killed it."""

    exit_code: int | None = None
    """Its exit code; a signal's number below 0."""
    traceback: str = ""
    """Where the script was when a signal ended it, the latest call first; empty where that was in no Python."""


class ServerError(Error, OSError):
    """The server refused a request, could not be reached, or its task failed."""

    status: int | None = None
    """The HTTP status, if there was an answer."""


class Cancelled(Error, KeyboardInterrupt):
    """Ctrl-C, or a `CancelToken`. No output file exists; a rip keeps its finished chunks. Where Ctrl-C came when the file was in
    place already, it is a `KeyboardInterrupt` of Python's.

    It is a `KeyboardInterrupt`, and, as part of this tree, an `Exception` too: a loop that goes on after any `Exception`
    should let it pass first.
    """


_KINDS: dict[str, type[Error]] = {
    kind.__name__: kind
    for kind in (
        Error,
        SetupError,
        ScriptError,
        ClipError,
        FrameError,
        CommandError,
        SettingError,
        EncoderError,
        SourceError,
        OutputError,
        BusyError,
        ChunkError,
        ProcessError,
        ServerError,
        Cancelled,
    )
}

_FIELDS = ("fix", "script", "traceback", "frame", "stage", "log", "path", "chunk", "exit_code", "status")


def make(kind: str, message: str, fields: dict[str, Any] | None = None) -> Error:
    """The exception of that class; the compiled half and the encoder process's answers come through here."""
    error = _KINDS.get(kind, Error)(message)
    for name, value in (fields or {}).items():
        if name == "path" and value is not None:
            value = Path(value)
        elif name == "log":
            value = tuple(value)
        setattr(error, name, value)
    return error


def as_cancelled[E: BaseException](error: E) -> E | Cancelled:
    """Ctrl-C's exception as ours; any other as it is."""
    if not isinstance(error, KeyboardInterrupt) or isinstance(error, Cancelled):
        return error
    cancelled = Cancelled("the encode was cancelled")
    cancelled.__cause__ = error
    return cancelled


def handle_signals() -> None:
    """Nothing: the interpreter handles the signals that came when it enters a function."""


def to_wire(error: BaseException) -> dict[str, Any]:
    """An exception as plain values, with its causes."""
    if not isinstance(error, Error):
        import traceback

        text = "".join(traceback.format_exception(error)).rstrip()
        return {"kind": "Error", "message": text, "fields": {}, "cause": None}
    fields = {name: getattr(error, name) for name in _FIELDS if name in vars(error)}
    if fields.get("path") is not None:
        fields["path"] = str(fields["path"])
    cause = error.__cause__
    return {
        "kind": type(error).__name__,
        "message": str(error),
        "fields": fields,
        "cause": to_wire(cause) if isinstance(cause, Error) else None,
    }


def from_wire(wire: dict[str, Any]) -> Error:
    """What `to_wire` wrote."""
    error = make(wire["kind"], wire["message"], wire["fields"])
    if wire["cause"] is not None:
        error.__cause__ = from_wire(wire["cause"])
    return error
