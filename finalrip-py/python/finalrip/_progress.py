"""Progress: a bar, a function of the caller's, or nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from ._errors import SetupError
from ._events import Planned, Progress, RipProgress
from ._record import Record

type Listener[T] = bool | Callable[[T], object] | None


@contextmanager
def listener[T: Record](progress: Listener[T]) -> Iterator[Callable[[T], object] | None]:
    """What is to be told how far the work is, while the block runs."""
    if progress is None or progress is False:
        yield None
    elif progress is True:
        with _Bar() as bar:
            yield bar.show
    elif callable(progress):
        yield progress
    else:
        raise TypeError(f"progress must be a bool or a callable, not {type(progress).__name__}")


class _Bar:
    """tqdm's bar, which knows terminals and notebooks. It appears with the first progress."""

    def __init__(self) -> None:
        try:
            from tqdm.auto import tqdm
        except ImportError as error:
            fix = "pip install 'finalrip[progress]'"
            raise SetupError(f"progress=True shows a bar of tqdm, which is not installed; to fix it: {fix}") from error
        self._tqdm: Any = tqdm
        self._bar: Any = None
        self._unit = ""

    def __enter__(self) -> _Bar:
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.close()

    def show(self, told: Record) -> None:
        if isinstance(told, Planned):
            self._open(sum(len(chunk.range) for chunk in told.chunks), "frames")
        elif isinstance(told, (Progress, RipProgress)):
            bar = self._open(told.frames_total, "frames")
            bar.set_postfix_str(f"{told.bytes / 1e6:.1f} MB", refresh=False)
            bar.update(told.frames - bar.n)
        else:
            self._count(told.to_dict())

    def _count(self, told: dict[str, Any]) -> None:
        """Of a server: bytes of a transfer, or frames of a task."""
        for unit in ("bytes", "frames"):
            done, total = told.get(unit), told.get(f"{unit}_total")
            if done is not None and total:
                bar = self._open(total, unit)
                bar.update(done - bar.n)
                return

    def _open(self, total: int, unit: str) -> Any:
        """The bar for that unit; where another one was shown, that is finished."""
        if self._unit != unit:
            self.__exit__()
            scaled = unit == "bytes"
            options = {"unit": "B" if scaled else f" {unit}", "unit_scale": scaled, "dynamic_ncols": True}
            self._bar, self._unit = self._tqdm(total=total, **options), unit
        return self._bar
