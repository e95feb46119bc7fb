"""VapourSynth's module, loaded when something of it is looked up: by whoever resolves annotations, for example."""

from __future__ import annotations

from typing import Any


class _Module:
    def __getattr__(self, name: str) -> Any:
        import vapoursynth

        return getattr(vapoursynth, name)


vs: Any = _Module()
