"""Scripts: encoded and ripped in a process of their own, while this one's VapourSynth goes on."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import finalrip
import pytest
import vapoursynth as vs
from conftest import BUNNY, FAST, leftovers

SCRIPT = """\
import os
import vapoursynth as vs
clip = vs.core.bs.VideoSource(os.environ["FINALRIP_SOURCE"])[: int(globals().get("frames", 60))]
clip = clip.resize.Bilinear(320, 180, format=vs.YUV420P8)
clip.set_output()
"""
SLOW = """\
import time
import vapoursynth as vs
clip = vs.core.std.BlankClip(width=320, height=180, length=2000, format=vs.YUV420P8, keep=True)
def wait(n):
    time.sleep(0.02)
    return clip
vs.core.std.FrameEval(clip, wait).set_output()
"""


@pytest.fixture
def script(tmp_path: Path) -> Path:
    file = tmp_path / "script.vpy"
    file.write_text(SCRIPT)
    return file


def test_path_and_text_and_live_node_give_the_same_bits(script: Path, tmp_path: Path) -> None:
    command = f"{FAST} -f h264"
    args = {"frames": "24"}
    finalrip.encode(script, tmp_path / "path.264", command, source=BUNNY, args=args)
    finalrip.encode(SCRIPT, tmp_path / "text.264", command, source=BUNNY, args=args)
    live = vs.core.bs.VideoSource(str(BUNNY))[:24].resize.Bilinear(320, 180, format=vs.YUV420P8)
    finalrip.encode(live, tmp_path / "live.264", command)
    bits = {(tmp_path / f"{name}.264").read_bytes() for name in ("path", "text", "live")}
    assert len(bits) == 1


def test_a_rip_is_the_whole_job_and_leaves_this_session_alone(
    script: Path, tmp_path: Path, hashes: Callable[[Path], list[str]]
) -> None:
    mine = vs.core.std.BlankClip(width=64, height=64, length=1000, format=vs.YUV420P8)
    mine.set_output(3)
    looked: list[int] = []

    def use(event: finalrip.Event) -> None:
        looked.append(mine.get_frame(len(looked)).props["_DurationDen"])

    report = finalrip.rip(
        script, tmp_path / "out.mkv", f"{FAST} -qp 0", source=BUNNY, workers=2, chunk=20, progress=use, progress_interval=0
    )
    assert looked and mine.get_frame(999).width == 64
    assert list(vs.get_outputs()) == [3] and "FINALRIP_SOURCE" not in os.environ
    vs.clear_outputs()
    assert report.pictures == 60 and report.chunks >= 2 and report.range == range(0, 60)
    assert [stream.kind for stream in report.streams].count("audio") == 1
    live = vs.core.bs.VideoSource(str(BUNNY))[:60].resize.Bilinear(320, 180, format=vs.YUV420P8)
    finalrip.encode(live, tmp_path / "single.mkv", f"{FAST} -qp 0")
    assert hashes(tmp_path / "out.mkv") == hashes(tmp_path / "single.mkv")
    assert "streams" in report._repr_html_() and json.dumps(report.to_dict())


@pytest.mark.parametrize("file", ["out.mkv", "out.mp4"])
def test_a_rip_gives_the_bits_of_the_library(script: Path, file: str, rust: Callable[..., Path], tmp_path: Path) -> None:
    ours = tmp_path / f"python-{file}"
    finalrip.rip(script, ours, FAST, source=BUNNY, workers=2, chunk=20)
    theirs = rust("rip", script, tmp_path / f"rust-{file}", FAST, "--source", BUNNY, "--workers", "2", "--chunk", "20f")
    assert ours.read_bytes() == theirs.read_bytes()


def test_events_come_in_order_and_can_be_iterated(script: Path, tmp_path: Path) -> None:
    events = list(finalrip.rip_iter(script, tmp_path / "out.mkv", FAST, source=BUNNY, workers=1, chunk=30, scene=False))
    kinds = [type(event) for event in events if not isinstance(event, (finalrip.RipProgress, finalrip.Merging))]
    started, finished = finalrip.ChunkStarted, finalrip.ChunkFinished
    assert kinds == [finalrip.Planned, started, finished, started, finished, finalrip.MergeStarted, finalrip.Done]
    planned, done = events[0], events[-1]
    assert isinstance(planned, finalrip.Planned) and [chunk.range for chunk in planned.chunks] == [range(30), range(30, 60)]
    assert isinstance(done, finalrip.Done) and done.report.pictures == 60


def test_a_rip_that_was_left_goes_on(script: Path, tmp_path: Path) -> None:
    options = {"source": BUNNY, "workers": 1, "chunk": 20, "scene": False}
    with closing(finalrip.rip_iter(script, tmp_path / "out.mkv", FAST, **options)) as events:
        for event in events:
            if isinstance(event, finalrip.ChunkFinished):
                break
    assert leftovers(tmp_path) == ["out.mkv.finalrip", "script.vpy"]
    report = finalrip.rip(script, tmp_path / "out.mkv", FAST, **options)
    assert report.chunks_resumed >= 1 and report.pictures == 60
    assert leftovers(tmp_path) == ["out.mkv", "script.vpy"]


def test_a_listener_that_raises_stops_the_rip(script: Path, tmp_path: Path) -> None:
    class Mine(Exception):
        pass

    def listen(event: finalrip.Event) -> None:
        if isinstance(event, finalrip.MergeStarted):
            raise Mine

    with pytest.raises(Mine):
        finalrip.rip(script, tmp_path / "out.mkv", FAST, source=BUNNY, progress=listen)
    assert not (tmp_path / "out.mkv").exists()


def test_ctrl_c_stops_a_script_within_a_second(tmp_path: Path) -> None:
    pressed: list[float] = []

    def press(now: object) -> None:
        if not pressed:
            pressed.append(time.monotonic())
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(finalrip.Cancelled):
        finalrip.encode(SLOW, tmp_path / "out.mkv", FAST, progress=press)
    print(f"stopped after {time.monotonic() - pressed[0]:.3f} s")
    assert leftovers(tmp_path) == []


def test_a_script_that_hangs_is_stopped_while_it_is_evaluated(tmp_path: Path) -> None:
    token = finalrip.CancelToken()
    threading.Timer(1, token.cancel).start()
    with pytest.raises(finalrip.Cancelled):
        finalrip.rip("import time\nwhile True: time.sleep(1)\n", tmp_path / "out.mkv", FAST, cancel=token)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("import vapoursynth as vs\nraise KeyError('mine')\n", r'File "<string>", line 2.*KeyError: .mine'),
        ("import vapoursynth as vs\nvs.core.nothing\n", "nothing"),
        ("x = (\n", "SyntaxError"),
        ("import sys\nsys.exit(3)\n", r"exit\(3\)"),
    ],
)
def test_a_script_that_fails_says_where(text: str, reason: str, tmp_path: Path) -> None:
    with pytest.raises(finalrip.ScriptError, match=f"(?s){reason}") as caught:
        finalrip.encode(text, tmp_path / "out.mkv", FAST)
    assert "finalrip/" not in caught.value.traceback and leftovers(tmp_path) == []


def test_other_failures_of_scripts(tmp_path: Path) -> None:
    with pytest.raises(finalrip.ScriptError, match="cannot open"):
        finalrip.encode(tmp_path / "none.vpy", tmp_path / "out.mkv", FAST)
    with pytest.raises(finalrip.ClipError, match="set no output"):
        finalrip.encode("x = 1\n", tmp_path / "out.mkv", FAST)
    with pytest.raises(finalrip.ProcessError, match="SIGSEGV") as died:
        finalrip.encode("import ctypes\nctypes.string_at(0)\n", tmp_path / "out.mkv", FAST)
    assert died.value.exit_code == -signal.SIGSEGV
    failing = SLOW.replace("time.sleep(0.02)", "assert n != 30, f'no frame {n}'").replace("2000", "60")
    with pytest.raises(finalrip.FrameError, match="no frame 30") as frame:
        finalrip.encode(failing, tmp_path / "out.mkv", FAST)
    assert "in wait" in frame.value.traceback
    with pytest.raises(finalrip.ChunkError, match="tried 1 times") as chunk:
        finalrip.rip(failing, tmp_path / "rip.mkv", FAST, retries=0, scene=False)
    assert isinstance(chunk.value.__cause__, finalrip.FrameError)
    with pytest.raises(TypeError, match="scripts"):
        finalrip.encode(vs.core.std.BlankClip(length=1), tmp_path / "out.mkv", FAST, args={"a": "b"})


def test_what_a_script_prints_and_reads_does_no_harm(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    text = (
        "import sys, os, vapoursynth as vs\n"
        "print('hello from the script')\n"
        "assert sys.stdin.read() == ''\n"
        "vs.core.std.BlankClip(width=64, height=64, length=3, format=vs.YUV420P8).set_output(1)\n"
    )
    report = finalrip.encode(text, tmp_path / "out.mkv", FAST, output_index=1)
    assert report.frames == 3 and "hello from the script" in capfd.readouterr().out


def test_no_process_is_left_when_the_caller_is_killed(tmp_path: Path) -> None:
    code = f"import finalrip, os\nfinalrip.encode({SLOW!r}, {str(tmp_path / 'out.mkv')!r}, {FAST!r}, progress=lambda now: print('go', flush=True))"
    caller = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert caller.stdout is not None and caller.stdout.readline() == "go\n"
    caller.kill()
    caller.wait()
    # Its pipe ends when the last process that holds it has gone.
    caller.stdout.read()
    assert leftovers(tmp_path) == []


def test_asyncio(script: Path, blank: vs.VideoNode, tmp_path: Path) -> None:
    async def both() -> tuple[finalrip.EncodeReport, finalrip.RipReport, int]:
        told: list[object] = []
        live = finalrip.encode_async(blank, tmp_path / "live.mkv", FAST, progress=told.append)
        job = finalrip.rip_async(script, tmp_path / "rip.mkv", FAST, source=BUNNY, progress=told.append)
        encoded, ripped = await asyncio.gather(live, job)
        return encoded, ripped, len(told)

    encoded, ripped, told = asyncio.run(both())
    assert encoded.frames == 48 and ripped.pictures == 60 and told > 3


def test_cancelling_a_task_stops_its_encode(tmp_path: Path) -> None:
    async def impatient() -> None:
        await asyncio.wait_for(finalrip.encode_async(SLOW, tmp_path / "out.mkv", FAST), 1.5)

    with pytest.raises(TimeoutError):
        asyncio.run(impatient())
    assert leftovers(tmp_path) == []
