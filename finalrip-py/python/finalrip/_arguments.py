"""The arguments of the command `finalrip`."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

_EXIT_CODES = """\
exit codes:
  0    it is done
  1    it failed: the reason is on standard error
  2    the command line makes no sense
  130  Ctrl-C; a rip goes on when the same command is run again
"""


def parser(description: str, version: str) -> argparse.ArgumentParser:
    """The parser without its commands."""
    made = argparse.ArgumentParser(
        prog="finalrip", description=description, epilog=_EXIT_CODES, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    made.add_argument("--version", action="version", version=f"finalrip {version}")
    return made


def add(commands: Any, name: str, run: Callable[[argparse.Namespace], int], text: str) -> argparse.ArgumentParser:
    """Add a command, which `run` carries out."""
    command: argparse.ArgumentParser = commands.add_parser(
        name,
        help=text,
        description=text[0].upper() + text[1:] + ".",
        epilog=_EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.set_defaults(run=run)
    command.add_argument("--json", action="store_true", help="print the answer as one JSON value, and no progress")
    return command


def add_work(command: argparse.ArgumentParser) -> None:
    """What `encode` and `rip` have in common."""
    command.add_argument("script", metavar="SCRIPT", help="the VapourSynth script")
    command.add_argument("output", metavar="OUT", help="the file to make; - is standard output")
    command.add_argument("--param", required=True, metavar="COMMAND", help="the encode command, such as '-c:v libx265 -crf 16'")
    command.add_argument("--source", metavar="FILE", help="what the script reads as FINALRIP_SOURCE")
    command.add_argument("--arg", action="append", default=[], type=_pair, metavar="K=V", help="a variable of the script")
    command.add_argument("--range", type=_range, metavar="A..B", help="the frames to take, B not among them; A.. and ..B are ranges too")
    command.add_argument("--output-index", type=_count, default=0, metavar="N", help="which output of the script to take")
    command.add_argument("--threads", type=_some, metavar="N", help="filter threads (default: one for each processor)")
    command.add_argument("--cache", type=_some, metavar="MIB", help="size of the frame cache (default: VapourSynth's)")
    command.add_argument("--requests", type=_some, metavar="N", help="frames requested ahead (default: the filter threads and two)")
    command.add_argument("--ignore-props", action="store_true", help="show the encoder just what a y4m pipe would")
    command.add_argument("--timing", choices=("auto", "constant", "variable"), default="auto", help="where timestamps come from")
    command.add_argument(
        "-q", "--quiet", action="store_true", help="print nothing but errors, what scripts and encoders print included"
    )


def add_rip(command: argparse.ArgumentParser) -> None:
    """What `rip` has beside that."""
    command.add_argument("--state", metavar="FOLDER", help="where a rip to standard output keeps what is finished")
    command.add_argument("--workers", type=_some, metavar="N", help="chunks to encode at the same time (default: from the machine)")
    command.add_argument("--chunk", metavar="LENGTH", help="how long a chunk should be, such as 30s or 720f")
    command.add_argument("--no-slice", action="store_true", help="make one chunk of it all")
    command.add_argument("--no-scene", action="store_true", help="do not look for scene cuts to divide at")
    command.add_argument("--no-resume", action="store_true", help="do not use what an interrupted run has finished")
    command.add_argument("--retries", type=_count, default=3, metavar="N", help="how often a failed chunk is tried again (default: 3)")
    command.add_argument(
        "--environments",
        choices=("shared", "per-worker"),
        default="shared",
        help="whether the workers share one evaluated script; one each is for source filters that seek badly",
    )
    for name in ("audio", "subtitles", "attachments", "chapters", "metadata"):
        command.add_argument(f"--no-{name}", action="store_true", help=f"leave out the source's {name}")
    command.add_argument("--plan-only", action="store_true", help="print how the clip would be divided, and do nothing")
    command.add_argument("--events", action="store_true", help="print what happens as JSON, one object a line; the last is the report")


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=VALUE")
    return name, value


def _range(text: str) -> tuple[int | None, int | None]:
    start, dots, stop = text.partition("..")
    if not dots:
        raise argparse.ArgumentTypeError(f"{text!r} is not a range such as 0..240, 100.. or ..240")
    return (_count(start) if start else None), (_count(stop) if stop else None)


def _count(text: str) -> int:
    if not (text.isascii() and text.isdecimal()):
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 0 on")
    return int(text)


def _some(text: str) -> int:
    number = _count(text)
    if number == 0:
        raise argparse.ArgumentTypeError("it is 1 at least")
    return number
