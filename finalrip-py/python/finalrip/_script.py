"""Scripts: what a caller gives, and how the process that evaluates them does it."""

from __future__ import annotations

import os
import stat
import sys
import traceback
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from ._errors import ClipError, ScriptError, SettingError, make
from ._settings import path as absolute
from ._settings import refuse, whole, whole_or_none

if TYPE_CHECKING:
    import vapoursynth as vs
else:
    from ._lazy import vs

SOURCE_VARIABLE = "FINALRIP_SOURCE"


@dataclass(frozen=True)
class Script:
    """A script and what it is evaluated with; paths are absolute."""

    text: str
    path: str | None
    source: str | None
    args: dict[str, str]
    output_index: int
    threads: int | None = None
    """The core's filter threads; None: one for each logical processor."""
    cache: int | None = None
    """The size of the core's frame cache, in MiB, above which it gives memory back; None: VapourSynth's own."""

    def with_core(self, threads: object, cache: object) -> Script:
        """As it is, for a core with these settings."""
        threads, cache = whole_or_none("threads", threads, 1), whole_or_none("cache", cache, 1)
        return replace(self, threads=threads, cache=cache)

    @property
    def name(self) -> str:
        return self.path or "<string>"

    @property
    def inputs(self) -> list[str]:
        """The files that it is known to read, and its own."""
        return [path for path in (self.path, self.source) if path is not None]

    def to_wire(self) -> dict[str, Any]:
        return asdict(self)


def as_script(
    script: object, source: str | os.PathLike[str] | None, args: Mapping[str, str] | None, output_index: int
) -> Script:
    """The script that the caller means; a file is read now."""
    if isinstance(script, str) and ("\n" in script or "\r" in script):
        path, text = None, script.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
    elif isinstance(script, (str, os.PathLike)):
        path = os.path.abspath(os.fspath(script))
        text = _read(path)
    else:
        kind = type(script).__name__
        raise TypeError(f"a clip must be a vapoursynth.VideoNode, a script's path or a script's text, not {kind}")
    if args is not None and not isinstance(args, Mapping):
        raise refuse("args", args, "a mapping of names to values")
    if any(not isinstance(name, str) or not isinstance(value, str) for name, value in (args or {}).items()):
        raise SettingError("args cannot be used: names and values must be text, as vspipe --arg sets them")
    where = None if source is None else absolute("source", source)
    return Script(text, path, where, dict(args or {}), whole("output_index", output_index, 0))


def refuse_output(output: str, script: Script) -> None:
    """Raise OutputError if the output is the script or its source, under whatever name; the library looks again."""
    for what, path in (("the script", script.path), ("the source", script.source)):
        with suppress(OSError):
            if path is not None and os.path.samefile(path, output) and not stat.S_ISCHR(os.stat(output).st_mode):
                raise make("OutputError", f"cannot write {output}: it is {what}; choose another name", {"path": output})


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8-sig", errors="replace") as file:
            return file.read()
    except OSError as error:
        reason = f"cannot open {path}: {error.strerror}"
        raise make("ScriptError", f"the script {path} failed:\n{reason}", {"script": path, "traceback": reason}) from error


def evaluate(script: Script) -> tuple[vs.VideoNode, vs.VideoNode | None]:
    """Run the script in this process, as vspipe does, and take its output, and the alpha that was set beside it.

    It runs inside its own folder, in which modules are looked for first, with the name `__vapoursynth__`. For the process that
    was started for it alone.
    """
    if script.source is not None:
        os.environ[SOURCE_VARIABLE] = script.source
    namespace: dict[str, Any] = {**script.args, "__name__": "__vapoursynth__"}
    if script.path is not None:
        namespace["__file__"] = script.path
        folder = os.path.dirname(script.path)
        # Where it is named, and, where that goes through links, where it lies.
        folders = list(dict.fromkeys((folder, os.path.dirname(os.path.realpath(script.path)))))
        if sys.path[: len(folders)] != folders:
            sys.path[:0] = folders
        os.chdir(folder)
    try:
        import vapoursynth as vs

        if script.threads is not None:
            vs.core.num_threads = script.threads
        if script.cache is not None:
            vs.core.max_cache_size = script.cache
        exec(compile(script.text, script.name, "exec", dont_inherit=True), namespace)
    except SystemExit as error:
        raise _failed(script, f"it called exit({error.code!r})") from None
    except BaseException as error:
        raise _failed(script, _traceback(error)) from None
    output = vs.get_outputs().get(script.output_index)
    if output is None:
        index = script.output_index
        raise ClipError(
            f"the clip cannot be encoded: the script set no output {index}; end it with clip.set_output({index})"
        )
    clip = getattr(output, "clip", output)
    if not isinstance(clip, vs.VideoNode):
        raise ClipError("the clip cannot be encoded: the script's output is audio; only video can be encoded")
    return clip, getattr(output, "alpha", None)


def _traceback(error: BaseException) -> str:
    """From the script's first line on: what stands above it is ours."""
    own = error.__traceback__
    rest = own.tb_next if own is not None else None
    return "".join(traceback.format_exception(type(error), error, rest)).rstrip()


def _failed(script: Script, text: str) -> ScriptError:
    error = make("ScriptError", f"the script {script.name} failed:\n{text}", {"script": script.name, "traceback": text})
    assert isinstance(error, ScriptError)
    return error


def follow_python() -> list[str]:
    """Where this interpreter finds modules, for a process that is to find the same."""
    # The import system passes over what is not text.
    return [entry or os.getcwd() for entry in sys.path if isinstance(entry, str)]
