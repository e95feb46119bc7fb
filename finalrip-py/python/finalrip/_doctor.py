"""What is there of what is needed, and what to do about the rest."""

from __future__ import annotations

import importlib.metadata
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from . import _finalrip
from ._record import Record

# Encoders that a user will ask for, and why one may be missing.
_ENCODERS = ("libx264", "libx265", "libsvtav1", "libaom-av1", "rav1e", "libvpx-vp9", "ffv1", "hevc_nvenc")

# Source plugins by their namespace, the one to recommend first.
_SOURCES = {"bs": "vapoursynth-bestsource", "lsmas": "L-SMASH-Works", "ffms2": "ffms2"}

# Asked of a Python of its own: a plugin that crashes when it is loaded is one of the things to find.
_LOOK = """
import json
import vapoursynth as vs
plugins = [[plugin.namespace, plugin.name] for plugin in vs.core.plugins()]
print(json.dumps({"core": str(vs.core).splitlines(), "threads": vs.core.num_threads, "plugins": plugins}))
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
    try:
        version = importlib.metadata.version("vapoursynth")
    except importlib.metadata.PackageNotFoundError:
        yield Finding(what="VapourSynth", state="missing", found="not installed", fix="pip install vapoursynth")
        return
    looked = subprocess.run([sys.executable, "-c", _LOOK], capture_output=True, text=True, stdin=subprocess.DEVNULL)
    if looked.returncode != 0:
        last = (looked.stderr.strip().splitlines() or [f"exit code {looked.returncode}"])[-1]
        fix = "reinstall it (pip install --force-reinstall vapoursynth), or remove the plugin that it names"
        yield Finding(what="VapourSynth", state="missing", found=f"R{version} does not start: {last}", fix=fix)
        return
    import json

    said = json.loads(looked.stdout.splitlines()[-1])
    yield Finding(what="VapourSynth", state="good", found=f"R{version}, {said['threads']} threads")
    plugins = dict(said["plugins"])
    names = ", ".join(sorted(plugins))
    yield Finding(what="plugins", state="good", found=names)
    if not plugins.keys() & _SOURCES.keys():
        fix = f"pip install {_SOURCES['bs']}"
        yield Finding(what="source plugin", state="missing", found="none that reads video files", fix=fix)


def _extras() -> Iterator[Finding]:
    try:
        found = importlib.metadata.version("tqdm")
        yield Finding(what="tqdm", state="good", found=found)
    except importlib.metadata.PackageNotFoundError:
        fix = "pip install 'finalrip[progress]'"
        yield Finding(what="tqdm", state="note", found="not installed; progress=True needs it", fix=fix)
