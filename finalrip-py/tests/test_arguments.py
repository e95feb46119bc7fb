"""What callers give: types that a checker sees, settings that are named when they are wrong, callbacks, the log."""

from __future__ import annotations

import asyncio
import dataclasses
import functools
import inspect
import logging
import subprocess
import sys
import typing
from pathlib import Path

import finalrip
import numpy as np
import pytest
import vapoursynth as vs
from conftest import FAST, leftovers

SCRIPT = "import vapoursynth as vs\nvs.core.std.BlankClip(width=64, height=64, length=24, format=vs.YUV420P8).set_output()\n"


def test_annotations_of_everything_public_can_be_resolved() -> None:
    looked = 0
    for name in finalrip.__all__:
        thing = getattr(finalrip, name)
        if not (inspect.isclass(thing) or inspect.isfunction(thing)):
            continue
        methods = [member for member in vars(thing).values() if inspect.isfunction(member)] if inspect.isclass(thing) else []
        for one in [thing, *methods]:
            hints = typing.get_type_hints(one)
            looked += len(hints)
    assert looked > 300
    assert vs.VideoNode in typing.get_args(typing.get_type_hints(finalrip.encode)["clip"])
    assert typing.get_type_hints(finalrip.RipOptions)["retries"] is int


def test_annotations_do_not_load_vapoursynth() -> None:
    code = "import finalrip, sys; assert 'vapoursynth' not in sys.modules; print(finalrip.encode.__annotations__['output'])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_a_type_checker_sees_wrong_names_and_types(tmp_path: Path) -> None:
    lines = {
        "finalrip.rip('s', 'o', 'c', wrokers=2)": "call-arg",
        "finalrip.rip('s', 'o', 'c', workers='2')": "arg-type",
        "finalrip.rip_iter('s', 'o', 'c', timing='sometimes')": "arg-type",
        "finalrip.plan('s', 'o', 'c', environments='mine')": "arg-type",
        "asyncio.run(finalrip.encode_async('s', 'o', 'c', rnage=(0, 1)))": "call-arg",
        "asyncio.run(finalrip.rip_async('s', 'o', 'c', retries=None))": "arg-type",
        "finalrip.Client('u', 't').submit('f', 's', 'c', que='priority')": "call-arg",
        "finalrip.Client('u', 't').submit('f', 's', 'c', queue='later')": "arg-type",
        "finalrip.EncodeCommand(encoder=7)": "arg-type",
    }
    good = [
        "options: finalrip.RipOptions = {'workers': 2, 'range': slice(10, None), 'environments': 'per-worker'}",
        "report: finalrip.RipReport = finalrip.rip(pathlib.Path('s'), 'o', ['-c:v', 'libx264'], progress=print, **options)",
        "command = finalrip.EncodeCommand(encoder='libx264', options={'crf': 16})",
        "words: tuple[str, ...] = finalrip.encode('s', 'o', command, quiet=True).log",
        "async def told(now: finalrip.Progress) -> None: ...",
        "asyncio.run(finalrip.encode_async('s', 'o', command, progress=told))",
    ]
    (tmp_path / "use.py").write_text("\n".join(["import asyncio, pathlib, finalrip", *good, *lines]) + "\n")
    found = subprocess.run([sys.executable, "-m", "mypy", "--strict", "use.py"], capture_output=True, text=True, cwd=tmp_path)
    errors = [line for line in found.stdout.splitlines() if ": error:" in line]
    expected = [(f"use.py:{len(good) + 2 + at}:", kind) for at, kind in enumerate(lines.values())]
    assert len(errors) == len(lines), found.stdout
    for error, (place, kind) in zip(errors, expected, strict=True):
        assert error.startswith(place) and f"[{kind}]" in error, found.stdout


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("requests", "3"),
        ("requests", 0),
        ("requests", True),
        ("timing", "sometimes"),
        ("timing", None),
        ("ignore_props", "no"),
        ("progress_interval", -1),
        ("progress_interval", float("nan")),
        ("range", (5,)),
        ("range", "0..5"),
        ("range", range(0, 10, 2)),
        ("range", (9, 3)),
        ("quiet", 1),
        ("output_index", -1),
        ("threads", 0),
        ("cache", 1.5),
        ("args", ["a=b"]),
        ("workers", 0),
        ("workers", "2"),
        ("chunk", "5m"),
        ("chunk", 0),
        ("chunk", "-5s"),
        ("chunk", b"5"),
        ("slice", None),
        ("scene", "yes"),
        ("retries", -1),
        ("resume", 2),
        ("audio", 0),
        ("metadata", "all"),
        ("environments", "mine"),
    ],
)
def test_a_setting_that_makes_no_sense_is_named(name: str, value: object, tmp_path: Path) -> None:
    with pytest.raises(finalrip.SettingError, match=rf"^{name} cannot be") as caught:
        finalrip.rip(SCRIPT, tmp_path / "out.mkv", FAST, **{name: value})  # type: ignore[arg-type]
    if name != "range":
        assert repr(value) in str(caught.value)
    assert isinstance(caught.value, ValueError) and leftovers(tmp_path) == []


def test_arguments_of_the_wrong_kind_are_named(tmp_path: Path) -> None:
    for output in (None, 7, object()):
        with pytest.raises(TypeError, match="output"):
            finalrip.rip(SCRIPT, output, FAST)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="rip.. got an unexpected .*'wrokers'; did you mean 'workers'"):
        finalrip.rip(SCRIPT, tmp_path / "out.mkv", FAST, wrokers=2)  # type: ignore[call-arg]
    for command in (None, 7, [1, 2]):
        with pytest.raises(TypeError, match="command must be"):
            finalrip.rip(SCRIPT, tmp_path / "out.mkv", command)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="progress must be"):
        finalrip.rip(SCRIPT, tmp_path / "out.mkv", FAST, progress="yes")  # type: ignore[arg-type]
    clip = vs.core.std.BlankClip(width=64, height=64, length=4, format=vs.YUV420P8)
    for name, value in [("args", {"a": "b"}), ("output_index", 1), ("threads", 2), ("environments", "per-worker")]:
        with pytest.raises(TypeError, match=f"{name} can only be given with scripts"):
            finalrip.rip(clip, tmp_path / "out.mkv", FAST, **{name: value})  # type: ignore[arg-type]


def test_ranges_of_scripts_may_be_open_and_numpys_numbers_are_numbers(tmp_path: Path) -> None:
    for stretch, expected in [
        (slice(20, None), range(20, 24)),
        (slice(None, -20), range(0, 4)),
        (slice(-3, None), range(21, 24)),
        ((None, 5), range(0, 5)),
        ((np.int64(2), np.uint8(9)), range(2, 9)),
    ]:
        report = finalrip.encode(SCRIPT, tmp_path / "out.mkv", FAST, range=stretch, requests=np.int32(3))
        assert report.range == expected
    with pytest.raises(finalrip.ClipError, match="begins before it, which has 24 frames"):
        finalrip.encode(SCRIPT, tmp_path / "out.mkv", FAST, range=slice(-30, None))


async def _later(_: object) -> None:
    await asyncio.sleep(0)


class _Callable:
    async def __call__(self, _: object) -> None:
        await asyncio.sleep(0)


@pytest.mark.parametrize("progress", [_later, functools.partial(_later), _Callable(), lambda now: _later(now)])
@pytest.mark.filterwarnings("error")
def test_an_async_callback_is_refused_where_nothing_awaits_it(progress: object, blank: vs.VideoNode, tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="async function"):
        finalrip.encode(blank, tmp_path / "out.mkv", FAST, progress=progress)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="async function"):
        finalrip.rip(SCRIPT, tmp_path / "rip.mkv", FAST, progress=progress)  # type: ignore[arg-type]
    assert not (tmp_path / "out.mkv").exists() and not (tmp_path / "rip.mkv").exists()


@pytest.mark.filterwarnings("error")
def test_an_async_callback_is_awaited_in_asyncio(blank: vs.VideoNode, tmp_path: Path) -> None:
    told: list[object] = []

    async def tell(now: object) -> None:
        await asyncio.sleep(0.01)
        told.append(now)

    async def raises(now: object) -> None:
        await asyncio.sleep(0)
        raise LookupError("of mine")

    async def both() -> None:
        await finalrip.encode_async(blank, tmp_path / "out.mkv", FAST, progress=tell, progress_interval=0)
        assert told and isinstance(told[-1], finalrip.Progress)
        await finalrip.rip_async(SCRIPT, tmp_path / "rip.mkv", FAST, progress=tell)
        assert isinstance(told[-1], finalrip.Done)
        with pytest.raises(LookupError, match="of mine"):
            await finalrip.encode_async(blank, tmp_path / "no.mkv", FAST, progress=raises)

    asyncio.run(both())
    assert leftovers(tmp_path) == ["out.mkv", "rip.mkv"]


def test_a_task_that_is_cancelled_waits_for_no_callback(blank: vs.VideoNode, tmp_path: Path) -> None:
    async def for_ever(_: object) -> None:
        waiting.set()
        await asyncio.Event().wait()

    async def leave() -> None:
        task = asyncio.create_task(finalrip.encode_async(blank, tmp_path / "out.mkv", FAST, progress=for_ever))
        await waiting.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(task, 20)

    waiting = asyncio.Event()
    asyncio.run(leave())
    assert leftovers(tmp_path) == []


def test_the_log_is_in_the_report_and_goes_to_logging(
    blank: vs.VideoNode, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "finalrip")
    live = finalrip.encode(blank, tmp_path / "live.mkv", FAST)
    # x264's last words.
    assert any("kb/s" in line for line in live.log), live.log
    script = finalrip.encode(SCRIPT, tmp_path / "script.mkv", FAST)
    assert any("kb/s" in line for line in script.log), script.log
    rip = finalrip.rip(blank, tmp_path / "rip.mkv", FAST, chunk=12, scene=False, workers=2)
    assert sum("kb/s" in line for line in rip.log) >= 4, rip.log
    logged = [record.getMessage() for record in caplog.records if record.name == "finalrip"]
    assert {*live.log, *script.log, *rip.log} <= set(logged)
    assert "kb/s" not in live._repr_html_() and live.to_dict()["log"] == list(live.log)


PRINTS = """\
import os, sys, vapoursynth as vs
print("printed by the script", flush=True)
print("an error of the script", file=sys.stderr, flush=True)
os.write(1, b"without an end")
clip = vs.core.std.BlankClip(width=64, height=64, length=4, format=vs.YUV420P8)
clip.set_output()
"""
X265 = "-c:v libx265 -preset ultrafast"


def test_quiet_keeps_scripts_and_encoders_off_the_output(
    blank: vs.VideoNode, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    loud = finalrip.encode(PRINTS, tmp_path / "loud.mkv", X265)
    out, err = capfd.readouterr()
    assert "printed by the script" in out and "x265 [info]" in err and "printed by the script" not in loud.log
    quiet = finalrip.encode(PRINTS, tmp_path / "quiet.mkv", X265, quiet=True)
    assert capfd.readouterr() == ("", "")
    assert {"printed by the script", "an error of the script", "without an end"} <= {line.strip() for line in quiet.log} or any(
        "without an end" in line for line in quiet.log
    )
    assert any(line.startswith("x265 [info]") for line in quiet.log), quiet.log
    finalrip.rip(blank, tmp_path / "live.mkv", f"{X265} -x265-params crf=30", quiet=True, chunk=24, scene=False)
    finalrip.encode(blank, tmp_path / "native.mkv", "x265 --preset ultrafast --output-depth 8 -o OUT -", quiet=True)
    assert capfd.readouterr() == ("", "")
    with pytest.raises(finalrip.ProcessError, match="my last words"):
        finalrip.encode("import os\nos.write(2, b'my last words')\nos._exit(3)\n", tmp_path / "no.mkv", FAST, quiet=True)


def test_a_command_of_parts_does_what_its_parts_say(blank: vs.VideoNode, tmp_path: Path) -> None:
    made = finalrip.EncodeCommand(encoder="libx264", options={"crf": 30, "preset": "ultrafast"}, filters="scale=160:90", format="matroska")
    assert made == finalrip.EncodeCommand.parse(made.text) and made.options == {"crf": "30", "preset": "ultrafast"}
    report = finalrip.encode(blank, tmp_path / "parts", made)
    assert (report.encoder, report.width, report.container) == ("libx264", 160, "matroska")
    words = ["-c:v", "ffv1", "-metadata", "title=a 'quoted' title; $HOME", "-vf", "drawbox=x=0"]
    assert finalrip.EncodeCommand.parse(words).metadata["title"] == "a 'quoted' title; $HOME"
    assert finalrip.encode(blank, tmp_path / "words.mkv", words).encoder == "ffv1"


def test_replace_has_an_effect_or_says_why_not(blank: vs.VideoNode, tmp_path: Path) -> None:
    parse, replace = finalrip.EncodeCommand.parse, dataclasses.replace
    command = parse("ffmpeg -r 25 -i - -c:v libx264 -preset ultrafast -crf 30 -vf hflip -metadata a=b=c -movflags +faststart o.mp4")
    other = replace(command, encoder="libx265", options={"crf": "51", "preset": "ultrafast"})
    assert (other.encoder, other.options["crf"], other.filters, other.metadata) == ("libx265", "51", "hflip", {"a": "b=c"})
    assert other.muxer_options == command.muxer_options and other.input_rate == 25 and other.output == "o.mp4"
    assert finalrip.encode(blank, tmp_path / "out.mp4", other).encoder == "libx265"
    assert replace(command, text="-c:v ffv1").encoder == "ffv1"
    assert replace(command) == command
    assert replace(replace(command, filters=None), size=(160, 90), pixel_format="yuv444p").size == (160, 90)
    for change in (
        {"options": {"presett": "slow"}},
        {"options": {"vf": "hflip"}},
        {"encoder": "libx266"},
        {"text": "-c:v ffv1", "encoder": "libx265"},
        {"size": "large"},
        {"frame_rate": "fast"},
        {"bit_depth": 10},
        {"filters": "hflip", "aspect": 0},
    ):
        with pytest.raises((finalrip.CommandError, finalrip.SettingError)):
            replace(command, **change)  # type: ignore[arg-type]
    with pytest.raises((finalrip.CommandError, finalrip.SettingError), match="encoder"):
        finalrip.EncodeCommand(text="-c:v libx264", encoder="libx265")
    with pytest.raises(finalrip.CommandError):
        finalrip.EncodeCommand()


NATIVE = [
    "x264 --crf 20 --preset fast --tune grain -o OUT -",
    "x265 --crf 16 --aq-mode 3 --no-sao -o OUT -",
    "SvtAv1EncApp --preset 8 --crf 30 -i - -b OUT",
    "rav1e --speed 9 --quantizer 80 - -o OUT",
]


@pytest.mark.parametrize("text", NATIVE)
def test_commands_in_an_encoders_own_syntax_can_be_changed(text: str) -> None:
    command = finalrip.EncodeCommand.parse(text)
    changed = dataclasses.replace(command, frame_limit=7, output=None)
    assert (changed.encoder, dict(changed.options), changed.frame_limit) == (command.encoder, dict(command.options), 7)


def test_what_cannot_be_written_in_ffmpegs_syntax_is_not_lost() -> None:
    for text, part in [("x264 --sar 8:9 -o OUT -", "aspect=8:9"), ("x265 --output-depth 10 -o OUT -", "bit_depth")]:
        command = finalrip.EncodeCommand.parse(text)
        with pytest.raises(finalrip.CommandError, match=part):
            dataclasses.replace(command, frame_limit=7)
        assert dataclasses.replace(command, text="-c:v ffv1").encoder == "ffv1"
