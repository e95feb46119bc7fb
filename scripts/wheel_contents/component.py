"""What a wheel is made of: a library or a crate, and the terms that it is under."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


class Missing(Exception):
    """Something that a wheel has to carry is not to be found; the message says what, and where to look."""


@dataclass(frozen=True)
class Component:
    """One thing that somebody else has made and that is in the wheel."""

    name: str
    version: str
    #: A package URL, which says where it comes from: https://github.com/package-url/purl-spec
    purl: str
    #: An SPDX expression.
    licence: str
    #: The source package or repository that it is built from.
    source: str
    #: Its licence texts, by their paths below `licenses/`.
    texts: dict[str, bytes] = field(repr=False)
    #: Files of the wheel that are nothing else. Crates are inside the compiled half, and have none.
    files: tuple[str, ...] = ()
