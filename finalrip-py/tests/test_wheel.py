"""The wheel itself, as somebody who has to decide whether to pass it on looks at it. It is the one that is installed here."""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import json
import os
import re
import subprocess
import sys
import zipfile
from email import message_from_bytes
from email.message import Message
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT
from packaging.licenses import canonicalize_license_expression
from packaging.metadata import Metadata
from packaging.utils import parse_wheel_filename

FOLDER = Path(os.environ.get("FINALRIP_WHEELS", ROOT / "target/wheels/dev"))


class Wheel:
    def __init__(self, path: Path) -> None:
        self.path = path
        with zipfile.ZipFile(path) as archive:
            self.files = {name: archive.read(name) for name in archive.namelist()}
            assert len(self.files) == len(archive.namelist()), "a name is there twice"
        self.info = next(name.split("/")[0] for name in self.files if name.endswith(".dist-info/METADATA"))

    @property
    def compiled(self) -> set[str]:
        return {name for name, data in self.files.items() if data.startswith(b"\x7fELF")}

    @property
    def metadata(self) -> Message:
        return message_from_bytes(self.files[f"{self.info}/METADATA"])

    @property
    def texts(self) -> set[str]:
        return {name.removeprefix(f"{self.info}/licenses/") for name in self.files if name.startswith(f"{self.info}/licenses/")}

    @property
    def sbom(self) -> dict[str, Any]:
        return json.loads(self.files[f"{self.info}/sboms/finalrip.cdx.json"])


@pytest.fixture(scope="module")
def wheel() -> Wheel:
    (path,) = FOLDER.glob("finalrip-*.whl")
    return Wheel(path)


def files_of(component: dict[str, Any]) -> dict[str, str]:
    """The files that a component is, and their hashes."""
    return {file["name"]: file["hashes"][0]["content"] for file in component.get("components", ())}


def texts_of(component: dict[str, Any]) -> list[str]:
    return [p["value"].removeprefix("licenses/") for p in component["properties"] if p["name"] == "finalrip:licence-text"]


def source_of(component: dict[str, Any]) -> str:
    return next(p["value"] for p in component["properties"] if p["name"] == "finalrip:source")


def test_everything_compiled_is_listed_with_its_hash_and_a_licence_text(wheel: Wheel) -> None:
    components = wheel.sbom["components"]
    listed = files_of(wheel.sbom["metadata"]["component"])
    assert list(listed) == ["finalrip/_finalrip.abi3.so"], "of the compiled files, this one is ours"
    for component in components:
        assert texts_of(component), component["name"]
        assert set(texts_of(component)) <= wheel.texts, component["name"]
        assert not listed.keys() & files_of(component).keys()
        listed |= files_of(component)
    assert listed.keys() == wheel.compiled
    assert listed == {name: hashlib.sha256(wheel.files[name]).hexdigest() for name in listed}


def test_libraries_are_whose_they_say(wheel: Wheel) -> None:
    """Judged by dpkg, by the libraries' names, of which the wheel keeps all but a hash."""
    of = {file: component for component in wheel.sbom["components"] for file in files_of(component)}
    for wanted, source in {"libx264": "x264 ", "libx265": "x265 ", "libSvtAv1Enc": "svt-av1 ", "libavcodec": "ffmpeg "}.items():
        (component,) = [component for file, component in of.items() if Path(file).name.startswith(f"{wanted}-")]
        assert source_of(component).startswith(source)
        assert component["purl"].startswith("pkg:deb/")
    x264 = next(component for component in of.values() if component["name"].startswith("libx264"))
    show = ["dpkg-query", "--show", "--showformat=${Version} ${source:Package} ${source:Version}", x264["name"]]
    installed = subprocess.run(show, capture_output=True, text=True).stdout
    assert f"{x264['version']} {source_of(x264)}" == installed
    text = "".join(wheel.files[f"{wheel.info}/licenses/{name}"].decode() for name in texts_of(x264))
    assert "GNU GENERAL PUBLIC LICENSE" in text and "x264" in text, "the notice, and the licence to which it points"


def test_crates_are_those_that_are_compiled_in(wheel: Wheel) -> None:
    crates = {component["name"] for component in wheel.sbom["components"] if component["purl"].startswith("pkg:cargo/")}
    assert {"rav1e", "pyo3", "vapoursynth", "ffmpeg-sys-next", "sha2"} <= crates
    assert not {"pyo3-macros", "syn", "bindgen", "hyper", "tokio"} & crates, "macros, build scripts, and the server's"
    text = wheel.files["finalrip/_finalrip.abi3.so"]
    # Where a crate panics, its name is in the library.
    named = {m.group(1).decode() for m in re.finditer(rb"registry/src/[^/\0]+/([A-Za-z0-9_-]+?)-\d+\.\d+\.\d+[^/]*/src", text)}
    assert named and named <= crates


def test_the_licence_is_true_of_the_whole(wheel: Wheel) -> None:
    expression = wheel.metadata["License-Expression"]
    assert canonicalize_license_expression(expression) == expression
    parts = set(expression.split(" AND "))
    assert {"(MIT OR Apache-2.0)", "GPL-2.0-or-later", "BSD-2-Clause", "WTFPL"} <= parts
    assert wheel.sbom["metadata"]["component"]["licenses"] == [{"expression": expression}]
    for component in wheel.sbom["components"]:
        own = component["licenses"][0]["expression"]
        for part in canonicalize_license_expression(own).split(" AND "):
            choices = set(part.strip("()").split(" OR "))
            assert any(set(whole.strip("()").split(" OR ")) == choices for whole in parts), f"{component['name']}: {part}"


def test_the_metadata_is_whole(wheel: Wheel) -> None:
    """As the package index looks at it."""
    metadata = Metadata.from_email(wheel.files[f"{wheel.info}/METADATA"], validate=True)
    assert metadata.name == "finalrip" and metadata.summary and metadata.author and metadata.keywords
    assert metadata.description and "## A live clip" in metadata.description
    assert metadata.metadata_version and tuple(map(int, metadata.metadata_version.split("."))) >= (2, 4)
    assert set(metadata.license_files or ()) == wheel.texts >= {"LICENSE-MIT", "LICENSE-APACHE"}
    assert not [c for c in metadata.classifiers or () if c.startswith("License ::")], "the expression says it"
    name, version, _, tags = parse_wheel_filename(wheel.path.name)
    assert (name, version) == (metadata.name, metadata.version)
    assert all(tag.platform.startswith("manylinux_") for tag in tags)


def test_the_record_has_every_file(wheel: Wheel) -> None:
    record = f"{wheel.info}/RECORD"
    rows = {name: (digest, size) for name, digest, size in csv.reader(io.StringIO(wheel.files[record].decode()))}
    assert rows.keys() == wheel.files.keys() and rows.pop(record) == ("", "")
    for name, (digest, size) in rows.items():
        data = wheel.files[name]
        expected = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
        assert (digest, size) == (f"sha256={expected}", str(len(data))), name


def test_nothing_of_the_builder_is_in_it(wheel: Wheel) -> None:
    texts = {name for name in wheel.files if name.endswith(("METADATA", ".json", ".pyi", ".py"))}
    assert not [name for name in texts if str(ROOT).encode() in wheel.files[name]]


def test_a_library_of_nobody_stops_the_build(wheel: Wheel, tmp_path: Path) -> None:
    """Somebody puts a library into the wheel that belongs to no package: no wheel without its licence."""
    copy = tmp_path / wheel.path.name
    with zipfile.ZipFile(copy, "w") as archive:
        for name in (f"{wheel.info}/METADATA", f"{wheel.info}/RECORD"):
            archive.writestr(name, wheel.files[name])
        archive.writestr("finalrip.libs/libnobody-0a1b2c3d.so.1", b"\x7fELF")
    before = copy.read_bytes()
    libdir = subprocess.run(["pkg-config", "--variable=libdir", "libavcodec"], capture_output=True, text=True, check=True).stdout.strip()
    command = [sys.executable, ROOT / "scripts/wheel_contents", copy, libdir]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 1 and "libnobody.so.1" in done.stderr and "Traceback" not in done.stderr
    assert copy.read_bytes() == before


def test_importing_it_loads_little() -> None:
    """What only some calls need is loaded by these: an event loop, HTTP, VapourSynth itself."""
    code = "import sys; before = set(sys.modules); import finalrip; print(*set(sys.modules) - before)"
    done = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, check=True)
    loaded = {name.split(".")[0] for name in done.stdout.split()}
    assert "finalrip" in loaded
    assert not loaded & {"asyncio", "http", "ssl", "email", "urllib3", "vapoursynth", "numpy", "tqdm", "argparse", "multiprocessing"}
