"""A wheel as the files in it, and written again with more of them."""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import os
import zipfile
from collections.abc import Mapping
from pathlib import Path


class Wheel:
    """A wheel that is open for reading."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._zip = zipfile.ZipFile(path)
        self.names = [name for name in self._zip.namelist() if not name.endswith("/")]
        self.info = next(name.split("/")[0] for name in self.names if name.endswith(".dist-info/METADATA"))

    def read(self, name: str) -> bytes:
        return self._zip.read(name)

    def libraries(self) -> list[str]:
        """The shared libraries that were copied into it."""
        return sorted(name for name in self.names if name.split("/")[0].endswith(".libs") and ".so" in name)

    def compiled(self) -> list[str]:
        """Everything that is machine code."""
        return sorted(name for name in self.names if ".so" in name.rsplit("/", 1)[-1])

    def digests(self) -> dict[str, str]:
        """SHA-256 of everything compiled."""
        return {name: hashlib.sha256(self.read(name)).hexdigest() for name in self.compiled()}

    def rewrite(self, changed: Mapping[str, bytes]) -> None:
        """Replaces it by one with these files changed or added, and a new record. The other one stays until that is whole."""
        record = f"{self.info}/RECORD"
        names = [name for name in dict.fromkeys([*self.names, *changed]) if name != record]
        rows: list[tuple[str, str, int | str]] = []
        temporary = self.path.with_suffix(".partial")
        pattern = self._zip.getinfo(record)
        with zipfile.ZipFile(temporary, "w") as output:
            for name in names:
                data = changed[name] if name in changed else self.read(name)
                rows.append((name, f"sha256={_digest(data)}", len(data)))
                output.writestr(self._entry(name, pattern), data, compresslevel=9)
            rows.append((record, "", ""))
            text = io.StringIO()
            csv.writer(text, lineterminator="\n").writerows(rows)
            output.writestr(self._entry(record, pattern), text.getvalue(), compresslevel=9)
        self._zip.close()
        os.replace(temporary, self.path)

    def _entry(self, name: str, pattern: zipfile.ZipInfo) -> zipfile.ZipInfo:
        """The entry that is there, or one like the record's: the same time, compression and permissions."""
        old = self._zip.NameToInfo.get(name, pattern)
        entry = zipfile.ZipInfo(name, old.date_time)
        entry.compress_type = self._zip.getinfo(next(iter(self.compiled()))).compress_type
        entry.external_attr = old.external_attr
        return entry


def _digest(data: bytes) -> str:
    """As a wheel's record writes it."""
    return base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
