"""A rip of a live clip: the source's other streams, chunks that are kept, and what makes them another clip's."""

from __future__ import annotations

import json
import subprocess
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import finalrip
import pytest
import vapoursynth as vs
from conftest import BUNNY, FAST, leftovers

OPTIONS: finalrip.RipOptions = {"source": BUNNY, "workers": 1, "chunk": 12, "scene": False}


def probed(file: Path) -> list[str]:
    """The kinds of a file's streams, and how many chapters it has, as ffprobe sees them."""
    command = ["ffprobe", "-v", "error", "-show_entries", "stream=codec_type", "-show_chapters", "-of", "json", str(file)]
    found = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    return [stream["codec_type"] for stream in found["streams"]] + ["chapter"] * len(found["chapters"])


@pytest.fixture
def film(tmp_path: Path) -> Path:
    """The clip with subtitles and chapters beside its sound."""
    folder = tmp_path / "film"
    folder.mkdir()
    (folder / "subs.srt").write_text("1\n00:00:00,500 --> 00:00:02,000\nline\n")
    (folder / "chapters.txt").write_text(
        ";FFMETADATA1\n[CHAPTER]\nTIMEBASE=1/1000\nSTART=0\nEND=1500\n[CHAPTER]\nTIMEBASE=1/1000\nSTART=1500\nEND=3000\n"
    )
    made = folder / "film.mkv"
    inputs = ["-i", BUNNY, "-i", folder / "subs.srt", "-i", folder / "chapters.txt"]
    maps = ["-map", "0", "-map", "1", "-map_metadata", "2", "-c", "copy"]
    subprocess.run(["ffmpeg", "-v", "error", *inputs, *maps, made], check=True)
    return made


def test_a_live_clip_gets_everything_else_of_the_source(
    moving: vs.VideoNode, film: Path, tmp_path: Path, hashes: Callable[[Path], list[str]]
) -> None:
    told: list[finalrip.Event] = []
    report = finalrip.rip(
        moving, tmp_path / "out.mkv", f"{FAST} -qp 0", source=film, workers=2, chunk=16, progress=told.append
    )
    assert probed(tmp_path / "out.mkv") == ["video", "audio", "subtitle", "chapter", "chapter"]
    assert report.pictures == 48 and report.chunks == 3 and report.chapters == 2
    finalrip.encode(moving, tmp_path / "single.mkv", f"{FAST} -qp 0")
    assert hashes(tmp_path / "out.mkv") == hashes(tmp_path / "single.mkv")
    assert isinstance(told[0], finalrip.Planned) and isinstance(told[-1], finalrip.Done)
    bare = finalrip.rip(moving, tmp_path / "bare.mp4", FAST, range=slice(-10, None))
    assert probed(tmp_path / "bare.mp4") == ["video"] and bare.range == range(38, 48)
    quiet = finalrip.rip(moving, tmp_path / "mute.mkv", FAST, source=film, audio=False, chapters=False)
    assert probed(tmp_path / "mute.mkv") == ["video", "subtitle"] and quiet.chapters == 0


def leave_early(clip: vs.VideoNode, output: Path) -> None:
    with closing(finalrip.rip_iter(clip, output, FAST, **OPTIONS)) as events:
        for event in events:
            if isinstance(event, finalrip.ChunkFinished):
                break
    assert leftovers(output.parent) == ["out.mkv.finalrip"]


def test_a_live_rip_that_was_left_goes_on(moving: vs.VideoNode, tmp_path: Path) -> None:
    leave_early(moving, tmp_path / "out.mkv")
    # Another node of the same frames, as the same program makes when it is run again.
    same = vs.core.bs.VideoSource(str(BUNNY))[:48]
    same = same.resize.Bilinear(320, 180, format=vs.YUV420P8, matrix_in_s="709", matrix_s="709")
    report = finalrip.rip(same, tmp_path / "out.mkv", FAST, **OPTIONS)
    assert report.chunks_resumed >= 1 and report.pictures == 48
    assert leftovers(tmp_path) == ["out.mkv"]


@pytest.mark.parametrize(
    "change",
    [
        lambda clip: clip.std.Invert(),
        lambda clip: clip[:-1],
        lambda clip: clip[1:] + clip[0],
        lambda clip: clip.std.SetFrameProps(_Matrix=6),
        lambda clip: clip.std.AssumeFPS(fpsnum=24),
        lambda clip: clip.std.Crop(bottom=4),
        lambda clip: clip.std.PlaneStats(),
    ],
)
def test_another_clip_is_noticed(change: Callable[[vs.VideoNode], vs.VideoNode], moving: vs.VideoNode, tmp_path: Path) -> None:
    leave_early(moving, tmp_path / "out.mkv")
    other = change(moving)
    told: list[finalrip.Event] = []
    report = finalrip.rip(other, tmp_path / "out.mkv", FAST, progress=told.append, **OPTIONS)
    afresh = [event for event in told if isinstance(event, finalrip.StartedAfresh)]
    if "PlaneStatsMin" in other.get_frame(0).props:
        # What does not end up in the file does not make it another clip.
        assert not afresh and report.chunks_resumed >= 1
    else:
        assert [event.changed for event in afresh] == [("the clip's frames",)] and report.chunks_resumed == 0


def test_a_live_rip_is_not_taken_up_where_that_is_not_wanted(moving: vs.VideoNode, tmp_path: Path) -> None:
    leave_early(moving, tmp_path / "out.mkv")
    report = finalrip.rip(moving, tmp_path / "out.mkv", FAST, resume=False, **OPTIONS)
    assert report.chunks_resumed == 0 and report.pictures == 48


def test_a_live_rip_can_be_stopped(moving: vs.VideoNode, tmp_path: Path) -> None:
    class Mine(Exception):
        pass

    def listen(event: finalrip.Event) -> None:
        if isinstance(event, finalrip.MergeStarted):
            raise Mine

    with pytest.raises(Mine):
        finalrip.rip(moving, tmp_path / "out.mkv", FAST, progress=listen)
    token = finalrip.CancelToken()

    def cancel(event: finalrip.Event) -> None:
        token.cancel()

    with pytest.raises(finalrip.Cancelled):
        finalrip.rip(moving, tmp_path / "out.mkv", FAST, progress=cancel, cancel=token)
    with pytest.raises(KeyboardInterrupt) as pressed:
        finalrip.rip(moving, tmp_path / "out.mkv", FAST, progress=press)
    assert isinstance(pressed.value, finalrip.Cancelled)
    assert leftovers(tmp_path) == ["out.mkv.finalrip"]
    names = [thread.name for thread in threading.enumerate()]
    assert "finalrip-live" not in names


def press(event: finalrip.Event) -> None:
    raise KeyboardInterrupt


def test_a_frame_that_fails_is_told_with_its_cause(moving: vs.VideoNode, tmp_path: Path) -> None:
    def cursed(number: int) -> vs.VideoNode:
        def choose(n: int) -> vs.VideoNode:
            if n == number:
                raise ZeroDivisionError("this one is cursed")
            return moving

        return vs.core.std.FrameEval(moving, choose)

    with pytest.raises(finalrip.ChunkError, match="chunk 0") as chunk:
        finalrip.rip(cursed(31), tmp_path / "out.mkv", FAST, retries=0, scene=False)
    cause = chunk.value.__cause__
    assert isinstance(cause, finalrip.FrameError) and cause.frame == 31 and "in choose" in cause.traceback
    # One of those that are looked at first.
    with pytest.raises(finalrip.FrameError, match="(?s)frame 30 failed: .*this one is cursed") as frame:
        finalrip.rip(cursed(30), tmp_path / "out.mkv", FAST, retries=0, scene=False)
    assert frame.value.frame == 30 and frame.value.__cause__ is not None
    assert not (tmp_path / "out.mkv").exists()


def test_a_plan_is_made_and_nothing_else(moving: vs.VideoNode, tmp_path: Path) -> None:
    script = tmp_path / "script.vpy"
    script.write_text(
        "import os, vapoursynth as vs\nvs.core.bs.VideoSource(os.environ['FINALRIP_SOURCE'])[:48].set_output()\n"
    )
    live = finalrip.plan(moving, tmp_path / "out.mkv", FAST, **OPTIONS)
    plan = finalrip.plan(script, tmp_path / "out.mkv", FAST, **OPTIONS)
    assert [chunk.range for chunk in plan.chunks] == [range(n, n + 12) for n in range(0, 48, 12)]
    assert live == plan and plan.workers == 1 and plan.frame_rate == 25
    assert leftovers(tmp_path) == ["script.vpy"]


def test_each_worker_can_have_an_environment_of_its_own(tmp_path: Path, hashes: Callable[[Path], list[str]]) -> None:
    script = (
        "import os, threading, vapoursynth as vs\n"
        "print('evaluated', flush=True)\n"
        "clip = vs.core.bs.VideoSource(os.environ['FINALRIP_SOURCE'])[:48].resize.Bilinear(160, 90, format=vs.YUV420P8)\n"
        "clip.set_output()\n"
    )
    command = f"{FAST} -qp 0"
    shared = finalrip.rip(script, tmp_path / "shared.mkv", command, source=BUNNY, workers=2, chunk=12, quiet=True)
    each = finalrip.rip(
        script, tmp_path / "each.mkv", command, source=BUNNY, workers=2, chunk=12, environments="per-worker", quiet=True
    )
    assert (shared.log.count("evaluated"), each.log.count("evaluated")) == (1, 2)
    assert hashes(tmp_path / "shared.mkv") == hashes(tmp_path / "each.mkv")


def test_threads_and_cache_are_the_cores(tmp_path: Path) -> None:
    script = (
        "import vapoursynth as vs\n"
        "print('core has', vs.core.num_threads, vs.core.max_cache_size, flush=True)\n"
        "vs.core.std.BlankClip(width=64, height=64, length=4, format=vs.YUV420P8).set_output()\n"
    )
    report = finalrip.encode(script, tmp_path / "out.mkv", FAST, threads=3, cache=77, quiet=True)
    assert "core has 3 77" in report.log
