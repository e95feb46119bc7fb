"""The other side of `finalrip._process`: what the encoder process does."""

from __future__ import annotations

import faulthandler
import json
import os
import signal
import sys
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from . import _finalrip
from ._errors import to_wire
from ._finalrip import CancelToken, Source
from ._live import source_of
from ._range import within
from ._script import Script, evaluate

if TYPE_CHECKING:
    from ._environments import Evaluations


class _Caller:
    """Who started this process: told what happens, and heard when it wants no more."""

    def __init__(self, answers: int, cancel: CancelToken) -> None:
        self._answers = os.fdopen(answers, "w", encoding="utf-8")
        self._cancel = cancel
        self._answered = threading.Semaphore(0)
        self._evaluating = True
        # Scripts may read standard input; what the caller says is not for them.
        commands = os.fdopen(os.dup(0), "r", encoding="utf-8")
        nothing = os.open(os.devnull, os.O_RDONLY)
        os.dup2(nothing, 0)
        os.close(nothing)
        threading.Thread(target=self._hear, args=(commands,), daemon=True).start()

    def _hear(self, commands: Any) -> None:
        for line in commands:
            if line.strip() == "cancel":
                self._cancel.cancel()
            else:
                self._answered.release()
        # The caller has gone, or stops this process. A script that is being evaluated cannot be asked to stop.
        if self._evaluating:
            _end()
        self._cancel.cancel()
        self._answered.release()

    def started(self) -> None:
        """Say that the script is evaluated."""
        self._evaluating = False
        self.tell({"started": True})
        self._answered.acquire()

    def event(self, text: str) -> None:
        """Tell an event, and wait until the caller has taken it."""
        self.tell({"event": text})
        self._answered.acquire()

    def log(self, level: str, line: str) -> None:
        """Hand a line of the log over; nobody answers it."""
        self.tell({"log": [level, line]})

    def tell(self, message: dict[str, Any]) -> None:
        try:
            print(json.dumps(message), file=self._answers, flush=True)
        except BrokenPipeError:
            self._cancel.cancel()


def main(job: dict[str, Any]) -> None:
    """Do the job, and end the process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    faulthandler.enable(job["crashes"])
    cancel = CancelToken()
    caller = _Caller(job["answers"], cancel)
    try:
        message: dict[str, Any] = {"report": _work(job, cancel, caller)}
    except BaseException as error:
        message = {"error": to_wire(error)}
    for stream in (sys.stdout, sys.stderr):
        # What the script printed may have nowhere to go, and scripts replace these.
        with suppress(Exception):
            stream.flush()
    caller.tell(message)
    _end()


def _end() -> None:
    """End this process at once, a filter that is stuck could keep Python from it, and what the script has started."""
    os.killpg(0, signal.SIGKILL)


def _work(job: dict[str, Any], cancel: CancelToken, caller: _Caller) -> str:
    script = Script(**job["script"])
    settings = job["settings"]
    again = _evaluations(script) if settings.get("per_worker") else None
    node, live = again.first() if again is not None else _evaluated(script)
    stretch = within(settings["range"], node.num_frames)
    caller.started()
    text = json.dumps({**settings, "range": stretch})
    if job["work"] == "encode":
        encode = (live, job["command"], job["output"], text, cancel, caller.log, caller.event)
        return _finalrip.encode(*encode, inputs=script.inputs, descriptor=job["descriptor"])
    arguments = [*script.args.items(), ("output", str(script.output_index))]
    rip = (live, script.text, arguments, job["command"], job["output"], text, cancel, caller.log)
    if job["work"] == "plan":
        return _finalrip.plan(*rip)
    return _finalrip.rip(*rip, caller.event, again, inputs=script.inputs)


def _evaluated(script: Script) -> tuple[Any, Source]:
    node, alpha = evaluate(script)
    return node, source_of(node, alpha)


def _evaluations(script: Script) -> Evaluations:
    # Only where it is needed: it loads VapourSynth, before the script could see to its plugins.
    from ._environments import Evaluations

    return Evaluations(script)
