"""What the library and the encoders log, on its way to `logging` and into the report."""

from __future__ import annotations

import logging
from collections import deque

LOGGER = logging.getLogger("finalrip")

# Who sets up no logging sees nothing: errors are raised, and the rest is in the report.
LOGGER.addHandler(logging.NullHandler())

# As many lines as a report keeps: the last ones, where there are more.
KEPT = 1000

_LEVELS = {"error": logging.ERROR, "warning": logging.WARNING, "info": logging.INFO}


class Log:
    """The lines of one encode or rip."""

    def __init__(self) -> None:
        self._kept: deque[str] = deque(maxlen=KEPT)

    def take(self, level: str, line: str) -> None:
        """Keep a line, and hand it to the logger `finalrip`."""
        self._kept.append(line)
        LOGGER.log(_LEVELS.get(level, logging.DEBUG), "%s", line)

    @property
    def lines(self) -> tuple[str, ...]:
        """The lines so far, oldest first."""
        return tuple(self._kept)
