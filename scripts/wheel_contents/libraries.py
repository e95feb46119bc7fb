"""The shared libraries in a wheel: which package of the distribution each comes from, and under which terms."""

from __future__ import annotations

import os
import platform
import re
import subprocess
import urllib.parse
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from component import Component, Missing

COMMON = Path("/usr/share/common-licenses")
#: The terms of a package that the table does not name: those of its copyright file.
UNNAMED = "LicenseRef-Debian-Copyright"
#: What the compiled half is linked with. Everything else in a wheel is there because of these.
LIBAV = ("avcodec", "avfilter", "avformat", "avutil", "postproc", "swresample", "swscale")


@dataclass(frozen=True)
class Package:
    """A binary package of the distribution."""

    name: str
    version: str
    architecture: str
    source: str
    source_version: str


def linked(folder: Path) -> dict[str, Path]:
    """Libav's libraries in a folder and what the loader finds for them, by soname."""
    own = {file.name: file for name in LIBAV for file in folder.glob(f"lib{name}.so.*")}
    environment = {**os.environ, "LC_ALL": "C", "LD_LIBRARY_PATH": str(folder)}
    text = subprocess.run(["ldd", *own.values()], env=environment, capture_output=True, text=True, check=True).stdout
    return {name: Path(path) for name, path in re.findall(r"^\s*(\S+) => (/\S+)", text, re.MULTILINE)} | own


def originals(bundled: Iterable[str], found: Mapping[str, Path]) -> dict[str, Path]:
    """Where each library of the wheel was copied from. Its name has a hash before the first dot: `libx264-0a1b2c3d.so.164`."""
    paths = {}
    for file in bundled:
        soname = re.sub(r"^([^.]*)-[0-9a-f]{8}(?=\.)", r"\1", Path(file).name)
        if soname not in found:
            raise Missing(f"{file} is in the wheel, and the loader does not find {soname}: whose is it?")
        paths[file] = found[soname]
    return paths


def _spellings(path: Path) -> list[str]:
    """A path as the package database may have it: /lib is a link to /usr/lib, and libraries may be links."""
    paths = dict.fromkeys((path, path.resolve()))
    return [name for path in paths for name in (str(path), str(path).removeprefix("/usr"), f"/usr{path}")]


def owners(paths: Iterable[Path]) -> dict[Path, str]:
    """The package that each file belongs to, asked all at once."""
    wanted = {path: _spellings(path) for path in paths}
    names = sorted({name for names in wanted.values() for name in names})
    try:
        # It fails for the spellings that it does not know, and answers the others.
        text = subprocess.run(["dpkg-query", "--search", *names], capture_output=True, text=True).stdout
    except FileNotFoundError:
        raise Missing("there is no dpkg-query here: wheels are built on Debian and Ubuntu, whose packages say their terms") from None
    known = {path: package.split(",")[0] for package, path in re.findall(r"^(\S.*?): (/.*)$", text, re.MULTILINE)}
    answer = {}
    for path, names in wanted.items():
        if (package := next((known[name] for name in names if name in known), None)) is None:
            raise Missing(f"{path} is in the wheel, and belongs to no package: its licence is not known")
        answer[path] = package
    return answer


def packages(names: Iterable[str]) -> dict[str, Package]:
    """The versions of packages, and what they are built from."""
    form = "${binary:Package}|${Package}|${Version}|${Architecture}|${source:Package}|${source:Version}\n"
    names = sorted(set(names))
    command = ["dpkg-query", "--show", f"--showformat={form}", *names]
    rows = [line.split("|") for line in subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()]
    table = {key: Package(*row[1:]) for row in rows for key in (row[0], row[1])}
    return {name: table[name] for name in names}


def copyright_of(package: Package) -> dict[str, bytes]:
    """A package's copyright file, which is its licence in the distribution's words."""
    file = Path("/usr/share/doc") / package.name / "copyright"
    if not file.is_file():
        raise Missing(f"{file} is missing: it has the licence of a library in the wheel")
    return with_common({f"libraries/{package.source}/{package.name}.copyright": file.read_bytes()})


def with_common(texts: dict[str, bytes]) -> dict[str, bytes]:
    """Texts, and the licences beside them to which they point: the GPL and its like."""
    names = {name for text in texts.values() for name in re.findall(rb"common-licenses/([A-Za-z0-9.-]*[A-Za-z0-9])", text)}
    more = {f"texts/{name.decode()}": (COMMON / name.decode()).read_bytes() for name in names if (COMMON / name.decode()).is_file()}
    return texts | more


def _purl(package: str, version: str, architecture: str) -> str:
    system = platform.freedesktop_os_release()
    quoted = urllib.parse.quote(version, safe=".-~:")
    distribution = f"{system['ID']}-{system.get('VERSION_ID', 'unstable')}"
    return f"pkg:deb/{system['ID']}/{urllib.parse.quote(package)}@{quoted}?arch={architecture}&distro={distribution}"


def _component(package: Package, files: Iterable[str], terms: Mapping[str, str]) -> Component:
    return Component(
        name=package.name,
        version=package.version,
        purl=_purl(package.name, package.version, package.architecture),
        licence=terms.get(package.source, UNNAMED),
        source=f"{package.source} {package.source_version}",
        texts=copyright_of(package),
        files=tuple(sorted(files)),
    )


def _own_libav(libav: Path, files: Iterable[str], terms: Mapping[str, str]) -> Component:
    """The libav that scripts/libav.sh has built, and the texts that it has kept."""
    source, version = "ffmpeg", (libav / "version").read_text().strip()
    texts = {f"libraries/{source}/{file.name}": file.read_bytes() for file in (libav / "licences").iterdir()}
    return Component(
        name=source,
        version=version,
        purl=_purl(source, version, "source"),
        licence=terms[source],
        source=f"{source} {version}",
        texts=with_common(texts),
        files=tuple(sorted(files)),
    )


def components(bundled: Iterable[str], folder: Path, libav: Path | None, terms: Mapping[str, str]) -> list[Component]:
    """Everything in the wheel's folder of libraries, by package."""
    paths = originals(bundled, linked(folder))
    own = {file for file, path in paths.items() if libav and path.is_relative_to(libav)}
    owner = owners({path for file, path in paths.items() if file not in own})
    files = defaultdict(list)
    for file in paths.keys() - own:
        files[owner[paths[file]]].append(file)
    # A package that is installed for two architectures has two names, and is one.
    known = packages(files) if files else {}
    made = [_component(known[name], files[name], terms) for name in sorted(files)]
    if libav and own:
        made.append(_own_libav(libav, own, terms))
    return made
