"""Puts into a wheel what it owes to those whose work it carries: licence texts, a list of them (an SBOM), and true metadata.

Usage: python scripts/wheel_contents WHEEL LIBDIR [--libav FOLDER] [--release]

LIBDIR is where the libav lies that the wheel was built with, FOLDER where scripts/libav.sh has put its own, if it is that.
"""

from __future__ import annotations

import argparse
import sys
import tomllib
from collections.abc import Iterable
from pathlib import Path

import crates
import libraries
import sbom
from archive import Wheel
from component import ROOT, Component, Missing
from packaging.licenses import canonicalize_license_expression

OWN = "MIT OR Apache-2.0"


def expression(components: Iterable[Component]) -> str:
    """What the wheel as a whole is under: our terms, and everybody else's."""
    # Inside parentheses there is only OR: no licence of a crate or a package nests any deeper.
    parts = {part for component in components for part in component.licence.split(" AND ")}
    others = {_sorted(part.strip().removeprefix("(").removesuffix(")")) for part in parts} - {OWN}
    terms = [OWN, *sorted(others, key=str.casefold)]
    return canonicalize_license_expression(" AND ".join(f"({term})" if " OR " in term else term for term in terms))


def _sorted(term: str) -> str:
    """Alternatives in one order, so that the same ones are there once."""
    return " OR ".join(sorted(term.split(" OR "), reverse=True))


def metadata(old: bytes, licence: str, texts: Iterable[str]) -> bytes:
    """The metadata with the fields of PEP 639 set anew. The description, behind the first empty line, stays as it is."""
    head, separator, description = old.partition(b"\n\n")
    lines = [line for line in head.decode().split("\n") if not line.startswith(("License-Expression:", "License-File:", "License:"))]
    lines += [f"License-Expression: {licence}", *(f"License-File: {name}" for name in texts)]
    return "\n".join(lines).encode() + separator + description


def own_texts() -> dict[str, bytes]:
    return {name: (ROOT / name).read_bytes() for name in ("LICENSE-MIT", "LICENSE-APACHE")}


def complete(wheel: Wheel, components: list[Component]) -> None:
    texts = own_texts()
    for component in components:
        texts |= component.texts
    licence = expression(components)
    # finalrip-0.1.0.dist-info
    name, version = wheel.info.removesuffix(".dist-info").split("-")
    changed = {f"{wheel.info}/licenses/{path}": text for path, text in sorted(texts.items())}
    changed[f"{wheel.info}/sboms/{name}.cdx.json"] = sbom.document(name, version, licence, components, wheel.digests())
    changed[f"{wheel.info}/METADATA"] = metadata(wheel.read(f"{wheel.info}/METADATA"), licence, sorted(texts))
    wheel.rewrite(changed)


def check_release(components: Iterable[Component]) -> None:
    unnamed = sorted(component.source for component in components if component.licence == libraries.UNNAMED)
    if unnamed:
        raise Missing(f"scripts/wheel_contents/licences.toml does not say the terms of: {', '.join(unnamed)}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("wheel", type=Path)
    parser.add_argument("libdir", type=Path)
    parser.add_argument("--libav", type=Path)
    parser.add_argument("--release", action="store_true", help="fail where the terms of a library are not in the table")
    arguments = parser.parse_args()
    table = tomllib.loads(Path(__file__).with_name("licences.toml").read_text())
    wheel = Wheel(arguments.wheel)
    components = libraries.components(wheel.libraries(), arguments.libdir, arguments.libav, table["packages"])
    if arguments.release:
        check_release(components)
    components += [*crates.components(table), crates.rust()]
    complete(wheel, components)


try:
    main()
except Missing as error:
    sys.exit(f"wheel: {error}")
