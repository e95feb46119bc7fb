"""The command `finalrip`, which is `python -m finalrip` as well."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

import finalrip
from finalrip import Error, _arguments
from finalrip._doctor import doctor
from finalrip._progress import Display, Lines, bar_maker, clock, lasting
from finalrip._record import Record

# The outputs that are standard output.
_STDOUT = ("-", "pipe:", "pipe:1", "/dev/stdout", "/dev/fd/1", "/proc/self/fd/1")


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    given = _parser().parse_args(arguments)
    try:
        return int(given.run(given))
    except finalrip.Cancelled as error:
        _say(error)
        _say_how_to_go_on(given)
        return 130
    except Error as error:
        _say(error)
        if isinstance(error.__cause__, Error):
            _say(f"because {error.__cause__}")
        if not isinstance(error, finalrip.BusyError):
            _say_how_to_go_on(given)
        return 1
    except KeyboardInterrupt:
        return 130
    finally:
        _flush()


def _encode(given: argparse.Namespace) -> int:
    with _prints_aside(given), _stdout(given) as stdout, _progress(given) as show:
        output = given.output if stdout is None else stdout
        report = finalrip.encode(given.script, output, given.param, progress=show, **_shared(given))
    if given.quiet:
        return 0
    for note in report.notes:
        _say(note)
    return _tell(given, report)


def _rip(given: argparse.Namespace) -> int:
    options = _shared(given) | {
        "workers": given.workers,
        "chunk": given.chunk,
        "slice": not given.no_slice,
        "scene": not given.no_scene,
        "resume": not given.no_resume,
        "retries": given.retries,
        "environments": given.environments,
        "audio": not given.no_audio,
        "subtitles": not given.no_subtitles,
        "attachments": not given.no_attachments,
        "chapters": not given.no_chapters,
        "metadata": not given.no_metadata,
    }
    if given.plan_only:
        with _prints_aside(given):
            plan = finalrip.plan(given.script, given.output, given.param, **options)
        return _tell_plan(given, plan)
    with (
        _prints_aside(given) as answers,
        _stdout(given) as stdout,
        _made_in(given, stdout) as output,
        _progress(given, answers) as show,
    ):
        report = finalrip.rip(given.script, output, given.param, progress=show, **options)
        if stdout is not None:
            with open(output, "rb") as made:
                shutil.copyfileobj(made, stdout)
            os.unlink(output)
    if given.events or given.quiet:
        return 0
    for note in report.notes:
        _say(note)
    return _tell(given, report)


def _info(given: argparse.Namespace) -> int:
    if given.command is not None:
        command = finalrip.EncodeCommand.parse(given.command)
        return _tell(given, command)
    found = {"finalrip": finalrip.__version__, "libav": finalrip.libav_version(), "encoders": finalrip.encoders()}
    if given.json:
        _print(json.dumps(found))
    else:
        _print(f"finalrip {found['finalrip']}, libav of FFmpeg {found['libav']}, encoders:")
        _print("\n".join(f"  {name}" for name in found["encoders"]))
    return 0


def _doctor(given: argparse.Namespace) -> int:
    findings = doctor()
    if given.json:
        _print(json.dumps([finding.to_dict() for finding in findings]))
    else:
        for finding in findings:
            mark = {"good": "ok", "note": "--", "missing": "!!"}[finding.state]
            _print(f"{mark} {finding.what}: {finding.found}")
            if finding.fix:
                _print(f"   to fix it: {finding.fix}")
    return 1 if any(finding.state == "missing" for finding in findings) else 0


def _tell(given: argparse.Namespace, report: Record) -> int:
    if given.json:
        _print(json.dumps(report.to_dict()))
    else:
        for name, value in report.to_dict().items():
            if name != "log" and value not in (None, [], {}, ""):
                _print(f"{name}: {json.dumps(value) if isinstance(value, (list, dict)) else value}")
    return 0


def _tell_plan(given: argparse.Namespace, plan: finalrip.Plan) -> int:
    if given.json or given.events:
        _print(json.dumps(plan.to_dict()))
        return 0
    frames = sum(len(chunk.range) for chunk in plan.chunks)
    length = "" if plan.frame_rate is None else f", {clock(float(frames / plan.frame_rate))} long"
    _print(f"{frames} frames{length}, in {len(plan.chunks)} chunks, {plan.workers} at a time")
    for number, chunk in enumerate(plan.chunks):
        cut = ", at a scene cut" if chunk.at_cut else ""
        _print(f"  {number}: {chunk.range.start}..{chunk.range.stop}, {len(chunk.range)} frames{cut}")
    return 0


def _print(text: str) -> None:
    """Print a line of the answer. Whoever reads it may have gone, as `head` does, which is no fault."""
    try:
        print(text, flush=True)
    except BrokenPipeError:
        _drop(sys.stdout)


def _say(text: object) -> None:
    """Say something to a person."""
    try:
        print(f"finalrip: {text}", file=sys.stderr, flush=True)
    except OSError:
        _drop(sys.stderr)


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            _drop(stream)


def _drop(stream: Any) -> None:
    """Let a stream lead nowhere: what it still holds would be written, and fail again, when Python ends."""
    with suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)


def _say_how_to_go_on(given: argparse.Namespace) -> None:
    """Of a rip: what is finished is kept."""
    if given.run is not _rip or given.plan_only:
        return
    state = Path(os.path.abspath(given.output) + ".finalrip")
    if state.is_dir():
        _say(f"what is finished is kept in {state}; the same command goes on from there")


@contextmanager
def _prints_aside(given: argparse.Namespace) -> Iterator[int]:
    """Where the answer is for a program, what the script prints goes to standard error; the answer's descriptor."""
    if not given.json and not getattr(given, "events", False):
        yield 1
        return
    if getattr(given, "output", None) in _STDOUT:
        # The file goes where the answer would.
        yield 2
        return
    _flush()
    answer = os.dup(1)
    os.dup2(2, 1)
    try:
        yield answer
    finally:
        os.dup2(answer, 1)
        os.close(answer)


@contextmanager
def _stdout(given: argparse.Namespace) -> Iterator[BinaryIO | None]:
    """Standard output for the file, if it goes there; what is printed goes to standard error from then on."""
    if given.output not in _STDOUT:
        yield None
        return
    _flush()
    taken = os.dup(1)
    os.dup2(2, 1)
    with open(taken, "wb") as stdout:
        yield stdout


@contextmanager
def _made_in(given: argparse.Namespace, stdout: BinaryIO | None) -> Iterator[str]:
    """The file that a rip makes. One for standard output is made in a folder, since a rip goes back and forth in it."""
    if stdout is None:
        yield given.output
    elif given.state is not None:
        os.makedirs(given.state, exist_ok=True)
        yield os.path.join(given.state, "stdout")
    else:
        with tempfile.TemporaryDirectory(prefix="finalrip-") as folder:
            yield os.path.join(folder, "stdout")


@contextmanager
def _progress(given: argparse.Namespace, answers: int = 1) -> Iterator[Callable[[Record], object] | bool]:
    """What shows the progress: a bar on a terminal, lines elsewhere, JSON for programs, or nothing."""
    if getattr(given, "events", False):
        yield lambda event: _write_json(answers, event)
    elif given.json or given.quiet:
        yield False
    elif not sys.stderr.isatty():
        yield Lines(_say).show
    else:
        with Display(bar_maker()) as display:
            yield lambda event: _show(display, event)


def _show(display: Display, event: Record) -> None:
    line = lasting(event)
    if line is not None:
        display.pause()
        _say(line)
    display.show(event)


def _write_json(answers: int, event: Record) -> None:
    kind = "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in type(event).__name__).lstrip("_")
    line = json.dumps({"event": kind.removeprefix("rip_")} | event.to_dict()) + "\n"
    try:
        rest = line.encode()
        while rest:
            rest = rest[os.write(answers, rest) :]
    except BrokenPipeError:
        # Whoever read them has gone, which is no reason to stop.
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, answers)
        os.close(nowhere)


def _shared(given: argparse.Namespace) -> dict[str, Any]:
    return {
        "source": given.source,
        "args": dict(given.arg),
        "range": given.range,
        "ignore_props": given.ignore_props,
        "output_index": given.output_index,
        "threads": given.threads,
        "cache": given.cache,
        "requests": given.requests,
        "timing": given.timing,
        "quiet": given.quiet,
    }


def _parser() -> argparse.ArgumentParser:
    description = finalrip.__doc__.splitlines()[0] if finalrip.__doc__ else ""
    parser = _arguments.parser(description, finalrip.__version__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    encode = _arguments.add(commands, "encode", _encode, "encode a script's output: the video alone, in one pass")
    _arguments.add_work(encode)
    rip = _arguments.add(commands, "rip", _rip, "a whole job: in chunks, to be resumed, merged with the source's other streams")
    _arguments.add_work(rip)
    _arguments.add_rip(rip)
    info = _arguments.add(commands, "info", _info, "the encoders that are there, or what a command means")
    info.add_argument("command", nargs="?", metavar="PARAM", help="an encode command to read")
    _arguments.add(commands, "doctor", _doctor, "what is found of what is needed, with fixes; exit code 1 if something is missing")
    return parser


if __name__ == "__main__":
    sys.exit(main())
