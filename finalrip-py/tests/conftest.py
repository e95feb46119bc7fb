"""What the tests share. They run against the installed package: `make test` builds a wheel and installs it."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import vapoursynth as vs

ROOT = Path(__file__).resolve().parents[2]
BUNNY = ROOT / "examples/media/big_buck_bunny_720p.mp4"
FAST = "-c:v libx264 -preset ultrafast"

# A shell starts what runs in the background with Ctrl-C ignored, and Python leaves that as it is.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def bunny() -> Path:
    """The real clip: 132 frames of 1280x720 at 25 fps, with sound."""
    return BUNNY


@pytest.fixture
def moving() -> vs.VideoNode:
    """48 frames, each of them different, of a size that encodes quickly."""
    clip = vs.core.bs.VideoSource(str(BUNNY))[:48]
    return clip.resize.Bilinear(320, 180, format=vs.YUV420P8, matrix_in_s="709", matrix_s="709")


@pytest.fixture
def blank() -> vs.VideoNode:
    return vs.core.std.BlankClip(width=320, height=180, length=48, format=vs.YUV420P8, keep=True)


@pytest.fixture
def hashes() -> Callable[[Path], list[str]]:
    """Every decoded picture of a file, hashed by the distribution's ffmpeg."""

    def judge(file: Path) -> list[str]:
        command = ["ffmpeg", "-v", "error", "-i", str(file), "-map", "0:v:0", "-fps_mode", "passthrough", "-f", "framemd5", "-"]
        text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        return [line.rsplit(",", 1)[1].strip() for line in text.splitlines() if not line.startswith("#")]

    return judge


@pytest.fixture
def rust() -> Callable[..., Path]:
    """The library's own work with a script, by its example programs `encode` and `rip`, which `cargo test` builds."""
    folder = Path(os.environ.get("FINALRIP_EXAMPLES", ROOT / "target/debug/examples"))

    def make(program: str, script: Path, output: Path, command: str, *more: str | Path) -> Path:
        path = folder / program
        assert path.is_file(), f"{path} is not built; `make test` builds it"
        done = subprocess.run([path, script, output, "--param", command, *more], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return output

    return make


def leftovers(folder: Path) -> list[str]:
    """What is in a folder, hidden files too."""
    return sorted(path.name for path in folder.iterdir())
