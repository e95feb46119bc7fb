"""The encode command."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, Self

from . import _finalrip
from ._record import Record


@dataclass(frozen=True, kw_only=True)
class EncodeCommand(Record):
    """An encode command, read and checked: which encoder, its options, and what happens before and after it.

    Two dialects are understood: ffmpeg's, and the encoders' own (`x264`, `x265`, `SvtAv1EncApp`, `rav1e`). The text is
    split as a shell would split it and never given to one.

    >>> command = EncodeCommand.parse("ffmpeg -i - -c:v libx265 -crf 16 -preset slow out.mkv")
    >>> command.encoder, command.options["crf"], command.output
    ('libx265', '16', 'out.mkv')
    >>> EncodeCommand.parse("-c:v libx265 -presett slow")
    Traceback (most recent call last):
        ...
    finalrip.CommandError: the encode command is not valid: unknown option -presett; did you mean -preset?
    """

    text: str
    """The command as it was given."""
    encoder: str | None
    """libav's name for the encoder, `rav1e`, or None when the command leaves it to the container."""
    options: Mapping[str, str] = field(hash=False)
    """The encoder's options by libav's names."""
    filters: str | None = None
    """The filter graph between clip and encoder (`-vf`)."""
    pixel_format: str | None = None
    """The pixel format to encode (`-pix_fmt`)."""
    bit_depth: int | None = None
    """The bit depth to encode, whatever the chroma format (`--output-depth`)."""
    input_rate: Fraction | None = None
    """The rate at which the clip's frames are taken."""
    frame_rate: Fraction | None = None
    """The rate to which frames are repeated or dropped."""
    size: tuple[int, int] | None = None
    """Width and height to scale to."""
    aspect: Fraction | None = None
    """The display aspect ratio to declare."""
    frame_limit: int | None = None
    """The most frames to encode."""
    format: str | None = None
    """The container format (`-f`)."""
    output: str | None = None
    """The file that the command names. It is not written to: the caller says where the output goes."""

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a command line; raise `CommandError`, which names the option and, where close, the right spelling.

        What an encoder checks itself, such as the keys inside `-x265-params`, it refuses when it is opened.
        """
        wire: dict[str, Any] = json.loads(_finalrip.parse_command(text))
        encoder = wire.pop("encoder")
        wire["encoder"] = encoder["libav"] if isinstance(encoder, dict) else {"rav1e": "rav1e"}.get(encoder)
        wire["options"] = wire.pop("encoder_options")
        wire["text"] = text
        output = wire.pop("output")
        command = cls.from_wire(wire)
        object.__setattr__(command, "output", output)
        return command

    def __str__(self) -> str:
        return self.text


def checked(command: str | EncodeCommand) -> str:
    """The text of a command, once it is known to mean something."""
    if isinstance(command, EncodeCommand):
        return command.text
    if not isinstance(command, str):
        raise TypeError(f"command must be a str or an EncodeCommand, not {type(command).__name__}")
    _finalrip.parse_command(command)
    return command
