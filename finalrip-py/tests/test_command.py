"""Encode commands, the command line program, and what is documented."""

from __future__ import annotations

import copy
import dataclasses
import doctest
import importlib
import json
import os
import pickle
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import finalrip
import pytest
from conftest import BUNNY, FAST


def test_a_command_is_read_and_can_be_looked_at() -> None:
    command = finalrip.EncodeCommand.parse("ffmpeg -i - -pix_fmt yuv420p10le -c:v libx265 -crf 16 -r 24000/1001 out.mkv")
    assert (command.encoder, command.options["crf"], command.output) == ("libx265", "16", "out.mkv")
    assert command.pixel_format == "yuv420p10le" and command.frame_rate == Fraction(24000, 1001)
    assert command.to_dict()["options"] == {"crf": "16"} and "libx265" in command._repr_html_()
    assert finalrip.EncodeCommand.parse("rav1e --speed 6 -o OUT -").encoder == "rav1e"
    assert finalrip.EncodeCommand.parse("-crf 16").encoder is None
    with pytest.raises(TypeError):
        command.options["crf"] = "3"  # type: ignore[index]
    assert pickle.loads(pickle.dumps(command)) == copy.deepcopy(command) == command
    assert dataclasses.asdict(command)["options"] == {"crf": "16"}


@pytest.mark.parametrize("text", ["", "-c:v libx266", "-c:v libx265 | cat", "-i other.mkv -c:v libx265", "-c:v libx264 '"])
def test_a_command_that_means_nothing_is_refused(text: str) -> None:
    with pytest.raises(finalrip.CommandError):
        finalrip.EncodeCommand.parse(text)


def finalrip_program(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    program = Path(sys.executable).with_name("finalrip")
    return subprocess.run([program, *arguments], capture_output=True, text=True, env={**os.environ, **environment})


def test_the_program_encodes_and_rips(tmp_path: Path) -> None:
    script = tmp_path / "script.vpy"
    script.write_text(
        "import os, vapoursynth as vs\nprint('hello from the script')\n"
        "vs.core.bs.VideoSource(os.environ['FINALRIP_SOURCE'])[: int(n)].resize.Bilinear(160, 90).set_output()\n"
    )
    shared = (str(script), str(tmp_path / "out.mkv"), "--param", FAST, "--source", str(BUNNY), "--arg", "n=30", "--json")
    encoded = finalrip_program("encode", *shared, "--range", "5..25")
    assert encoded.returncode == 0, encoded.stderr
    assert json.loads(encoded.stdout)["frames"] == 20 and "hello from the script" in encoded.stderr
    ripped = finalrip_program("rip", *shared, "--workers", "1", "--chunk", "10")
    assert ripped.returncode == 0, ripped.stderr
    assert json.loads(ripped.stdout)["pictures"] == 30
    failed = finalrip_program("encode", str(script), str(tmp_path / "no.mkv"), "--param", FAST)
    assert failed.returncode == 1 and "FINALRIP_SOURCE" in failed.stderr and "Traceback" in failed.stderr
    backwards = finalrip_program("encode", *shared, "--range=-5..10")
    assert backwards.returncode == 2 and "'-5' is not a whole number from 0 on" in backwards.stderr, backwards.stderr


def test_the_program_says_what_is_there() -> None:
    info = finalrip_program("info", "x265 --crf 16 -o OUT -")
    assert info.returncode == 0 and "encoder: libx265" in info.stdout
    assert "libx264" in finalrip_program("info").stdout
    doctor = finalrip_program("doctor")
    assert doctor.returncode == 0, doctor.stdout
    assert "ok VapourSynth: R81" in doctor.stdout and "bs" in doctor.stdout


def test_the_doctor_names_what_is_missing_and_the_fix(tmp_path: Path) -> None:
    # An interpreter that sees this package and nothing else.
    where = Path(finalrip.__file__).parent
    (tmp_path / "finalrip").symlink_to(where)
    libraries = where.with_name("finalrip.libs")
    if libraries.is_dir():
        (tmp_path / "finalrip.libs").symlink_to(libraries)
    code = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); from finalrip.__main__ import main; sys.exit(main(['doctor']))"
    found = subprocess.run([sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True)
    assert found.returncode == 1, found.stderr
    assert "!! VapourSynth: not installed" in found.stdout and "pip install vapoursynth" in found.stdout


@pytest.mark.parametrize(
    ("module", "found"),
    [
        ("raise OSError('a library is missing')", "does not start: OSError: a library is missing"),
        ("import nothing_of_that_name", "does not start: it lacks nothing_of_that_name"),
        (
            "class __version__:\n release_major = 70\nclass core:\n num_threads = 2\n plugins = staticmethod(lambda: ())\n",
            "R70, 2 threads; R74 is the oldest that will do",
        ),
    ],
)
def test_the_doctor_sees_a_vapoursynth_that_will_not_do(module: str, found: str, tmp_path: Path) -> None:
    (tmp_path / "vapoursynth.py").write_text(module)
    doctor = finalrip_program("doctor", PYTHONPATH=str(tmp_path))
    assert doctor.returncode == 1 and f"!! VapourSynth: {found}" in doctor.stdout, doctor.stdout + doctor.stderr


@pytest.mark.parametrize("module", ["finalrip", "finalrip._command"])
def test_examples_in_the_documentation_run(module: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = doctest.testmod(importlib.import_module(module), optionflags=doctest.IGNORE_EXCEPTION_DETAIL)
    assert result.attempted > 0 and result.failed == 0


def test_the_readme_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in.mp4").symlink_to(BUNNY)
    readme = Path(__file__).parents[1] / "README.md"
    result = doctest.testfile(str(readme), module_relative=False, optionflags=doctest.ELLIPSIS | doctest.IGNORE_EXCEPTION_DETAIL)
    assert result.attempted > 5 and result.failed == 0


def test_the_stubs_say_what_the_module_has() -> None:
    command = [sys.executable, "-m", "mypy.stubtest", "finalrip", "--allowlist", Path(__file__).with_name("stubtest-allowed.txt")]
    config = Path(__file__).parents[1] / "pyproject.toml"
    found = subprocess.run([*command, "--mypy-config-file", config], capture_output=True, text=True)
    assert found.returncode == 0, found.stdout + found.stderr


def test_the_package_is_typed(tmp_path: Path) -> None:
    (tmp_path / "use.py").write_text(
        "import finalrip\n"
        "report = finalrip.encode('a.vpy', 'out.mkv', '-c:v libx264')\n"
        "reveal_type(report.fps)\n"
        "finalrip.encode('a.vpy', 'out.mkv', 7)\n"
    )
    found = subprocess.run([sys.executable, "-m", "mypy", "--strict", "use.py"], capture_output=True, text=True, cwd=tmp_path)
    assert 'Revealed type is "float"' in found.stdout.replace("builtins.", "") and "arg-type" in found.stdout


def test_sub_interpreters_are_refused_in_words() -> None:
    code = (
        "try:\n import _interpreters as sub\nexcept ImportError:\n import _xxsubinterpreters as sub\n"
        "made = sub.create()\n"
        "text = 'try:\\n import finalrip\\nexcept ImportError as error:\\n print(error, flush=True)'\n"
        "run = getattr(sub, 'exec', None) or sub.run_string\n"
        "run(made, text)\n"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "does not support sub-interpreters" in found.stdout, found.stderr
