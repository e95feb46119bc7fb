"""The Rust crates in the compiled half, and Rust's own library."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from component import ROOT, Component, Missing

CRATE = "finalrip-py"
TEXT = re.compile(r"(licen[cs]e|copying|unlicense|copyright|notice|patents)", re.IGNORECASE)
#: What Rust's library is under, by the file COPYRIGHT-library of its releases.
RUST_TERMS = "(MIT OR Apache-2.0) AND BSD-2-Clause AND Unicode-3.0 AND Apache-2.0 WITH LLVM-exception"


def _run(*command: str) -> str:
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout


def linked() -> set[tuple[str, str]]:
    """Name and version of each crate that is compiled into the library: neither build scripts nor macros."""
    edges = ["--edges", "normal,no-proc-macro"]
    text = _run("cargo", "tree", "--locked", "--package", CRATE, *edges, "--prefix", "none", "--format", "{p}")
    return {(name, version) for name, version in re.findall(r"^(\S+) v(\S+)", text, re.MULTILINE)}


def _texts(crate: Mapping[str, Any]) -> dict[str, bytes]:
    folder = Path(crate["manifest_path"]).parent
    files = {file for file in folder.iterdir() if file.is_file() and TEXT.match(file.name)}
    files |= {file for folder in folder.glob("LICENSES/") for file in folder.iterdir() if file.is_file()}
    if crate["license_file"]:
        files.add(folder / crate["license_file"])
    return {f"crates/{crate['name']}-{crate['version']}/{file.name}": file.read_bytes() for file in sorted(files)}


def _licence(crate: Mapping[str, Any], table: Mapping[str, Any]) -> str:
    licence = table["crates"].get(crate["name"]) or crate["license"]
    if not licence:
        raise Missing(f"the crate {crate['name']} names no licence in its manifest")
    # A slash is the old way to write OR.
    return str(licence).replace("/", " OR ")


def _component(crate: Mapping[str, Any], texts: dict[str, bytes], table: Mapping[str, Any]) -> Component:
    return Component(
        name=crate["name"],
        version=crate["version"],
        purl=f"pkg:cargo/{crate['name']}@{crate['version']}",
        licence=_licence(crate, table),
        source=crate["repository"] or f"https://crates.io/crates/{crate['name']}",
        texts=texts,
    )


def _borrowed(crate: Mapping[str, Any], table: Mapping[str, Any], others: list[Mapping[str, Any]]) -> dict[str, bytes]:
    """The text of a crate that was published without: that of its sister, or the Apache licence, if it offers that."""
    folder = f"crates/{crate['name']}-{crate['version']}"
    for other in others:
        if other["name"] == table["texts"].get(crate["name"]):
            return {f"{folder}/{Path(path).name}": text for path, text in _texts(other).items()}
    if "Apache-2.0" in _licence(crate, table).split(" OR "):
        return {f"{folder}/LICENSE-APACHE": (ROOT / "LICENSE-APACHE").read_bytes()}
    raise Missing(f"the crate {crate['name']} has no licence text; name where its text is in scripts/wheel_contents/licences.toml")


def components(table: Mapping[str, Any]) -> list[Component]:
    """Every crate, ours left out: they are the wheel itself."""
    known = json.loads(_run("cargo", "metadata", "--locked", "--format-version", "1"))["packages"]
    wanted = linked()
    crates = [crate for crate in known if (crate["name"], crate["version"]) in wanted and crate["source"]]
    crates.sort(key=lambda crate: (crate["name"], crate["version"]))
    return [_component(crate, _texts(crate) or _borrowed(crate, table, crates), table) for crate in crates]


def rust() -> Component:
    """Rust's standard library, which is in everything that its compiler makes."""
    version = _run("rustc", "--version").split()[1]
    documents = Path(_run("rustc", "--print", "sysroot").strip()) / "share/doc/rust"
    files = [documents / "COPYRIGHT-library.html", documents / "licenses/Unicode-3.0.txt", documents / "licenses/LLVM-exception.txt"]
    texts = {f"crates/rust-std-{version}/{file.name}": file.read_bytes() for file in files if file.is_file()}
    # A toolchain without documents: the choice of its two licences that we have at hand.
    texts = texts or {f"crates/rust-std-{version}/LICENSE-APACHE": (ROOT / "LICENSE-APACHE").read_bytes()}
    return Component("rust-std", version, f"pkg:generic/rust-std@{version}", RUST_TERMS, "https://github.com/rust-lang/rust", texts)
