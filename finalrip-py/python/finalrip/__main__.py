"""The command `finalrip`, which is `python -m finalrip` as well."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import finalrip
from finalrip import Error
from finalrip._doctor import doctor
from finalrip._record import Record


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    given = _parser().parse_args(arguments)
    try:
        return int(given.run(given))
    except finalrip.Cancelled as error:
        print(f"finalrip: {error}", file=sys.stderr)
        return 130
    except Error as error:
        print(f"finalrip: {error}", file=sys.stderr)
        cause = error.__cause__
        if isinstance(cause, Error):
            print(f"finalrip: because {cause}", file=sys.stderr)
        return 1


def _encode(given: argparse.Namespace) -> int:
    with _prints_aside(given):
        report = finalrip.encode(given.script, given.output, given.param, progress=_shows_bar(given), **_shared(given))
    return _tell(given, report)


def _rip(given: argparse.Namespace) -> int:
    with _prints_aside(given):
        report = finalrip.rip(
            given.script,
            given.output,
            given.param,
            progress=_shows_bar(given),
            workers=given.workers,
            chunk=given.chunk,
            slice=not given.no_slice,
            scene=not given.no_scene,
            resume=not given.no_resume,
            **_shared(given),
        )
    for note in report.notes:
        print(f"finalrip: {note}", file=sys.stderr)
    return _tell(given, report)


def _info(given: argparse.Namespace) -> int:
    if given.command is not None:
        command = finalrip.EncodeCommand.parse(given.command)
        return _tell(given, command)
    found = {"finalrip": finalrip.__version__, "libav": finalrip.libav_version(), "encoders": finalrip.encoders()}
    if given.json:
        print(json.dumps(found))
    else:
        print(f"finalrip {found['finalrip']}, libav of FFmpeg {found['libav']}, encoders:")
        print("\n".join(f"  {name}" for name in found["encoders"]))
    return 0


def _doctor(given: argparse.Namespace) -> int:
    findings = doctor()
    if given.json:
        print(json.dumps([finding.to_dict() for finding in findings]))
    else:
        for finding in findings:
            mark = {"good": "ok", "note": "--", "missing": "!!"}[finding.state]
            print(f"{mark} {finding.what}: {finding.found}")
            if finding.fix:
                print(f"   to fix it: {finding.fix}")
    return 1 if any(finding.state == "missing" for finding in findings) else 0


def _tell(given: argparse.Namespace, report: Record) -> int:
    if given.json:
        print(json.dumps(report.to_dict()))
    else:
        for name, value in report.to_dict().items():
            if value not in (None, [], {}, ""):
                print(f"{name}: {json.dumps(value) if isinstance(value, (list, dict)) else value}")
    return 0


@contextmanager
def _prints_aside(given: argparse.Namespace) -> Iterator[None]:
    """Where the answer is to be one JSON value, what the script prints goes to standard error."""
    if not given.json:
        yield
        return
    sys.stdout.flush()
    answer = os.dup(1)
    os.dup2(2, 1)
    try:
        yield
    finally:
        os.dup2(answer, 1)
        os.close(answer)


def _shows_bar(given: argparse.Namespace) -> bool:
    if given.json or not sys.stderr.isatty():
        return False
    try:
        import tqdm  # noqa: F401
    except ImportError:
        return False
    return True


def _shared(given: argparse.Namespace) -> dict[str, Any]:
    return {
        "source": given.source,
        "args": dict(given.arg),
        "range": given.range,
        "ignore_props": given.ignore_props,
        "output_index": given.output_index,
    }


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="finalrip", description=finalrip.__doc__.splitlines()[0] if finalrip.__doc__ else "")
    parser.add_argument("--version", action="version", version=f"finalrip {finalrip.__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    encode = _add(commands, "encode", _encode, "encode a script's output: the video alone, in one pass")
    rip = _add(commands, "rip", _rip, "a whole job: in chunks, to be resumed, merged with the source's other streams")
    for work in (encode, rip):
        _add_work(work)
    rip.add_argument("--workers", type=int, metavar="N", help="chunks to encode at the same time")
    rip.add_argument("--chunk", metavar="LENGTH", help="how long a chunk should be, such as 30s or 720f")
    rip.add_argument("--no-slice", action="store_true", help="make one chunk of it all")
    rip.add_argument("--no-scene", action="store_true", help="do not look for scene cuts to divide at")
    rip.add_argument("--no-resume", action="store_true", help="do not use what an interrupted run has finished")
    info = _add(commands, "info", _info, "the encoders that are there, or what a command means")
    info.add_argument("command", nargs="?", metavar="PARAM", help="an encode command to read")
    _add(commands, "doctor", _doctor, "what is found of what is needed, with fixes; exit code 1 if something is missing")
    return parser


def _add(commands: Any, name: str, run: Any, text: str) -> argparse.ArgumentParser:
    command: argparse.ArgumentParser = commands.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".")
    command.set_defaults(run=run)
    command.add_argument("--json", action="store_true", help="print the answer as one JSON value")
    return command


def _add_work(command: argparse.ArgumentParser) -> None:
    command.add_argument("script", metavar="SCRIPT", help="the VapourSynth script")
    command.add_argument("output", metavar="OUT", help="the file to make")
    command.add_argument("--param", required=True, metavar="COMMAND", help="the encode command, such as '-c:v libx265 -crf 16'")
    command.add_argument("--source", metavar="FILE", help="what the script reads as FINALRIP_SOURCE")
    command.add_argument("--arg", action="append", default=[], type=_pair, metavar="K=V", help="a variable of the script")
    command.add_argument("--range", type=_range, metavar="A..B", help="the frames to take, B not among them")
    command.add_argument("--ignore-props", action="store_true", help="show the encoder just what a y4m pipe would")
    command.add_argument("--output-index", type=int, default=0, metavar="N", help="which output of the script to take")


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=VALUE")
    return name, value


def _range(text: str) -> tuple[int, int]:
    start, dots, stop = text.partition("..")
    try:
        if not dots:
            raise ValueError
        return int(start or 0), int(stop)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a range such as 0..240") from None


if __name__ == "__main__":
    sys.exit(main())
