"""A live node from Python, against the Rust library and against `clip.output()` piped into ffmpeg.

    python live.py --encode target/release/examples/encode [--frames 600] [--rounds 6]

Blank 1080p, x264 ultrafast. The three run in turn, in another order each round, after one round that does not count. All
make the same packets, which is checked. What is printed are ratios, pair by pair: median, smallest, largest. The Rust library's
frames a second are its own report's, as Python's are: neither counts the start of a process. Its CPU time does.
"""

from __future__ import annotations

import argparse
import hashlib
import itertools
import json
import os
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import finalrip
import vapoursynth as vs

COMMAND = "-c:v libx264 -preset ultrafast"
SCRIPT = (
    "import vapoursynth as vs\n"
    "vs.core.std.BlankClip(width=1920, height=1080, format=vs.YUV420P8, length={frames}, keep=True).set_output()\n"
)


def live(folder: Path, frames: int) -> tuple[float, Path]:
    clip = vs.core.std.BlankClip(width=1920, height=1080, format=vs.YUV420P8, length=frames, keep=True)
    report = finalrip.encode(clip, folder / "python.mkv", COMMAND, ignore_props=True)
    return report.fps, report.output


def rust(program: Path, folder: Path, frames: int) -> tuple[float, Path]:
    script, output = folder / "blank.vpy", folder / "rust.mkv"
    script.write_text(SCRIPT.format(frames=frames))
    command = [program, script, output, "--param", COMMAND, "--ignore-props", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return float(json.loads(done.stdout)["fps"]), output


def pipe(folder: Path, frames: int) -> tuple[float, Path]:
    clip = vs.core.std.BlankClip(width=1920, height=1080, format=vs.YUV420P8, length=frames, keep=True)
    output = folder / "pipe.mkv"
    command = ["ffmpeg", "-v", "error", "-y", "-i", "-", *COMMAND.split(), str(output)]
    started = time.perf_counter()
    with subprocess.Popen(command, stdin=subprocess.PIPE) as ffmpeg:
        assert ffmpeg.stdin is not None
        clip.output(ffmpeg.stdin, y4m=True)
        ffmpeg.stdin.close()
        assert ffmpeg.wait() == 0
    return frames / (time.perf_counter() - started), output


def packets(file: Path) -> str:
    command = ["ffmpeg", "-v", "error", "-i", file, "-c", "copy", "-f", "framemd5", "-"]
    text = subprocess.run(command, capture_output=True, check=True).stdout
    lines = [line for line in text.splitlines() if not line.startswith(b"#")]
    return hashlib.sha256(b"\n".join(lines)).hexdigest()


class Measured(NamedTuple):
    fps: float
    cpu: float
    """Seconds, of this process and of those that it started."""


def measured(run: Callable[[], tuple[float, Path]]) -> Measured:
    before = os.times()
    fps, _ = run()
    return Measured(fps, sum(os.times()[:4]) - sum(before[:4]))


def spread(ratios: list[float]) -> str:
    return f"{statistics.median(ratios):.2f} ({min(ratios):.2f}..{max(ratios):.2f})"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--encode", type=Path, required=True, help="the library's example program `encode`")
    parser.add_argument("--frames", type=int, default=600)
    parser.add_argument("--rounds", type=int, default=6)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="finalrip-bench-") as name:
        folder = Path(name)
        sides: dict[str, Callable[[], tuple[float, Path]]] = {
            "python": lambda: live(folder, given.frames),
            "rust": lambda: rust(given.encode, folder, given.frames),
            "pipe": lambda: pipe(folder, given.frames),
        }
        made = {packets(run()[1]) for run in sides.values()}
        assert len(made) == 1, "the three do not make the same packets"
        # Whoever always comes second is measured on another machine than who comes first: processors tire.
        orders = itertools.cycle(itertools.permutations(sides))
        rounds = [{side: measured(sides[side]) for side in next(orders)} for _ in range(given.rounds)]
    for side in sides:
        print(f"{side:>7}: {statistics.median(run[side].fps for run in rounds):7.1f} fps")
    for other in ("rust", "pipe"):
        fps = spread([run["python"].fps / run[other].fps for run in rounds])
        cpu = spread([run["python"].cpu / run[other].cpu for run in rounds])
        print(f"python / {other}: fps {fps}, CPU time {cpu}")


if __name__ == "__main__":
    main()
