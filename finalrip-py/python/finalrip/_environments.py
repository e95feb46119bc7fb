"""A script evaluated more than once: an environment of VapourSynth's for each time. For the process that is started for it."""

from __future__ import annotations

import threading
from typing import Any

import vapoursynth as vs

from ._finalrip import Source
from ._live import source_of
from ._script import Script, evaluate


class Policy(vs.EnvironmentPolicy):  # type: ignore[misc, unused-ignore]
    """An environment for each thread that says so."""

    def __init__(self) -> None:
        self._thread = threading.local()
        self.api: Any = None

    def on_policy_registered(self, api: Any) -> None:
        """Keep what makes environments."""
        self.api = api

    def get_current_environment(self) -> Any:
        """The thread's environment."""
        return getattr(self._thread, "environment", None)

    def set_environment(self, environment: Any) -> Any:
        """Give the thread another one; return the one it had."""
        before, self._thread.environment = self.get_current_environment(), environment
        return before


class Evaluations:
    """Evaluates a script in a new environment each time. Nothing of VapourSynth's may have been used before."""

    def __init__(self, script: Script) -> None:
        self._script = script
        self._alone = threading.Lock()
        self._policy = Policy()
        # An environment lives as long as somebody has what it was made with.
        self._environments: list[Any] = []
        vs.register_policy(self._policy)

    def first(self) -> tuple[vs.VideoNode, Source]:
        """The script's output, and the source that it is."""
        # Evaluation changes the working folder and `sys.path`.
        with self._alone:
            environment = self._policy.api.create_environment()
            self._environments.append(environment)
            with self._policy.api.wrap_environment(environment).use():
                node, alpha = evaluate(self._script)
                return node, source_of(node, alpha)

    def __call__(self) -> Source:
        """Another source of the same frames."""
        return self.first()[1]
