"""Where an encode's file goes: a path, or an object that takes bytes.

The library writes to open files. An object that is one of Python's own for an open file is written to directly. Of others, what
can be sought in gets the finished file, so that every container can be written to it; the rest gets the bytes as they come.
"""

from __future__ import annotations

import io
import os
import shutil
import tempfile
import threading
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any, Protocol, TypeAlias

from ._errors import OutputError, make
from ._settings import path


class Writer(Protocol):
    """Anything that takes bytes."""

    def write(self, data: bytes, /) -> object:
        """Take them all, or return how many were taken."""


# Not a `type`: mypy's stubtest takes no union behind one.
Output: TypeAlias = str | os.PathLike[str] | Writer

# How much is handed on at once.
_PART = 1 << 16


@contextmanager
def opened(output: Output) -> Generator[tuple[str, int | None]]:
    """The output's path; or a name for it, and the descriptor to write to, which are good while the block runs."""
    if isinstance(output, (str, os.PathLike)):
        yield path("output", output), None
        return
    if not callable(getattr(output, "write", None)):
        kind = type(output).__name__
        raise TypeError(f"an output must be a path, or an object with a method write that takes bytes, not {kind}")
    if isinstance(output, io.TextIOBase):
        raise TypeError("the output takes text; open the file for bytes, with mode 'wb', or give its .buffer")
    name = getattr(output, "name", None)
    name = name if isinstance(name, str) else "<stream>"
    if isinstance(output, io.FileIO) or isinstance(getattr(output, "raw", None), io.FileIO):
        file: Any = output
        file.flush()
        if file.seekable():
            # What was read ahead is not where the file stands.
            file.seek(file.tell())
        yield name, file.fileno()
        if file.seekable():
            file.seek(0, os.SEEK_CUR)
    elif _is_seekable(output):
        with tempfile.TemporaryFile() as file:
            yield name, file.fileno()
            file.seek(0)
            shutil.copyfileobj(file, output, _PART)
    else:
        with _pumped(output, name) as descriptor:
            yield name, descriptor


def _is_seekable(output: object) -> bool:
    seekable = getattr(output, "seekable", None)
    return bool(seekable()) if callable(seekable) else False


@contextmanager
def _pumped(output: Writer, name: str) -> Generator[int]:
    """A pipe whose other end is read into the object, on a thread."""
    readable, writable = os.pipe()
    raised: list[BaseException] = []

    def pump() -> None:
        with open(readable, "rb", buffering=0) as source:
            try:
                while data := source.read(_PART):
                    _write(output, data)
            except BaseException as error:
                # The pipe breaks, which ends the encode.
                raised.append(error)

    thread = threading.Thread(target=pump, name="finalrip-output", daemon=True)
    thread.start()
    try:
        yield writable
    except OutputError as error:
        if raised:
            error.__cause__ = raised[0]
        raise
    finally:
        os.close(writable)
        thread.join()
    if raised:
        raise make("OutputError", f"cannot write {name}: {raised[0]}", {"path": name}) from raised[0]


def _write(output: Writer, data: bytes) -> None:
    while data:
        taken = output.write(data)
        if not isinstance(taken, int) or taken >= len(data):
            return
        data = data[taken:]
