"""Outputs that are no paths, outputs that are inputs, alpha, and what surrounds a script."""

from __future__ import annotations

import gzip
import io
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import finalrip
import pytest
import vapoursynth as vs
from conftest import BUNNY, FAST, leftovers

MKV = FAST + " -f matroska"
SCRIPT = (
    "import vapoursynth as vs\n"
    "vs.core.std.BlankClip(width=64, height=48, format=vs.YUV420P8, length=12).set_output()\n"
)


class Sink:
    """Has a method write, and nothing else."""

    def __init__(self, refuses: bool = False) -> None:
        self.bytes, self._refuses = b"", refuses

    def write(self, data: bytes) -> int:
        if self._refuses:
            raise ValueError("no room here")
        self.bytes += data[:1000]
        return len(data[:1000])


@pytest.fixture(params=["live", "script"])
def clip(request: pytest.FixtureRequest, blank: vs.VideoNode) -> vs.VideoNode | str:
    return blank[:12] if request.param == "live" else SCRIPT


def test_objects_that_take_bytes(clip: vs.VideoNode | str, hashes: Callable[[Path], list[str]], tmp_path: Path) -> None:
    file = tmp_path / "received"
    sink = Sink()
    report = finalrip.encode(clip, sink, MKV)
    assert report.bytes == len(sink.bytes) and str(report.output) == "<stream>"
    file.write_bytes(sink.bytes)
    assert len(hashes(file)) == 12

    memory = io.BytesIO()
    memory.write(b"before")
    finalrip.encode(clip, memory, FAST + " -f mp4")
    file.write_bytes(memory.getvalue().removeprefix(b"before"))
    assert len(hashes(file)) == 12

    with gzip.open(tmp_path / "packed", "wb") as packed:
        finalrip.encode(clip, packed, MKV)
    file.write_bytes(gzip.decompress((tmp_path / "packed").read_bytes()))
    assert len(hashes(file)) == 12

    with open(file, "w+b") as held:
        held.write(b"before")
        report = finalrip.encode(clip, held, FAST + " -f mp4")
        held.write(b"after")
        assert report.output == file
    video = file.read_bytes()
    assert video.startswith(b"before") and video.endswith(b"after")
    file.write_bytes(video[6:-5])
    assert len(hashes(file)) == 12


def test_pipes(clip: vs.VideoNode | str, hashes: Callable[[Path], list[str]], tmp_path: Path) -> None:
    readable, writable = os.pipe()
    received: list[bytes] = []

    def read() -> None:
        with open(readable, "rb") as source:
            received.append(source.read())

    reader = threading.Thread(target=read)
    reader.start()
    with open(writable, "wb") as sink:
        finalrip.encode(clip, sink, MKV)
    reader.join()
    (tmp_path / "received").write_bytes(received[0])
    assert len(hashes(tmp_path / "received")) == 12


def test_what_cannot_take_the_file(clip: vs.VideoNode | str, tmp_path: Path) -> None:
    with pytest.raises(finalrip.OutputError) as refused:
        finalrip.encode(clip, Sink(refuses=True), MKV)
    assert isinstance(refused.value.__cause__, ValueError)
    with pytest.raises(finalrip.OutputError, match="name a file"):
        finalrip.encode(clip, Sink(), FAST + " -f mp4")
    with pytest.raises(TypeError, match="'wb'"), open(tmp_path / "text", "w") as text:
        finalrip.encode(clip, text, MKV)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="method write"):
        finalrip.encode(clip, 7, MKV)  # type: ignore[arg-type]
    memory = io.BytesIO()
    with pytest.raises(finalrip.EncoderError):
        finalrip.encode(clip, memory, "-c:v libx264 -x264-params nonsense=1 -f mp4")
    assert memory.getvalue() == b""


@pytest.mark.parametrize("program", ["encode", "rip"])
def test_the_command_writes_to_standard_output(program: str, hashes: Callable[[Path], list[str]], tmp_path: Path) -> None:
    script = tmp_path / "s.vpy"
    script.write_text(SCRIPT + "print('a print')\n")
    command = [sys.executable, "-m", "finalrip", program, str(script), "-", "--param", MKV]
    done = subprocess.run(command, capture_output=True, check=True)
    (tmp_path / "received").write_bytes(done.stdout)
    assert len(hashes(tmp_path / "received")) == 12
    assert b"a print" in done.stderr and b"pictures: 12" in done.stderr


def test_an_output_that_is_an_input(tmp_path: Path) -> None:
    film, link, hard = tmp_path / "film.mp4", tmp_path / "link.mp4", tmp_path / "hard.mp4"
    film.write_bytes(BUNNY.read_bytes())
    link.symlink_to(film)
    os.link(film, hard)
    script = tmp_path / "s.vpy"
    script.write_text('import os, vapoursynth as vs\nvs.core.bs.VideoSource(os.environ["FINALRIP_SOURCE"])[:8].set_output()\n')
    text = script.read_text()
    before = leftovers(tmp_path)
    for output in (film, link, hard, tmp_path / "." / "film.mp4", script):
        for work in (finalrip.encode, finalrip.rip):
            with pytest.raises(finalrip.OutputError, match="choose another name"):
                work(script, output, FAST + " -f matroska", source=film)
    live = vs.core.bs.VideoSource(str(film), cachemode=0)[:8]
    with pytest.raises(finalrip.OutputError, match="open for reading"):
        finalrip.encode(live, film, FAST)
    assert film.read_bytes() == BUNNY.read_bytes() and script.read_text() == text
    assert [name for name in leftovers(tmp_path) if not name.endswith(".bsindex")] == before


def alpha_of(file: Path) -> bytes:
    command = ["ffmpeg", "-v", "error", "-i", file, "-vf", "alphaextract,format=gray", "-f", "rawvideo", "-"]
    return subprocess.run(command, capture_output=True, check=True).stdout


def test_alpha_of_live_clips_and_scripts(moving: vs.VideoNode, tmp_path: Path) -> None:
    clip = moving[:6].resize.Point(64, 48)
    alpha = clip.std.ShufflePlanes(0, vs.GRAY).std.Reverse()
    expected = b"".join(bytes(frame[0]) for frame in alpha.frames(close=True))
    clip.set_output(5, alpha=alpha)
    report = finalrip.encode(vs.get_output(5), tmp_path / "live.mkv", "-c:v ffv1")
    assert report.zero_copy and alpha_of(tmp_path / "live.mkv") == expected
    with pytest.raises(finalrip.EncoderError, match="libx264 cannot encode"):
        finalrip.encode(vs.get_output(5), tmp_path / "no.mkv", FAST)
    vs.clear_output(5)
    script = SCRIPT.replace(".set_output()", "").replace("vs.core.std", "clip = vs.core.std")
    script += "clip.set_output(alpha=vs.core.std.BlankClip(clip, format=vs.GRAY8, color=40))\n"
    finalrip.encode(script, tmp_path / "script.mov", "-c:v qtrle")
    assert set(alpha_of(tmp_path / "script.mov")) == {40}
    with pytest.raises(finalrip.EncoderError, match="libx264 cannot encode"):
        finalrip.rip(script, tmp_path / "no.mkv", FAST)
    finalrip.rip(script, tmp_path / "rip.mkv", "-c:v ffv1", chunk=5)
    assert set(alpha_of(tmp_path / "rip.mkv")) == {40}


def test_a_script_finds_what_lies_beside_it_and_is_read_as_it_was_written(tmp_path: Path) -> None:
    (tmp_path / "helper.py").write_text("COUNT = 5\n")
    text = SCRIPT.replace("length=12", "length=helper.COUNT")
    script = tmp_path / "s.vpy"
    script.write_bytes(b"\xef\xbb\xbf" + ("import helper\n" + text).replace("\n", "\r\n").encode())
    assert finalrip.encode(script, tmp_path / "a.mkv", FAST).frames == 5
    for marked in ("\ufeff" + SCRIPT, SCRIPT.replace("\n", "\r"), "\ufeff" + SCRIPT.replace("\n", "\r\n")):
        assert finalrip.encode(marked, tmp_path / "a.mkv", FAST).frames == 12


def test_a_crash_names_the_line(tmp_path: Path) -> None:
    script = tmp_path / "crash.vpy"
    script.write_text("import ctypes\n\ndef deep():\n    ctypes.string_at(0)\n\ndeep()\n")
    with pytest.raises(finalrip.ProcessError, match=r"SIGSEGV(.|\n)*crash\.vpy\", line 4 in deep") as died:
        finalrip.encode(script, tmp_path / "a.mkv", FAST)
    assert died.value.traceback.splitlines()[-1].endswith('crash.vpy", line 6 in <module>')
