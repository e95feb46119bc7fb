"""Scripts: encoded and ripped in a process of their own, while this one's VapourSynth goes on."""

from __future__ import annotations

import asyncio
import json
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
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
    # The script takes the source's beginning.
    before = [finalrip.Planned, finalrip.LengthDiffers]
    assert kinds == [*before, started, finished, started, finished, finalrip.MergeStarted, finalrip.Done]
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


def python(code: str) -> subprocess.CompletedProcess[str]:
    """Run it. This returns when the last process that holds its pipes has gone."""
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)


def test_no_process_is_left_when_the_caller_is_killed_while_a_script_is_evaluated(tmp_path: Path) -> None:
    text = "import time\nprint('go', flush=True)\ntime.sleep(600)\n"
    code = f"import finalrip\nfinalrip.encode({text!r}, {str(tmp_path / 'out.mkv')!r}, {FAST!r})"
    caller = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert caller.stdout is not None and caller.stdout.readline() == "go\n"
    caller.kill()
    caller.wait()
    caller.stdout.read()


def test_what_a_script_starts_ends_with_it(tmp_path: Path) -> None:
    text = (
        "import subprocess, vapoursynth as vs\n"
        "subprocess.Popen(['sleep', '600'])\n"
        "vs.core.std.BlankClip(width=64, height=64, length=3, format=vs.YUV420P8).set_output()\n"
    )
    done = python(f"import finalrip\nprint(finalrip.encode({text!r}, {str(tmp_path / 'out.mkv')!r}, {FAST!r}).frames)")
    assert done.stdout == "3\n", done.stderr
    # The fork holds the pipe on which the script's process answers.
    text = "import os, time\nif os.fork() == 0: time.sleep(600)\nos._exit(3)\n"
    with pytest.raises(finalrip.ProcessError, match="exit code 3"):
        finalrip.encode(text, tmp_path / "no.mkv", FAST)


def test_callers_with_odd_paths_and_many_files(script: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [*sys.path, tmp_path])
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    assert hard == resource.RLIM_INFINITY or hard > 1200, "this system allows too few files for the test"
    files = [os.open(os.devnull, os.O_RDONLY) for _ in range(1100)]
    try:
        report = finalrip.encode(script, tmp_path / "out.mkv", FAST, source=BUNNY, args={"frames": "3"})
    finally:
        for file in files:
            os.close(file)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert report.frames == 3


def test_ctrl_c_on_a_finished_rip_cancels_nothing(script: Path, tmp_path: Path) -> None:
    def press(event: finalrip.Event) -> None:
        if isinstance(event, finalrip.Done):
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt) as pressed:
        finalrip.rip(script, tmp_path / "out.mkv", FAST, source=BUNNY, args={"frames": "5"}, progress=press)
    assert not isinstance(pressed.value, finalrip.Cancelled) and (tmp_path / "out.mkv").is_file()
    token = finalrip.CancelToken()

    def late(event: finalrip.Event) -> None:
        if isinstance(event, finalrip.Done):
            token.cancel()
            time.sleep(0.2)

    report = finalrip.rip(
        script, tmp_path / "late.mkv", FAST, source=BUNNY, args={"frames": "5"}, progress=late, cancel=token
    )
    assert report.pictures == 5


def test_asyncio_leaves_the_executor_to_others(tmp_path: Path) -> None:
    async def busy() -> int:
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(1))
        slow = asyncio.create_task(finalrip.encode_async(SLOW, tmp_path / "slow.mkv", FAST))
        await asyncio.sleep(0.5)
        found = await asyncio.to_thread(lambda: 7)
        assert not slow.done()
        slow.cancel()
        await asyncio.sleep(0.01)
        # Cancelled twice, it still ends only when the encode has stopped.
        slow.cancel()
        with pytest.raises(asyncio.CancelledError):
            await slow
        return found

    assert asyncio.run(busy()) == 7
    assert leftovers(tmp_path) == []


def test_python_ends_though_the_loop_that_is_to_be_told_stands_still(tmp_path: Path) -> None:
    done = python(
        "import asyncio, finalrip\n"
        "async def leave():\n"
        f"    left.append(asyncio.create_task(finalrip.encode_async({SLOW!r}, {str(tmp_path / 'out.mkv')!r}, {FAST!r},"
        " progress=print)))\n"
        "    await asyncio.sleep(1)\n"
        "left = []\n"
        "asyncio.new_event_loop().run_until_complete(leave())\n"
        "print('left')\n"
    )
    assert done.stdout.endswith("left\n"), done.stderr
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
