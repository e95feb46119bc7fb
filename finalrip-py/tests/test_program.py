"""The command `finalrip`: its options, what it shows, how it ends."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import subprocess
import sys
import termios
from pathlib import Path

import pytest
from conftest import BUNNY, FAST, leftovers

PROGRAM = Path(sys.executable).with_name("finalrip")
SCRIPT = """\
import os, vapoursynth as vs
print("evaluated", vs.core.num_threads)
vs.core.bs.VideoSource(os.environ["FINALRIP_SOURCE"])[:48].resize.Bilinear(160, 90, format=vs.YUV420P8).set_output()
"""
SLOW = """\
import time, vapoursynth as vs
clip = vs.core.std.BlankClip(width=64, height=64, length=400, format=vs.YUV420P8, keep=True)
vs.core.std.FrameEval(clip, lambda n: time.sleep(0.02) or clip).set_output()
"""


@pytest.fixture
def script(tmp_path: Path) -> Path:
    (tmp_path / "script.vpy").write_text(SCRIPT)
    return tmp_path / "script.vpy"


def run(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    words = [str(PROGRAM), *map(str, arguments)]
    return subprocess.run(words, capture_output=True, text=True, env={**os.environ, **environment}, timeout=120)


def rip(script: Path, *more: object) -> tuple[object, ...]:
    return ("rip", script, script.with_name("out.mkv"), "--param", FAST, "--source", BUNNY, "--workers", 2, *more)


def test_it_has_what_the_example_programs_have() -> None:
    """The names of the options are compared, with those of the programs that `cargo test` builds."""
    examples = Path(os.environ.get("FINALRIP_EXAMPLES", Path(__file__).resolve().parents[2] / "target/debug/examples"))
    for name in ("encode", "rip"):
        theirs = subprocess.run([examples / name, "--help"], capture_output=True, text=True, check=True).stdout
        ours = run(name, "--help").stdout

        def options(text: str) -> set[str]:
            # Where an option is described, not where one is spoken of.
            return set(re.findall(r"^ +(?:-\w, )?(--[a-z-]+)", text, re.MULTILINE))

        assert options(theirs) - {"--version"} <= options(ours) | {"--version"}
        assert "exit codes:" in ours and "130" in ours


def test_options_of_the_frames(script: Path) -> None:
    shared = ("--param", FAST, "--source", BUNNY, "--json")
    for stretch, expected in [("10..", [10, 48]), ("..9", [0, 9]), ("3..7", [3, 7])]:
        more = ("--timing", "constant", "--threads", 3, "--cache", 256, "--requests", 4, "--range", stretch)
        done = run("encode", script, script.with_name("out.mkv"), *shared, *more)
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["range"] == expected and "evaluated 3" in done.stderr
    for wrong in (("--range", "5"), ("--range=-5..9",), ("--threads", "0"), ("--timing", "odd"), ("--retries", "x")):
        done = run("rip", script, "o.mkv", *shared, *wrong)
        assert done.returncode == 2 and "usage:" in done.stderr
    empty = run("encode", script, script.with_name("no.mkv"), *shared, "--range", "9..3")
    assert empty.returncode == 1 and "range cannot be 9..3: no frame is in it" in empty.stderr


def test_a_plan_alone(script: Path) -> None:
    done = run(*rip(script, "--plan-only", "--chunk", "20f", "--no-scene"))
    assert done.returncode == 0, done.stderr
    lines = [line for line in done.stdout.splitlines() if "evaluated" not in line]
    head = "48 frames, 0:00:01 long, in 3 chunks, 2 at a time"
    assert lines == [head, "  0: 0..20, 20 frames", "  1: 20..40, 20 frames", "  2: 40..48, 8 frames"]
    plan = json.loads(run(*rip(script, "--plan-only", "--chunk", "20f", "--no-scene", "--json")).stdout)
    assert [chunk["range"] for chunk in plan["chunks"]] == [[0, 20], [20, 40], [40, 48]]
    assert leftovers(script.parent) == ["script.vpy"]


def test_what_to_leave_out_and_events_as_json(script: Path) -> None:
    more = ("--events", "--no-audio", "--retries", 0, "--environments", "per-worker", "--chunk", "16f", "--no-scene")
    done = run(*rip(script, *more))
    assert done.returncode == 0, done.stderr
    events = [json.loads(line) for line in done.stdout.splitlines()]
    kinds = [event["event"] for event in events]
    assert kinds[0] == "planned" and kinds.count("chunk_finished") == 3 and kinds[-1] == "done"
    report = events[-1]["report"]
    assert [stream["kind"] for stream in report["streams"] if stream["output_index"] is not None] == ["video"]
    assert report["pictures"] == 48 and done.stderr.count("evaluated") == 2


def test_lines_where_there_is_no_terminal(script: Path) -> None:
    done = run(*rip(script, "--chunk", "24f", "--no-scene"))
    assert done.returncode == 0, done.stderr
    assert "finalrip: 48 frames in 2 chunks, 2 at a time" in done.stderr
    assert "finalrip: chunk 1: finished, 24 frames" in done.stderr and "finalrip: merging" in done.stderr
    assert "\r" not in done.stderr and "pictures: 48" in done.stdout
    quiet = run(*rip(script, "--quiet"))
    assert (quiet.returncode, quiet.stdout, quiet.stderr) == (0, "", "")


def on_a_terminal(command: list[str], environment: dict[str, str]) -> tuple[int, str]:
    """Run a program on a terminal of its own; its exit code, and what was on the screen."""
    pid, screen = pty.fork()
    if pid == 0:
        termios.tcsetwinsize(0, (24, 120))
        os.execve(command[0], command, environment)
    text = b""
    while True:
        try:
            part = os.read(screen, 4096)
        except OSError:
            break
        if not part:
            break
        text += part
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), text.decode(errors="replace")


@pytest.mark.parametrize("has_tqdm", [True, False])
def test_a_bar_on_a_terminal_that_ends_full(has_tqdm: bool, script: Path, tmp_path: Path) -> None:
    hidden = tmp_path / "hidden"
    hidden.mkdir()
    if not has_tqdm:
        (hidden / "tqdm.py").write_text("raise ImportError('hidden')\n")
    command = [str(PROGRAM), *map(str, rip(script, "--chunk", "24f", "--no-scene"))]
    code, screen = on_a_terminal(command, {**os.environ, "PYTHONPATH": str(hidden), "COLUMNS": "120", "TERM": "xterm"})
    assert code == 0, screen
    bars = [part.strip() for part in screen.replace("\n", "\r").split("\r") if "48/48" in part]
    assert bars and all("100%" in bar for bar in bars), screen
    assert ("[####" in screen) is not has_tqdm, screen


def test_ctrl_c_of_a_rip_says_how_to_go_on(tmp_path: Path) -> None:
    (tmp_path / "slow.vpy").write_text(SLOW)
    words = ["rip", tmp_path / "slow.vpy", tmp_path / "out.mkv", "--param", FAST, "--chunk", "20f", "--workers", "1", "--no-scene"]
    command = [str(PROGRAM), *map(str, words)]
    program = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert program.stderr is not None
    said = ""
    while "chunk 1: frames" not in said:
        said += program.stderr.readline()
    program.send_signal(signal.SIGINT)
    out, rest = program.communicate(timeout=60)
    assert program.returncode == 130 and out == ""
    assert f"what is finished is kept in {tmp_path / 'out.mkv.finalrip'}; the same command goes on from there" in rest
    assert "Traceback" not in rest
    program = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    assert program.stderr is not None
    said = program.stderr.readline()
    program.send_signal(signal.SIGINT)
    program.communicate(timeout=60)
    assert "of 20 chunks are finished by an earlier run" in said


def test_a_pipe_that_closes_is_no_fault(script: Path) -> None:
    for words in (["info"], ["doctor"], ["info", FAST], list(map(str, rip(script, "--events", "--no-scene")))):
        program = subprocess.Popen([str(PROGRAM), *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert program.stdout is not None and program.stderr is not None
        program.stdout.close()
        said = program.stderr.read()
        assert program.wait(60) == 0 and "Broken" not in said and "Traceback" not in said, said
    assert script.with_name("out.mkv").is_file()
