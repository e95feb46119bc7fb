"""A live node: the library's own bits, its errors, cancelling, threads."""

from __future__ import annotations

import ctypes
import gc
import os
import signal
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import finalrip
import pytest
import vapoursynth as vs
from conftest import BUNNY, FAST, leftovers

GRAPHS = {
    "moving": (
        f"clip = core.bs.VideoSource({str(BUNNY)!r})[:24].resize.Bilinear(320, 180)\n",
        "-c:v libx264 -preset ultrafast -f h264",
        "raw.264",
    ),
    "coloured": (
        "clip = core.std.BlankClip(width=322, height=182, format=vs.YUV420P10, length=24, fpsnum=24000, fpsden=1001)\n"
        "clip = clip.std.SetFrameProps(_Matrix=9, _Primaries=9, _Transfer=16, _Range=1, _SARNum=8, _SARDen=9,"
        " MasteringDisplayPrimariesX=[0.68, 0.265, 0.15], MasteringDisplayPrimariesY=[0.32, 0.69, 0.06],"
        " MasteringDisplayWhitePointX=0.3127, MasteringDisplayWhitePointY=0.329,"
        " MasteringDisplayMinLuminance=0.0001, MasteringDisplayMaxLuminance=1000.0,"
        " ContentLightLevelMax=1000, ContentLightLevelAverage=400)\n",
        "-c:v libx265 -preset ultrafast -x265-params log-level=none:pools=1:frame-threads=1 -f hevc",
        "raw.265",
    ),
    "rgb": (
        "clip = core.std.BlankClip(width=320, height=180, format=vs.RGB24, length=8, color=[10, 100, 200])\n",
        "-c:v ffv1 -f nut -fflags +bitexact",
        "rgb.nut",
    ),
    "grey": (
        "clip = core.std.BlankClip(width=320, height=180, format=vs.GRAY16, length=8, color=1234)\n",
        "-c:v ffv1 -f nut -fflags +bitexact",
        "grey.nut",
    ),
    "variable": (
        "base = core.std.BlankClip(width=320, height=180, format=vs.YUV420P8, length=12)\n"
        "clip = core.std.FrameEval(base, lambda n: base.std.SetFrameProps(_DurationNum=1 + n % 3, _DurationDen=24))\n",
        "-c:v ffv1 -f nut -fflags +bitexact",
        "variable.nut",
    ),
}


@pytest.mark.parametrize("name", GRAPHS)
def test_a_live_node_gives_the_bits_of_the_library(name: str, rust: Callable[..., Path], tmp_path: Path) -> None:
    graph, command, file = GRAPHS[name]
    text = f"import vapoursynth as vs\ncore = vs.core\n{graph}"
    script = tmp_path / "graph.vpy"
    script.write_text(text + "clip.set_output()\n")
    names: dict[str, vs.VideoNode] = {}
    exec(text, names)
    ours = tmp_path / f"python-{file}"
    report = finalrip.encode(names["clip"], ours, command)
    theirs = rust("encode", script, tmp_path / f"rust-{file}", command)
    assert ours.read_bytes() == theirs.read_bytes()
    assert report.output == ours and report.bytes == ours.stat().st_size
    # FFV1 takes RGB packed.
    assert report.zero_copy == (name != "rgb")


def test_a_report_says_what_became_of_it(blank: vs.VideoNode, tmp_path: Path) -> None:
    report = finalrip.encode(blank, tmp_path / "out.mkv", FAST, range=slice(8, -8))
    assert (report.frames, report.range, report.codec) == (32, range(8, 40), "h264")
    assert report.frame_rate == Fraction(24) and report.duration == pytest.approx(32 / 24)
    assert report.to_dict()["frame_rate"] == "24" and report.to_dict()["range"] == [8, 40]
    assert "libx264" in repr(report) and "<td" in report._repr_html_()
    with pytest.raises(AttributeError):
        report.frames = 1  # type: ignore[misc]


def test_progress_is_told_on_the_calling_thread(blank: vs.VideoNode, tmp_path: Path) -> None:
    told: list[tuple[finalrip.Progress, threading.Thread]] = []
    finalrip.encode(
        blank, tmp_path / "out.mkv", FAST, progress=lambda now: told.append((now, threading.current_thread())), progress_interval=0
    )
    assert told[-1][0].frames == told[-1][0].frames_total == 48
    assert {thread for _, thread in told} == {threading.current_thread()}


def test_a_progress_callback_that_raises_stops_the_encode(blank: vs.VideoNode, tmp_path: Path) -> None:
    class Mine(Exception):
        pass

    def progress(now: finalrip.Progress) -> None:
        if now.frames == now.frames_total:
            raise Mine("enough")

    with pytest.raises(Mine, match="enough"):
        finalrip.encode(blank, tmp_path / "out.mkv", FAST, progress=progress, progress_interval=0)
    assert leftovers(tmp_path) == []


def test_what_a_filter_raises_arrives_with_its_traceback(blank: vs.VideoNode, tmp_path: Path) -> None:
    def choose(n: int) -> vs.VideoNode:
        if n == 20:
            raise ZeroDivisionError("frame twenty is cursed")
        return blank

    clip = vs.core.std.FrameEval(blank, choose)
    with pytest.raises(finalrip.FrameError) as caught:
        finalrip.encode(clip, tmp_path / "out.mkv", FAST)
    error = caught.value
    assert error.frame == 20 and "frame twenty is cursed" in str(error)
    assert "in choose" in error.traceback, error.traceback
    # R81 hands over an error of its own with the traceback as text, later ones the exception itself.
    assert isinstance(error.__cause__, (vs.Error, ZeroDivisionError))
    assert leftovers(tmp_path) == []


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda: vs.core.std.BlankClip(format=vs.YUV444PS, length=2), "no pixel format"),
        (lambda: vs.core.std.Splice([vs.core.std.BlankClip(), vs.core.std.BlankClip(width=64)], mismatch=True), "changes"),
        (lambda: vs.core.std.BlankAudio(), "audio"),
    ],
)
def test_a_clip_that_cannot_be_encoded_says_why(make: Callable[[], object], reason: str, tmp_path: Path) -> None:
    with pytest.raises(finalrip.ClipError, match=reason) as caught:
        finalrip.encode(make(), tmp_path / "out.mkv", FAST)  # type: ignore[arg-type]
    assert isinstance(caught.value, ValueError)


def test_errors_have_pythons_own_bases(blank: vs.VideoNode, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="did you mean -preset"):
        finalrip.encode(blank, tmp_path / "out.mkv", "-c:v libx264 -presett slow")
    with pytest.raises(OSError) as output:
        finalrip.encode(blank, tmp_path / "nowhere/out.mkv", FAST)
    assert isinstance(output.value, finalrip.OutputError) and output.value.path == tmp_path / "nowhere/out.mkv"
    with pytest.raises(finalrip.EncoderError) as encoder:
        finalrip.encode(blank, tmp_path / "out.mkv", "-c:v libx265 -x265-params nonsense=1")
    assert encoder.value.stage == "libx265" and "nonsense" in "".join(encoder.value.log) + str(encoder.value)
    with pytest.raises(finalrip.ClipError, match="range|outside"):
        finalrip.encode(blank, tmp_path / "out.mkv", FAST, range=(0, 1000))
    with pytest.raises(finalrip.SettingError):
        finalrip.encode(blank, tmp_path / "out.mkv", FAST, timing="sometimes")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="VideoNode"):
        finalrip.encode(7, tmp_path / "out.mkv", FAST)  # type: ignore[arg-type]


def slow(frames: int = 2000) -> vs.VideoNode:
    clip = vs.core.std.BlankClip(width=320, height=180, length=frames, format=vs.YUV420P8, keep=True)

    def wait(n: int) -> vs.VideoNode:
        time.sleep(0.02)
        return clip

    return vs.core.std.FrameEval(clip, wait)


def test_ctrl_c_stops_within_a_second_and_leaves_no_file(tmp_path: Path) -> None:
    pressed: list[float] = []

    def press() -> None:
        time.sleep(0.7)
        pressed.append(time.monotonic())
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=press).start()
    with pytest.raises(KeyboardInterrupt) as caught:
        finalrip.encode(slow(), tmp_path / "out.mkv", FAST)
    assert isinstance(caught.value, finalrip.Cancelled)
    took = time.monotonic() - pressed[0]
    print(f"stopped after {took:.3f} s")
    assert leftovers(tmp_path) == []


def test_a_token_stops_it_from_another_thread(tmp_path: Path) -> None:
    token = finalrip.CancelToken()
    threading.Timer(0.5, token.cancel).start()
    with pytest.raises(finalrip.Cancelled):
        finalrip.encode(slow(), tmp_path / "out.mkv", FAST, cancel=token)
    assert token.cancelled and leftovers(tmp_path) == []


def test_several_threads_encode_at_once_and_python_goes_on(moving: vs.VideoNode, tmp_path: Path) -> None:
    files = [tmp_path / f"{number}.264" for number in range(4)]
    counted, running = 0, True

    def work(file: Path) -> None:
        finalrip.encode(moving, file, f"{FAST} -threads 1 -f h264")

    threads = [threading.Thread(target=work, args=(file,)) for file in files]
    for thread in threads:
        thread.start()
    while running:
        running = any(thread.is_alive() for thread in threads)
        counted += 1
        time.sleep(0.001)
    assert counted > 10, "the GIL was held"
    assert len({file.read_bytes() for file in files}) == 1


def resident() -> int:
    """Bytes of this process in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def test_nothing_leaks_over_twenty_encodes(tmp_path: Path) -> None:
    clip = vs.core.std.BlankClip(width=640, height=360, length=500, format=vs.YUV420P8)
    # VapourSynth's own cache grows to the whole clip at some time, as the clip is read again and again.
    clip.std.SetVideoCache(mode=0)
    held = vs.core.used_cache_size
    sizes = []
    for _ in range(20):
        finalrip.encode(clip, tmp_path / "out.mkv", f"{FAST} -threads 2")
        gc.collect()
        sizes.append(resident() / 1e6)
    print("resident, MB:", [round(size) for size in sizes])
    # One frame of 640x360 held back in each encode would be 7 MB here, one of each 500 frames 3.4 GB.
    assert sizes[-1] - sizes[4] < 24, sizes
    assert vs.core.used_cache_size <= held, "the core still has frames of an encode"


def thread_states() -> int:
    """How many threads this interpreter knows."""
    python = ctypes.pythonapi
    for function in (python.PyInterpreterState_Get, python.PyInterpreterState_ThreadHead, python.PyThreadState_Next):
        function.restype = ctypes.c_void_p
    state, count = python.PyInterpreterState_ThreadHead(ctypes.c_void_p(python.PyInterpreterState_Get())), 0
    while state:
        state, count = python.PyThreadState_Next(ctypes.c_void_p(state)), count + 1
    return count


def test_threads_are_forgotten_when_they_end(blank: vs.VideoNode, tmp_path: Path) -> None:
    finalrip.encode(blank, tmp_path / "out.mkv", FAST)
    before = thread_states()
    for _ in range(20):
        finalrip.encode(blank, tmp_path / "out.mkv", FAST)
    # VapourSynth's threads stay, and one may have been idle before.
    assert thread_states() <= before + vs.core.num_threads


def test_python_can_end_while_a_daemon_thread_encodes(tmp_path: Path) -> None:
    code = (
        "import finalrip, threading, time, vapoursynth as vs\n"
        "clip = vs.core.std.BlankClip(width=1280, height=720, length=100000, format=vs.YUV420P8, keep=True)\n"
        "def work():\n"
        "    try:\n"
        f"        finalrip.encode(clip, {str(tmp_path / 'out.mkv')!r}, {FAST!r})\n"
        # Python aborts, whatever the program, when a daemon thread is in the middle of a print at the end.
        "    except finalrip.Error:\n"
        "        pass\n"
        "threading.Thread(target=work, daemon=True).start()\n"
        "time.sleep(1)\n"
    )
    for _ in range(5):
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, (done.returncode, done.stderr)
    assert leftovers(tmp_path) == []


PREVIEWER = """
import sys, threading, time
import finalrip, vapoursynth as vs

class Policy(vs.EnvironmentPolicy):
    def __init__(self):
        self.thread = threading.local()
    def on_policy_registered(self, api):
        self.api = api
    def get_current_environment(self):
        return getattr(self.thread, "environment", None)
    def set_environment(self, environment):
        self.thread.environment = environment

vs.register_policy(policy := Policy())
environment = policy.api.create_environment()
ended = []

def work():
    with policy.api.wrap_environment(environment).use():
        clip = vs.core.std.BlankClip(width=1280, height=720, length=100000, format=vs.YUV420P8, keep=True)
        try:
            finalrip.encode(clip, sys.argv[1], sys.argv[2])
        except finalrip.Error as error:
            ended.append(error)

thread = threading.Thread(target=work)
thread.start()
time.sleep(1)
policy.api.destroy_environment(environment)
thread.join(20)
assert len(ended) == 1, ended
"""


def test_an_environment_can_be_destroyed_during_its_encode(tmp_path: Path) -> None:
    """As a previewer does that reloads its script."""
    command = [sys.executable, "-c", PREVIEWER, str(tmp_path / "out.mkv"), FAST]
    for _ in range(5):
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, (done.returncode, done.stderr)
    assert leftovers(tmp_path) == []


def test_the_node_is_let_go(tmp_path: Path) -> None:
    clip = vs.core.std.BlankClip(width=64, height=64, length=4, format=vs.YUV420P8)
    reference = weakref.ref(clip)
    finalrip.encode(clip, tmp_path / "out.mkv", FAST)
    del clip
    gc.collect()
    assert reference() is None


def test_frames_are_given_back_while_the_encoder_lags(tmp_path: Path) -> None:
    """What VapourSynth's frames take while a slow encoder is fed by a quick script: the requests allowed, and little more."""
    clip = vs.core.std.BlankClip(width=640, height=360, length=240, format=vs.YUV420P8)
    before, most = vs.core.core.used_cache_size, 0

    def watch() -> None:
        nonlocal most
        while not done.wait(0.005):
            most = max(most, vs.core.core.used_cache_size - before)

    done = threading.Event()
    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        finalrip.encode(clip, tmp_path / "out.mkv", "-c:v libx264 -preset slow -threads 1", requests=4)
    finally:
        done.set()
        watcher.join()
    frame = 640 * 360 * 3 // 2
    print(f"most frames at once: {most / frame:.1f}")
    # VapourSynth keeps freed memory at hand, so that its figure is above the frames that are held.
    assert 0 < most <= 60 * frame
