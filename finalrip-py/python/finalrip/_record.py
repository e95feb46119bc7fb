"""What reports, events and commands have in common: frozen, made from JSON, shown as a table in a notebook."""

from __future__ import annotations

import dataclasses
import html
from collections.abc import Iterable, Iterator, Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any, Self


class Record:
    """The base of this package's frozen dataclasses."""

    @classmethod
    def from_wire(cls, wire: dict[str, Any]) -> Self:
        """Make one of the library's JSON; keys that this version does not know are left out."""
        names = {field.name for field in dataclasses.fields(cls)}  # type: ignore[arg-type]
        return cls(**{key: _from_wire(key, value) for key, value in wire.items() if key in names})

    def to_dict(self) -> dict[str, Any]:
        """Everything as plain values that JSON can carry: paths and fractions as text, a range as a pair."""
        names = (field.name for field in dataclasses.fields(self))  # type: ignore[arg-type]
        return {name: _plain(getattr(self, name)) for name in names if not name.startswith("_")}

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><th style='text-align:left'>{html.escape(name)}</th>"
            f"<td style='text-align:left'>{_cell(value)}</td></tr>"
            for name, value in self.to_dict().items()
            # Of a log a table would be made that hides the rest.
            if value not in (None, [], {}, "") and name != "log"
        )
        return f"<table><caption>{html.escape(type(self).__name__)}</caption>{rows}</table>"


class Options(Mapping[str, str]):
    """Names and values that nobody changes. Python's own read-only view cannot be pickled or copied."""

    __slots__ = ("_values",)

    def __init__(self, pairs: Iterable[tuple[str, str]]) -> None:
        self._values = dict(pairs)

    def __getitem__(self, name: str) -> str:
        return self._values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        return repr(self._values)


def _from_wire(key: str, value: Any) -> Any:
    if isinstance(value, dict):
        if value.keys() == {"num", "den"}:
            return Fraction(value["num"], value["den"])
        if value.keys() == {"start", "end"}:
            return range(value["start"], value["end"])
    if key == "output" and isinstance(value, str):
        return Path(value)
    if key == "options":
        return Options(value)
    if isinstance(value, list):
        return tuple(_from_wire("", part) for part in value)
    return value


def _plain(value: Any) -> Any:
    if isinstance(value, Record):
        return value.to_dict()
    if isinstance(value, (Path, Fraction)):
        return str(value)
    if isinstance(value, range):
        return [value.start, value.stop]
    if isinstance(value, tuple):
        return [_plain(part) for part in value]
    return dict(value) if isinstance(value, Mapping) else value


def _cell(value: Any) -> str:
    if isinstance(value, list) and value and isinstance(value[0], dict):
        head = "".join(f"<th>{html.escape(name)}</th>" for name in value[0])
        body = "".join("<tr>" + "".join(f"<td>{_cell(part)}</td>" for part in row.values()) + "</tr>" for row in value)
        return f"<table><tr>{head}</tr>{body}</table>"
    if isinstance(value, float):
        return f"{value:.3f}"
    return html.escape("" if value is None else str(value))
