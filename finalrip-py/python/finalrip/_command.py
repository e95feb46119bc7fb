"""The encode command."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, Literal, Self

from . import _finalrip
from ._errors import CommandError
from ._record import Options, Record
from ._settings import refuse

type FrameTiming = Literal["constant", "variable", "passthrough"]

# What may stand for the value of an encoder's option.
type OptionValue = str | int | float

# ffmpeg's words for the ways in which frames become timestamps.
_TIMINGS = {"constant": "cfr", "variable": "vfr", "passthrough": "passthrough"}

# The parts that are names with values.
_MAPPINGS = ("options", "metadata", "stream_metadata", "muxer_options", "scaler_options")

# The parts whose option takes one value, in ffmpeg's syntax.
_SINGLE = {
    "filters": "-vf",
    "pixel_format": "-pix_fmt",
    "frame_rate": "-r",
    "aspect": "-aspect",
    "frame_limit": "-frames:v",
    "tag": "-tag:v",
    "bitstream_filters": "-bsf:v",
    "format": "-f",
}


@dataclass(frozen=True, kw_only=True, init=False)
class EncodeCommand(Record):
    """An encode command, read and checked: which encoder, its options, and what happens before and after it.

    Two dialects are understood: ffmpeg's, and the encoders' own (`x264`, `x265`, `SvtAv1EncApp`, `rav1e`,
    `aomenc`, `vpxenc`). The text is split as a shell would split it and never given to one.

    >>> command = EncodeCommand.parse("ffmpeg -i - -c:v libx265 -crf 16 -preset slow out.mkv")
    >>> command.encoder, command.options["crf"], command.output
    ('libx265', '16', 'out.mkv')
    >>> EncodeCommand.parse("-c:v libx265 -presett slow")
    Traceback (most recent call last):
        ...
    finalrip.CommandError: the encode command is not valid: unknown option -presett; did you mean -preset?

    A command can be made of its parts too, and `dataclasses.replace` changes some of them. Both write a new text in ffmpeg's
    syntax and read it, so that a command always does what its parts say:

    >>> EncodeCommand(encoder="libx265", options={"crf": 16}, filters="hqdn3d").text
    '-c:v libx265 -crf:v 16 -vf hqdn3d'
    >>> import dataclasses
    >>> dataclasses.replace(command, options={**command.options, "crf": "18"}).text
    '-c:v libx265 -crf:v 18 -preset:v slow out.mkv'
    """

    text: str
    """The command as it was given, or as it was written from its parts."""
    encoder: str | None
    """libav's name for the encoder, `rav1e`, or None when the command leaves it to the container."""
    options: Mapping[str, str] = field(hash=False)
    """The encoder's options by libav's names."""
    filters: str | None
    """The filter graph between clip and encoder (`-vf`)."""
    pixel_format: str | None
    """The pixel format to encode (`-pix_fmt`)."""
    bit_depth: int | None
    """The bit depth to encode, whatever the chroma format (`--output-depth`)."""
    input_rate: Fraction | None
    """The rate at which the clip's frames are taken."""
    frame_rate: Fraction | None
    """The rate to which frames are repeated or dropped."""
    size: tuple[int, int] | None
    """Width and height to scale to."""
    aspect: Fraction | None
    """The display aspect ratio to declare."""
    frame_limit: int | None
    """The most frames to encode."""
    timing: FrameTiming | None
    """How frames become timestamps (`-fps_mode`)."""
    tag: str | None
    """The codec tag to write (`-tag:v`)."""
    bitstream_filters: str | None
    """The bitstream filters behind the encoder (`-bsf:v`)."""
    metadata: Mapping[str, str] = field(hash=False)
    """The container's metadata (`-metadata`)."""
    stream_metadata: Mapping[str, str] = field(hash=False)
    """The video stream's metadata (`-metadata:s:v`)."""
    scaler_options: Mapping[str, str] = field(hash=False)
    """The options of the scaler (`-sws_flags` and the like)."""
    muxer_options: Mapping[str, str] = field(hash=False)
    """The container's options."""
    format: str | None
    """The container format (`-f`)."""
    output: str | None
    """The file that the command names. It is not written to: the caller says where the output goes."""

    # The text that the parts were read from: what tells `dataclasses.replace` which of them are new.
    _read: str = field(repr=False, compare=False)

    def __init__(
        self,
        *,
        text: str | None = None,
        encoder: str | None = None,
        options: Mapping[str, OptionValue] | None = None,
        filters: str | None = None,
        pixel_format: str | None = None,
        bit_depth: int | None = None,
        input_rate: Fraction | float | str | None = None,
        frame_rate: Fraction | float | str | None = None,
        size: tuple[int, int] | None = None,
        aspect: Fraction | float | str | None = None,
        frame_limit: int | None = None,
        timing: FrameTiming | None = None,
        tag: str | None = None,
        bitstream_filters: str | None = None,
        metadata: Mapping[str, str] | None = None,
        stream_metadata: Mapping[str, str] | None = None,
        scaler_options: Mapping[str, OptionValue] | None = None,
        muxer_options: Mapping[str, OptionValue] | None = None,
        format: str | None = None,
        output: str | None = None,
        _read: str | None = None,
    ) -> None:
        """A command from its text, or from its parts; raise `CommandError` where it would not mean just that."""
        given = {name: value for name, value in locals().items() if name not in ("self", "text", "_read", "__class__")}
        wanted = {name: _normal(name, value) for name, value in given.items()}
        before = {} if _read is None else _read_parts(_read)
        changed = {name: value for name, value in wanted.items() if value != before.get(name, _nothing(name))}
        said = text
        if text is not None and text != _read:
            if _read is not None and changed:
                name = next(iter(changed))
                raise refuse(name, changed[name], "the text is replaced as well, and says it already; replace one of them")
        elif _read is None or changed:
            text = shlex.join(_words(wanted))
            _compare(wanted, text, before)
        assert text is not None
        parts = _read_parts(text)
        for name in changed if _read is None else ():
            if said is not None and parts[name] != wanted[name]:
                raise refuse(name, wanted[name], f"the text {text!r} says {parts[name]}; give the text or the parts")
        for name in wanted:
            object.__setattr__(self, name, parts[name])
        object.__setattr__(self, "text", text)
        object.__setattr__(self, "_read", text)

    @classmethod
    def parse(cls, command: str | Sequence[str]) -> Self:
        """Read a command line, or its words; raise `CommandError`, which names the option and, where close, the right spelling.

        Words are taken as they are, as `subprocess` takes them: nothing in them has to be quoted. What an encoder checks
        itself, such as the keys inside `-x265-params`, it refuses when it is opened.
        """
        return cls(text=command_text(command))

    def __str__(self) -> str:
        return self.text


type Command = str | Sequence[str] | EncodeCommand
"""What may stand for an encode command: a command line, its words, or one that was read."""


def checked(command: Command) -> str:
    """The text of a command, once it is known to mean something."""
    if isinstance(command, EncodeCommand):
        return command.text
    text = command_text(command)
    _finalrip.parse_command(text)
    return text


def command_text(command: object) -> str:
    """The text of a command, whatever it means."""
    if isinstance(command, EncodeCommand):
        return command.text
    if isinstance(command, str):
        return command
    if isinstance(command, Sequence) and all(isinstance(word, str) for word in command):
        return shlex.join(command)
    raise TypeError(f"command must be a str, words, or an EncodeCommand, not {type(command).__name__}")


def _read_parts(text: str) -> dict[str, Any]:
    """The meaning of a text: the parts by their names here, and what has no name here by the library's."""
    wire: dict[str, Any] = json.loads(_finalrip.parse_command(text))
    encoder = wire.pop("encoder")
    wire["encoder"] = encoder["libav"] if isinstance(encoder, dict) else {"rav1e": "rav1e"}.get(encoder)
    wire["options"] = wire.pop("encoder_options")
    for name in _MAPPINGS:
        wire[name] = Options(wire[name])
    for name in ("input_rate", "frame_rate", "aspect"):
        if wire[name] is not None:
            wire[name] = Fraction(wire[name]["num"], wire[name]["den"])
    if wire["size"] is not None:
        wire["size"] = tuple(wire["size"])
    return wire


def _nothing(name: str) -> Any:
    return Options(()) if name in _MAPPINGS else None


def _normal(name: str, value: Any) -> Any:
    """A part as the library would say it."""
    if value is None:
        return _nothing(name)
    try:
        if name in _MAPPINGS:
            bare = name != "metadata" and name != "stream_metadata"
            return Options((_option(key) if bare else key, _value(value)) for key, value in dict(value).items())
        if name in ("input_rate", "frame_rate", "aspect"):
            return Fraction(value.replace(":", "/")) if isinstance(value, str) else Fraction(value).limit_denominator(1 << 20)
        if name == "size":
            width, height = value
            return int(width), int(height)
        return int(value) if name in ("bit_depth", "frame_limit") else str(value)
    except (TypeError, ValueError, ZeroDivisionError, AttributeError):
        raise refuse(name, value, "it is not what this part of a command can be") from None


def _option(name: str) -> str:
    """An option's bare name: `-crf` and `crf:v` are `crf`."""
    return name.removeprefix("-").removesuffix(":v")


def _value(value: OptionValue) -> str:
    return str(int(value)) if isinstance(value, bool) else str(value)


def _words(parts: Mapping[str, Any]) -> Iterator[str]:
    """The words of a command that has these parts, in ffmpeg's syntax."""
    if parts["input_rate"] is not None:
        yield from ("-r", str(parts["input_rate"]), "-i", "-")
    if parts["encoder"] is not None:
        yield from ("-c:v", parts["encoder"])
    for name, value in parts["options"].items():
        yield from (f"-{name}:v", value)
    if parts["size"] is not None:
        yield from ("-s", "{}x{}".format(*parts["size"]))
    for name, option in _SINGLE.items():
        if parts[name] is not None:
            yield from (option, str(parts[name]))
    if parts["timing"] is not None:
        yield from ("-fps_mode", _TIMINGS.get(parts["timing"], parts["timing"]))
    for name, option in (("metadata", "-metadata"), ("stream_metadata", "-metadata:s:v")):
        for key, value in parts[name].items():
            yield from (option, f"{key}={value}")
    for name in ("scaler_options", "muxer_options"):
        for key, value in parts[name].items():
            yield from (f"-{key}", value)
    if parts["output"] is not None:
        yield parts["output"]


def _compare(wanted: Mapping[str, Any], text: str, before: Mapping[str, Any]) -> None:
    """Whether a text means just what it is to mean, what was read before and is to stay included."""
    found = _read_parts(text)
    others = {name: value for name, value in before.items() if name not in wanted}
    for name, value in {**wanted, **others}.items():
        # A name may be another one's: `x264` is libav's `libx264`.
        if value == found.get(name) or (name == "encoder" and value is not None and found[name] is not None):
            continue
        if name in others:
            reason = f"its {name} cannot be written anew from parts; change its text"
        elif name == "bit_depth":
            reason = "bit_depth is said in an encoder's own syntax only, as in `x265 --output-depth 10`; give a pixel_format here"
        elif isinstance(value, Mapping):
            odd = next((key for key in [*value, *found[name]] if value.get(key) != found[name].get(key)), "")
            reason = f"{name} cannot have {odd}={value.get(odd)}: the command {text!r} has {found[name].get(odd)!r} for it"
        else:
            reason = f"{name} cannot be {value}: the command {text!r} has {found.get(name)!r} for it"
        raise CommandError(f"the encode command is not valid: {reason}")
