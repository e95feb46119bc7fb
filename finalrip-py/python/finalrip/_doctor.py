"""What is there of what is needed, and what to do about the rest."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from . import _finalrip
from ._record import Record
from ._script import follow_python

# Encoders that a user will ask for, and why one may be missing.
_ENCODERS = ("libx264", "libx265", "libsvtav1", "libaom-av1", "rav1e", "libvpx-vp9", "ffv1", "hevc_nvenc")

# Source plugins by their namespace, the one to recommend first.
_SOURCES = {"bs": "vapoursynth-bestsource", "lsmas": "L-SMASH-Works", "ffms2": "ffms2"}

# The oldest release whose Python module has what is used here: what the package's dependency asks for.
_OLDEST = 74

# How long VapourSynth may take to load its plugins, in seconds.
_PATIENCE = 60

# Asked of a Python of its own: a plugin that crashes when it is loaded is one of the things to find.
_LOOK = """
import json, sys
sys.path[:] = json.loads(sys.argv[1])
try:
    import vapoursynth as vs
except ModuleNotFoundError as error:
    print(json.dumps({"lacks": error.name}))
    raise SystemExit
plugins = [[plugin.namespace, plugin.name] for plugin in vs.core.plugins()]
print(json.dumps({"release": vs.__version__.release_major, "threads": vs.core.num_threads, "plugins": plugins}))
"""


@dataclass(frozen=True, kw_only=True)
class Finding(Record):
    """One thing that was looked for."""

    what: str
    state: Literal["good", "missing", "note"]
    found: str
    fix: str = ""
    """What to do where it is missing."""


def doctor() -> tuple[Finding, ...]:
    """Look for VapourSynth, its plugins, libav and its encoders, and say what is missing and how to get it."""
    return tuple(_findings())


def _findings() -> Iterator[Finding]:
    version = ".".join(map(str, sys.version_info[:3]))
    yield Finding(what="Python", state="good", found=f"{version} ({sys.executable})")
    yield Finding(what="finalrip", state="good", found=_finalrip.version())
    yield Finding(what="libav", state="good", found=f"FFmpeg {_finalrip.libav_version()}")
    yield from _encoders()
    yield from _vapoursynth()
    yield from _extras()


def _encoders() -> Iterator[Finding]:
    there = set(_finalrip.encoders())
    known = [name for name in _ENCODERS if name in there]
    yield Finding(what="encoders", state="good", found=f"{len(there)}, among them {', '.join(known)}")
    for name in ("libx264", "libx265", "libsvtav1"):
        if name not in there:
            fix = "install a wheel, or build against a libav, that has it"
            yield Finding(what=f"encoder {name}", state="missing", found="not in this libav", fix=fix)


def _vapoursynth() -> Iterator[Finding]:
    look = [sys.executable, "-c", _LOOK, json.dumps(follow_python())]
    broken = "reinstall it (pip install --force-reinstall vapoursynth), or remove the plugin that is to blame"
    try:
        looked = subprocess.run(look, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=_PATIENCE)
    except subprocess.TimeoutExpired:
        found = f"does not start within {_PATIENCE} s"
        yield Finding(what="VapourSynth", state="missing", found=found, fix=broken)
        return
    if looked.returncode != 0:
        last = (looked.stderr.strip().splitlines() or [f"exit code {looked.returncode}"])[-1]
        yield Finding(what="VapourSynth", state="missing", found=f"does not start: {last}", fix=broken)
        return
    said = json.loads(looked.stdout.splitlines()[-1])
    if "lacks" in said:
        found = "not installed" if said["lacks"] == "vapoursynth" else f"does not start: it lacks {said['lacks']}"
        yield Finding(what="VapourSynth", state="missing", found=found, fix="pip install vapoursynth")
        return
    old = said["release"] < _OLDEST
    found = f"R{said['release']}, {said['threads']} threads" + (f"; R{_OLDEST} is the oldest that will do" if old else "")
    fix = "pip install --upgrade vapoursynth" if old else ""
    yield Finding(what="VapourSynth", state="missing" if old else "good", found=found, fix=fix)
    plugins = dict(said["plugins"])
    names = ", ".join(sorted(plugins))
    yield Finding(what="plugins", state="good", found=names)
    if not plugins.keys() & _SOURCES.keys():
        fix = f"pip install {_SOURCES['bs']}"
        yield Finding(what="source plugin", state="missing", found="none that reads video files", fix=fix)


def _extras() -> Iterator[Finding]:
    import importlib.metadata

    try:
        found = importlib.metadata.version("tqdm")
        yield Finding(what="tqdm", state="good", found=found)
    except importlib.metadata.PackageNotFoundError:
        fix = "pip install 'finalrip[progress]'"
        yield Finding(what="tqdm", state="note", found="not installed; progress=True shows a plain bar, and none made for notebooks", fix=fix)
