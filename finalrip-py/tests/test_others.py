"""Real inputs of VapourSynth's users: vsjetpack's filters, frames that numpy makes, a notebook."""

from __future__ import annotations

import base64
import io
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import finalrip
import numpy as np
import vapoursynth as vs
from conftest import BUNNY, FAST, ROOT
from PIL import Image


def test_a_clip_that_numpy_makes(tmp_path: Path) -> None:
    """Every pixel is known, goes through a lossless encoder, and is read back."""
    blank = vs.core.std.BlankClip(width=64, height=48, length=10, format=vs.GRAY8)
    y, x = np.mgrid[0:48, 0:64]

    def draw(n: int, f: vs.VideoFrame) -> vs.VideoFrame:
        out = f.copy()
        np.copyto(np.asarray(out[0]), ((x * 3 + y * 5 + n * 7) % 256).astype(np.uint8))
        return out

    clip = blank.std.ModifyFrame(blank, draw)
    report = finalrip.encode(clip, tmp_path / "drawn.mkv", "-c:v ffv1")
    assert report.frames == 10 and report.zero_copy
    raw = ["ffmpeg", "-v", "error", "-i", str(report.output), "-f", "rawvideo", "-pix_fmt", "gray", "-"]
    pixels = np.frombuffer(subprocess.run(raw, capture_output=True, check=True).stdout, np.uint8).reshape(10, 48, 64)
    for n in range(10):
        assert np.array_equal(pixels[n], (x * 3 + y * 5 + n * 7) % 256), n


VSJETPACK = """\
from vsrgtools import gauss_blur, unsharpen
from vskernels import Lanczos
from vstools import core, depth, initialize_clip
import os

src = initialize_clip(core.bs.VideoSource(os.environ["FINALRIP_SOURCE"]), bits=16)[:24]
small = Lanczos().scale(src, 320, 180)
sharp = unsharpen(small, 1.0, gauss_blur(small, 1.2))
depth(sharp, 10).set_output()
"""


def test_scripts_of_vsjetpack(tmp_path: Path, hashes: Callable[[Path], list[str]]) -> None:
    script = tmp_path / "jet.vpy"
    script.write_text(VSJETPACK)
    report = finalrip.rip(script, tmp_path / "jet.mkv", "-c:v ffv1", source=BUNNY, workers=1)
    assert report.pictures == 24 and report.pixel_format == "yuv420p10le"
    from vskernels import Lanczos
    from vsrgtools import gauss_blur, unsharpen
    from vstools import depth, initialize_clip

    small = Lanczos().scale(initialize_clip(vs.core.bs.VideoSource(str(BUNNY)), bits=16)[:24], 320, 180)
    live = depth(unsharpen(small, 1.0, gauss_blur(small, 1.2)), 10)
    finalrip.encode(live, tmp_path / "live.mkv", "-c:v ffv1")
    assert hashes(tmp_path / "live.mkv") == hashes(tmp_path / "jet.mkv")


def test_the_notebook_runs_and_shows_pictures(tmp_path: Path) -> None:
    notebook = tmp_path / "python.ipynb"
    notebook.write_text((ROOT / "examples/python.ipynb").read_text())
    (tmp_path / "media").symlink_to(ROOT / "examples/media")
    command = [sys.executable, "-m", "jupyter", "nbconvert", "--to", "notebook", "--execute", "--inplace", str(notebook)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-4000:]
    cells = json.loads(notebook.read_text())["cells"]
    outputs = [output for cell in cells for output in cell.get("outputs", ())]
    pictures = [output["data"]["image/png"] for output in outputs if "image/png" in output.get("data", {})]
    assert len(pictures) == 2
    encoded = np.asarray(Image.open(io.BytesIO(base64.b64decode(pictures[1]))).convert("RGB")).astype(int)
    before, after = encoded[:, :640], encoded[:, 640:]
    assert before.std() > 20, "a picture, and not a plain colour"
    error = ((before - after) ** 2).mean()
    assert 0 < error < 40, f"the encode is another picture than its clip: a mean square error of {error:.1f}"
    tables = [output for output in outputs if "text/html" in output.get("data", {})]
    assert any("EncodeReport" in "".join(table["data"]["text/html"]) for table in tables)
    assert (tmp_path / "notebook-rip.mkv").is_file()
