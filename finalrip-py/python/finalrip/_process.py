"""The encoder process: a Python of its own, in which a script is evaluated and its frames are encoded.

VapourSynth has one core in a Python that does not ask for more, and its outputs are common to all scripts. So a script is
given a fresh interpreter, and the caller's session is not touched. A plugin that crashes takes that process along and not the
caller's. Frames never cross; what happens comes back as JSON lines over a pipe, and each is answered, so that nothing goes
on behind the caller's back.
"""

from __future__ import annotations

import itertools
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import IO, Any, Literal

from ._errors import Cancelled, ProcessError, SetupError, as_cancelled, from_wire, make
from ._finalrip import CancelToken
from ._log import Log
from ._script import Script, follow_python, refuse_output

_BOOTSTRAP = (
    "import json, sys; job = json.loads(sys.stdin.readline()); sys.path[:] = job['path'];"
    "from finalrip._worker import main; main(job)"
)

# How the file names of this package's own code begin, as faulthandler writes them.
_OURS = f'"{os.path.dirname(__file__)}{os.sep}_'

# How often the token is looked at.
_POLL = 0.05

# How long a process may take to stop by itself; the library needs 650 ms where a filter is stuck.
_PATIENCE = 2.0


def run(told: Generator[str, None, str], listen: Callable[[str], object] | None) -> str:
    """Listen to `events` until they end; return the report as JSON."""
    while True:
        try:
            event = next(told)
        except StopIteration as end:
            return str(end.value)
        try:
            if listen is not None:
                listen(event)
        except BaseException as error:
            told.close()
            raise as_cancelled(error)


@dataclass(frozen=True)
class Job:
    """What a process is to do."""

    work: Literal["encode", "rip", "plan"]
    script: Script
    command: str
    output: str
    settings: dict[str, Any]
    """For the compiled half; `range` is still what the caller said."""
    quiet: bool
    """Whether what it writes to standard output and standard error is for the log alone."""
    descriptor: int | None = None
    """The open file to write to, if it is not a path; `output` is a name for it then."""

    def to_wire(self) -> dict[str, Any]:
        return {
            "path": follow_python(),
            "work": self.work,
            "script": self.script.to_wire(),
            "command": self.command,
            "output": self.output,
            "settings": self.settings,
            "descriptor": self.descriptor,
        }


def events(job: Job, cancel: CancelToken, log: Log) -> Generator[str, None, str]:
    """Have a process do a job. What it tells comes as JSON; the report, as JSON, is the generator's value. Closing it stops the
    process.

    The process waits until the next event is asked for.
    """
    if job.descriptor is None:
        refuse_output(job.output, job.script)
    with _started(job, log) as process:
        try:
            return (yield from process.events(cancel))
        except KeyboardInterrupt as interrupt:
            # Where the file is in place, nothing was cancelled.
            raise interrupt if process.finished else as_cancelled(interrupt)


@contextmanager
def _started(job: Job, log: Log) -> Iterator[_Process]:
    """A process that is gone when the block ends, however that comes about."""
    if not sys.executable:
        raise SetupError("a script needs a process of its own, and this program does not say which Python it is")
    ours, theirs = os.pipe()
    output = subprocess.PIPE if job.quiet else None
    # Where its Python was when it crashed.
    crashes = tempfile.TemporaryFile()
    passed = [theirs, crashes.fileno(), *([] if job.descriptor is None else [job.descriptor])]
    try:
        child = subprocess.Popen(
            [sys.executable, "-P", "-c", _BOOTSTRAP],
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=subprocess.STDOUT if job.quiet else None,
            pass_fds=passed,
            # Ctrl-C is for this process, which then tells the other one.
            process_group=0,
        )
    except BaseException:
        os.close(ours)
        crashes.close()
        raise
    finally:
        os.close(theirs)
    process = _Process(child, (ours, crashes), log)
    try:
        process.send(json.dumps({**job.to_wire(), "answers": theirs, "crashes": crashes.fileno()}))
        yield process
    finally:
        process.stop()


class _Process:
    def __init__(self, child: subprocess.Popen[bytes], files: tuple[int, IO[bytes]], log: Log) -> None:
        self._child = child
        self._answers, self._crashes = files
        self._log = log
        self._ready = select.poll()
        self._ready.register(self._answers, select.POLLIN)
        # What it prints, where that is for the log.
        self._printed = _Printed(child.stdout.fileno(), log) if child.stdout is not None else None
        if self._printed is not None:
            self._ready.register(self._printed.pipe, select.POLLIN)
        self._rest = b""
        # While it evaluates the script, nothing is lost when it is killed.
        self._works = False
        # Whether somebody else has taken its exit code: then its number may be another process's.
        self._taken = False
        self.finished = False

    def events(self, cancel: CancelToken) -> Generator[str, None, str]:
        """Serve the process until it has a report, or an error, which is raised."""
        deadline: float | None = None
        interrupt: KeyboardInterrupt | None = None
        while True:
            if (cancel.cancelled or interrupt is not None) and deadline is None:
                deadline = time.monotonic() + _PATIENCE
                self.send("cancel")
            if deadline is not None and (not self._works or time.monotonic() > deadline):
                raise Cancelled("the encode was cancelled") from interrupt
            try:
                line = self._line()
            except KeyboardInterrupt as pressed:
                # It may be about to finish, which is for it to say.
                interrupt = pressed
                continue
            if line is None:
                continue
            if not line:
                raise self._death()
            try:
                message = json.loads(line)
            except ValueError:
                # Ctrl-C came between two lines' parts.
                raise interrupt or ProcessError(f"the process that evaluates the script said {line[:80]!r}") from None
            if "report" in message:
                self.finished = True
                if interrupt is not None:
                    raise interrupt
                return str(message["report"])
            if "error" in message:
                raise from_wire(message["error"])
            if "log" in message:
                self._log.take(*message["log"])
                continue
            self._works = True
            if "event" in message:
                yield message["event"]
            self.send("ok")

    def send(self, line: str) -> None:
        assert self._child.stdin is not None
        try:
            self._child.stdin.write(line.encode() + b"\n")
            self._child.stdin.flush()
        except BrokenPipeError:
            # It has died; reading says how.
            pass

    def _line(self) -> bytes | None:
        """The next line; nothing at the end; None when none has come for a moment."""
        while b"\n" not in self._rest:
            # Asked first: what it said before it ended can be read by now.
            ended = self._exit_code() is not None
            ready = {pipe for pipe, _ in self._ready.poll(0 if ended else _POLL * 1000)}
            if self._printed is not None and self._printed.pipe in ready and not self._printed.read():
                self._ready.unregister(self._printed.pipe)
                self._printed = None
            if self._answers not in ready:
                # A program that the script has forked may hold its pipe open.
                return b"" if ended else None
            part = os.read(self._answers, 1 << 16)
            if not part:
                return b""
            self._rest += part
        line, _, self._rest = self._rest.partition(b"\n")
        return line + b"\n"

    def _death(self) -> Exception:
        code = self._wait(_PATIENCE)
        if code is None:
            how = "closed the pipe to its caller"
        elif code < 0:
            name = next((known.name for known in signal.Signals if known == -code), "a real-time signal")
            how = f"ended with signal {-code} ({name})"
        else:
            how = f"ended with exit code {code}"
        words = "its own words are on standard error"
        if self._child.stdout is not None:
            if self._printed is not None:
                self._printed.finish()
            words = f"its last words were: {' / '.join(self._log.lines[-5:]) or 'none'}"
        text = f"the process that evaluates the script {how}; {words}"
        where = self._where()
        if where:
            text = f"{text}; Python was at:\n{where}"
        error = make("ProcessError", text, {"exit_code": code, "traceback": where})
        assert isinstance(error, ProcessError)
        return error

    def _where(self) -> str:
        """Where the script was on the thread that crashed, the latest call first; nothing where it was in no Python."""
        self._crashes.seek(0)
        text = self._crashes.read().decode(errors="replace")
        calls = text.partition("Current thread ")[2].splitlines()[1:]
        calls = list(itertools.takewhile(lambda line: line.strip().startswith("File "), calls))
        # What stands below is ours.
        return "\n".join(itertools.takewhile(lambda line: _OURS not in line, calls))

    def _exit_code(self) -> int | None:
        """As `Popen.poll`, but the process stays to be waited for: until then no other group gets its number."""
        try:
            ended = os.waitid(os.P_PID, self._child.pid, os.WEXITED | os.WNOWAIT | os.WNOHANG)
        except ChildProcessError:
            self._taken = True
            return 0
        if ended is None:
            return None
        return ended.si_status if ended.si_code == os.CLD_EXITED else -ended.si_status

    def _wait(self, seconds: float) -> int | None:
        """Its exit code, if it ends in that time."""
        end = time.monotonic() + seconds
        while (code := self._exit_code()) is None and time.monotonic() < end:
            time.sleep(0.005)
        return code

    def stop(self) -> None:
        """End it, and what the script has started. Whatever else happens, its input ends, which stops it as `cancel` does."""
        assert self._child.stdin is not None
        try:
            with suppress(BrokenPipeError):
                self._child.stdin.close()
            self._wait(_PATIENCE if self._works else 0)
        finally:
            if not self._taken:
                # Its group is its own, and is left at the latest when a second Ctrl-C comes.
                os.killpg(self._child.pid, signal.SIGKILL)
            self._child.wait()
            os.close(self._answers)
            self._crashes.close()
            if self._printed is not None:
                self._printed.finish()
            if self._child.stdout is not None:
                self._child.stdout.close()


class _Printed:
    """What a process prints, line by line into the log."""

    def __init__(self, pipe: int, log: Log) -> None:
        self.pipe = pipe
        self._log = log
        self._rest = b""
        os.set_blocking(pipe, False)

    def read(self) -> bool:
        """Take what there is; False at the end."""
        try:
            part = os.read(self.pipe, 1 << 16)
        except BlockingIOError:
            return True
        *lines, self._rest = (self._rest + part).split(b"\n")
        if not part or len(self._rest) > 1 << 16:
            lines, self._rest = [*lines, self._rest], b""
        for line in lines:
            # Of a bar that is drawn over and over, the last picture.
            text = line.decode("utf-8", "replace").rstrip("\r").rpartition("\r")[2].rstrip()
            if text:
                self._log.take("printed", text)
        return bool(part)

    def finish(self) -> None:
        """Take what the process has left."""
        # A program that has left its group may hold the pipe, and write for ever.
        for _ in range(64):
            try:
                ready = select.select([self.pipe], [], [], 0)[0]
            except ValueError:
                return
            if not ready or not self.read():
                return
