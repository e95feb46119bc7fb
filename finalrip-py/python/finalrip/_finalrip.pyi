from collections.abc import Callable, Sequence
from os import PathLike
from typing import Any, final

__all__ = ["CancelToken", "Source", "encode", "encoders", "libav_version", "parse_command", "rip", "version"]

@final
class CancelToken:
    """Stops an encode or a rip from any thread. It cannot be taken back."""
    def __new__(cls, /) -> CancelToken: ...
    def cancel(self, /) -> None:
        """Asks the work to stop; it raises `finalrip.Cancelled` within a second."""
    @property
    def cancelled(self, /) -> bool:
        """Whether `cancel` was called."""

@final
class Source:
    """A live node, and what is needed to ask it for frames."""
    def __new__(cls, /, node: Any, core: Any, environment: Any = None) -> Source: ...

def encode(
    source: Source,
    command: str,
    output: str | PathLike[str],
    settings: str,
    cancel: CancelToken,
    listen: Callable[[str], object] | None = None,
) -> str: ...
def rip(
    source: Source,
    script: str,
    arguments: Sequence[tuple[str, str]],
    command: str,
    output: str | PathLike[str],
    settings: str,
    cancel: CancelToken,
    listen: Callable[[str], object] | None = None,
) -> str: ...
def parse_command(text: str) -> str: ...
def encoders() -> list[str]: ...
def libav_version() -> str: ...
def version() -> str: ...
