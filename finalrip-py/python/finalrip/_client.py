"""A client of finalrip-server, over the standard library's HTTP."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from io import FileIO
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Literal, Self
from urllib.parse import SplitResult, quote, urlencode, urlsplit

from ._command import Command, command_text
from ._errors import Cancelled, Error, ServerError, SettingError, SourceError, make
from ._finalrip import CancelToken
from ._progress import Listener, listener
from ._record import Record
from ._script import as_script
from ._settings import choice, flag, whole

if TYPE_CHECKING:
    import http.client

# What is read, sent and told of at a time.
_BLOCK = 1 << 20

# What is compared at each end of two videos.
_SAMPLE = 1 << 16

# The API's routes lie here, below the server's address.
_API = "/api/v1/task"


@dataclass(frozen=True, kw_only=True)
class Transfer(Record):
    """How far an upload or a download has come, in bytes."""

    bytes: int
    bytes_total: int


@dataclass(frozen=True, kw_only=True)
class ClipStatus(Record):
    """How far one clip of a task has come. A clip is the server's word for a chunk."""

    index: int
    status: str
    frames: int | None = None
    frames_total: int | None = None
    fps: float | None = None
    attempts: int | None = None
    error: str | None = None


@dataclass(frozen=True, kw_only=True)
class TaskStatus(Record):
    """How far a task has come."""

    key: str
    status: str
    """`pending`, `running`, `completed` or `failed`."""
    error: str | None = None
    """Why it failed."""
    url: str = ""
    """Where its source is, for a while."""
    frames: int | None = None
    frames_total: int | None = None
    """None until the server knows how many there are."""
    eta_seconds: float | None = None
    size: str = ""
    encode_size: str = ""
    encode_url: str = ""
    """Where the result is, for a while, once there is one."""
    create_at: int = 0
    """When the task was made, in Unix seconds."""
    script: str = field(default="", repr=False)
    """The script that it was started with."""
    encode_param: str = ""
    """The encode command that it was started with."""
    clips: tuple[ClipStatus, ...] = ()

    @classmethod
    def from_wire(cls, wire: dict[str, Any]) -> Self:
        clips = tuple(ClipStatus.from_wire(clip) for clip in wire.get("progress") or ())
        status = super().from_wire(wire)
        object.__setattr__(status, "clips", clips)
        return status


@dataclass(frozen=True, kw_only=True)
class Problem(Record):
    """Something that a server would refuse a task for."""

    field: str
    """Where it is: `script`, `encode_param` or `video_key`."""
    message: str
    """What is wrong, and what to do."""
    line: int | None = None
    """The script's line, where it is known."""

    def __str__(self) -> str:
        where = {"script": "script", "encode_param": "encode command", "video_key": "key"}.get(self.field, self.field)
        return f"{where}{'' if self.line is None else f', line {self.line}'}: {self.message}"


class Client:
    """A finalrip-server, as a place to have scripts encoded.

    `url` is the server's address, such as `http://127.0.0.1:8848`, and `token` what it asks for. `timeout` is how long it may
    take to answer, in seconds. A client holds no connection: several threads may use one.
    """

    def __init__(self, url: str, token: str, *, timeout: float = 60.0) -> None:
        try:
            parts = urlsplit(url)
            good = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
        except ValueError:
            good = False
        if not good:
            raise SettingError(f"url cannot be {url!r}: it is an address such as http://127.0.0.1:8848")
        self._base = url.rstrip("/").removesuffix(_API)
        self._token = token
        self._timeout = timeout

    def __repr__(self) -> str:
        return f"Client({self._base!r})"

    def ping(self) -> None:
        """Return if the server is there and takes the token."""
        self._call("GET", "/")

    def submit(
        self,
        path: str | os.PathLike[str],
        script: str | os.PathLike[str],
        command: Command,
        *,
        output: str | os.PathLike[str] | None = None,
        key: str | None = None,
        progress: Listener[Transfer | TaskStatus] = None,
        cancel: CancelToken | None = None,
        slice: bool = True,
        timeout: int | None = None,
        queue: Literal["default", "priority"] = "default",
    ) -> Path:
        """Upload a video, have it encoded, and download the result; return where it is.

        `output` is `NAME-Encoded.mkv` beside the video unless it is named. `key` is the video's name on the server; default:
        the file's own. `slice`, `timeout` and `queue` are those of `start`.

        Script and command are checked by the server before anything is sent. A video that is there already is not sent again,
        if size, beginning and end are the same; another video under that name is an error. Of a task that is there already, what
        has the same script and command is taken up: a running one is waited for, a failed one goes on, a finished one is
        downloaded. For another script or command a task that does not run is started anew, and its old result is deleted. So
        after Ctrl-C, a lost connection, or a refusal the same call goes on.
        """
        path = Path(path)
        key = key or path.name
        target = Path(output) if output is not None else path.with_name(f"{path.stem}-Encoded.mkv")
        # Of one line, it would be taken for a path.
        text, param = _as_text(as_script(script, None, None, 0).text), command_text(command)
        given = {"progress": progress, "cancel": cancel}
        _readable(path)
        knows_checks = self._refuse_problems(text, param, key)
        before = self._find(key)
        if before is not None and before.status == "running":
            if not _is_same(before, text, param):
                raise ServerError(f"the task {key} is running with another script or command: wait for it, cancel it, or use another key")
        elif not (before is not None and self._takes_up(before, path, text, param)):
            self._provide(key, path, before, knows_checks, given)
            self.start(key, text, param, slice=slice, timeout=timeout, queue=queue)
        self.wait(key, **given)  # type: ignore[arg-type]
        return self.download(key, target, **given)  # type: ignore[arg-type]

    def check(self, script: str | os.PathLike[str], command: Command, key: str | None = None) -> tuple[Problem, ...]:
        """What the server would refuse a task with this script, command and key for; nothing where all is well.

        The script is compiled and the command read, and neither is run. Raises `ServerError` with `status` 404 where the
        server is an older one, which does not check without a task.
        """
        form = {"script": as_script(script, None, None, 0).text, "encode_param": command_text(command)}
        form |= {} if key is None else {"video_key": key}
        found = self._call("POST", f"{_API}/check", form)
        return tuple(Problem.from_wire(problem) for problem in found["errors"])

    def upload(
        self,
        file: str | os.PathLike[str] | IO[bytes],
        key: str | None = None,
        *,
        progress: Listener[Transfer] = None,
        cancel: CancelToken | None = None,
    ) -> str:
        """Send a video, from a path or a file open for reading in binary; return its key.

        A file object is read from where it stands to its end. It can be larger than memory.
        """
        if key is None:
            name = file if isinstance(file, (str, os.PathLike)) else getattr(file, "name", None)
            if not isinstance(name, (str, os.PathLike)):
                raise SettingError("key cannot be left out: this file has no name")
            key = Path(name).name
        url = self._presigned(key)["url"]
        raised: BaseException | None = None
        with _opened(file) as source, listener(progress) as told:
            size = _size(source)
            try:
                with self._answer("PUT", url, _blocks(source, size, told, cancel), size) as answer:
                    answer.read()
            except _Raised as within:
                raised = within.error
        # Out here it keeps its own context.
        if raised is not None:
            raise raised
        return key

    def new(self, key: str) -> None:
        """Make a task of an uploaded video."""
        self._call("POST", f"{_API}/new", {"video_key": key})

    def start(
        self,
        key: str,
        script: str | os.PathLike[str],
        command: Command,
        *,
        slice: bool = True,
        timeout: int | None = None,
        queue: Literal["default", "priority"] = "default",
    ) -> None:
        """Start a task with a script, given as path or text, and an encode command; the server checks both.

        `timeout` is how long one clip may take, in minutes.
        """
        text = as_script(script, None, None, 0).text
        choice("queue", queue, ("default", "priority"))
        form = {"video_key": key, "script": text, "encode_param": command_text(command), "slice": flag("slice", slice), "queue": queue}
        self._call("POST", f"{_API}/start", form | ({} if timeout is None else {"timeout": whole("timeout", timeout, 1)}))

    def retry(self, key: str) -> None:
        """Take a task up again that failed or was cancelled: what is finished of it is kept."""
        status = self.status(key)
        if status.clips and all(clip.status == "completed" for clip in status.clips):
            self._call("POST", f"{_API}/retry/merge", {"video_key": key})
            return
        left = [clip.index for clip in status.clips if clip.status != "completed"]
        if not left:
            raise ServerError(f"the task {key} has no clips yet; start it")
        self._call("POST", f"{_API}/retry/encode", {"video_key": key, "index": left[0]})

    def status(self, key: str) -> TaskStatus:
        """How far a task has come."""
        return TaskStatus.from_wire(self._call("GET", f"{_API}/progress", query={"video_key": key}))

    def wait(
        self,
        key: str,
        *,
        progress: Listener[TaskStatus] = None,
        cancel: CancelToken | None = None,
        interval: float = 1.0,
    ) -> TaskStatus:
        """Wait until a task is done, and return its status; raise `ServerError` with the reason when it failed.

        `cancel` ends the waiting, and not the task.
        """
        with listener(progress) as told:
            while True:
                status = self.status(key)
                if told is not None:
                    told(status)
                if status.status == "completed":
                    return status
                if status.status == "failed":
                    raise ServerError(f"the task {key} failed: {status.error or 'the server does not say why'}")
                _sleep(interval, cancel)

    def download(
        self,
        key: str,
        output: str | os.PathLike[str],
        *,
        progress: Listener[Transfer] = None,
        cancel: CancelToken | None = None,
    ) -> Path:
        """Fetch a task's result into `output`, which appears when it is complete; return where it is."""
        url = self.status(key).encode_url
        if not url:
            raise ServerError(f"the task {key} has no result yet")
        target = Path(output).absolute()
        with self._answer("GET", url) as answer, listener(progress) as told, _partial(target) as file:
            total, done = answer.length, 0
            while block := answer.read(_BLOCK):
                _stop_if(cancel)
                _write(file, block, target)
                done += len(block)
                if told is not None:
                    told(Transfer(bytes=done, bytes_total=max(total, done)))
            if done < total:
                raise ServerError(f"the connection ended after {done} of {total} bytes")
        return target

    def tasks(self, *, completed: bool = True, pending: bool = True, running: bool = True) -> list[TaskStatus]:
        """The server's tasks, the newest first."""
        flags = {"completed": completed, "pending": pending, "running": running}
        query = {name: str(wanted).lower() for name, wanted in flags.items()}
        return [TaskStatus.from_wire(task) for task in self._call("GET", f"{_API}/list", query=query) or ()]

    def cancel(self, key: str) -> None:
        """Stop a task; what is finished of it is kept."""
        self._call("POST", f"{_API}/cancel", {"video_key": key})

    def clear(self, key: str, *, keep_source: bool = False) -> None:
        """Stop a task and delete it, its video and its result. With `keep_source` the video stays, for another task.

        An older server, which does not know `keep_source`, deletes the video as well.
        """
        form: dict[str, Any] = {"video_key": key}
        self._call("POST", f"{_API}/clear", form | ({"keep_source": True} if flag("keep_source", keep_source) else {}))

    def _refuse_problems(self, script: str, command: str, key: str) -> bool:
        """Have script and command checked; say whether the server can do that."""
        try:
            problems = self.check(script, command, key)
        except ServerError as error:
            if error.status in (404, 405):
                return False
            raise
        if problems:
            raise _refused("; ".join(map(str, problems)), 200)
        return True

    def _find(self, key: str) -> TaskStatus | None:
        """The task of that name, if there is one."""
        try:
            return self.status(key)
        except ServerError as error:
            if "Task not found" in str(error):
                return None
            raise

    def _takes_up(self, before: TaskStatus, path: Path, script: str, command: str) -> bool:
        """Go on with a task that has the same video, script and command, if it was started at all."""
        if before.status not in ("completed", "failed") or not _is_same(before, script, command) or not before.url:
            return False
        self._compare(before, path)
        if before.status == "failed":
            if not before.clips:
                return False
            self.retry(before.key)
        return True

    def _provide(
        self, key: str, path: Path, before: TaskStatus | None, knows_checks: bool, given: dict[str, Any]
    ) -> None:
        """See to it that the video is there, and a task of it that can be started."""
        if before is not None and before.url:
            self._compare(before, path)
        startable = before is not None and (before.status == "pending" or (before.status == "failed" and not before.clips))
        if before is not None and not startable and knows_checks:
            self.clear(key, keep_source=True)
        there = self._presigned(key)["exist"]
        if not there:
            self.upload(path, key, **given)
        if not startable:
            self.new(key)
            if there and before is None:
                self._compare(self.status(key), path)

    def _compare(self, task: TaskStatus, path: Path) -> None:
        """Whether the server's video of a task can be this one: it may be another that somebody sent."""
        with _opened(path) as source:
            ours, key = _size(source), task.key
            theirs, first = self._part(task.url, f"bytes=0-{_SAMPLE - 1}")
            if theirs != ours:
                text = f"the server's {key} has {theirs} bytes and {path} has {ours}: give this one another key, or clear that one"
                raise ServerError(text)
            last = self._part(task.url, f"bytes={max(ours - _SAMPLE, 0)}-")[1]
            same = first == source.read(_SAMPLE)
            source.seek(max(ours - _SAMPLE, 0))
            if not same or last != source.read(_SAMPLE):
                text = f"the server's {key} is another video than {path}, of the same size: give this one another key, or clear that one"
                raise ServerError(text)

    def _part(self, url: str, span: str) -> tuple[int, bytes]:
        """The size of an object, and some of it."""
        with self._answer("GET", url, span=span) as answer:
            return answer.total, answer.read(_SAMPLE)

    def _presigned(self, key: str) -> Any:
        return self._call("GET", f"{_API}/oss/presigned", query={"video_key": key})

    def _call(self, method: str, route: str, form: dict[str, Any] | None = None, query: dict[str, str] | None = None) -> Any:
        """One call of the API; return its data."""
        url = self._base + route + (f"?{urlencode(query, quote_via=quote)}" if query else "")
        body = None if form is None else json.dumps(form).encode()
        with self._answer(method, url, body, token=self._token) as answer:
            text = answer.read()
        try:
            said = json.loads(text)
            if said["success"]:
                return said.get("data")
            reason = said["error"]["message"]
        except (ValueError, KeyError, TypeError, AttributeError):
            raise ServerError(f"{url} does not speak the task API; it answered {text[:80]!r}") from None
        raise _refused(reason, answer.status)

    @contextmanager
    def _answer(
        self,
        method: str,
        url: str,
        body: bytes | Iterator[bytes] | None = None,
        size: int | None = None,
        token: str | None = None,
        span: str | None = None,
    ) -> Iterator[_Answer]:
        """The answer to one request, on a connection of its own. A signed link needs no token, and is given none."""
        # Most programs have no client, and it takes a while to load.
        import http.client

        try:
            parts = urlsplit(url)
            kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
            connection = kind(parts.hostname or "", parts.port, timeout=self._timeout)
        except ValueError as error:
            raise ServerError(f"the server gave a link that is none, {url!r}: {error}") from error
        headers = {} if token is None else {"token": token}
        if isinstance(body, bytes):
            headers["Content-Type"] = "application/json"
        if size is not None:
            headers["Content-Length"] = str(size)
        if span is not None:
            headers["Range"] = span
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        with closing(connection):
            with _reaching(parts):
                answer = _sent(connection, (method, target, body, headers))
            yield _Answer(answer, parts)


class _Answer:
    """A good answer, whose body is still to be read."""

    def __init__(self, answer: http.client.HTTPResponse, parts: SplitResult) -> None:
        self._answer = answer
        self._parts = parts
        self.status = answer.status
        # What is left of the body, in bytes; 0 where the server does not say.
        self.length = answer.length or 0
        # The size of the whole of which this is a part.
        total = (answer.headers.get("Content-Range") or "").rpartition("/")[2]
        self.total = int(total) if total.isdecimal() else self.length

    def read(self, size: int | None = None) -> bytes:
        with _reaching(self._parts):
            return self._answer.read(size)


class _Raised(BaseException):
    """What a function of the caller's raised while http.client called it, so that it is not taken for the connection's."""

    def __init__(self, error: BaseException) -> None:
        super().__init__(error)
        self.error = error


@contextmanager
def _reaching(parts: SplitResult) -> Iterator[None]:
    """What goes wrong between here and the server is a `ServerError`."""
    import http.client

    try:
        yield
    except Error:
        raise
    except (http.client.HTTPException, OSError) as error:
        where = f"{parts.scheme}://{parts.netloc}"
        raise ServerError(f"{where} cannot be reached: {error or type(error).__name__}") from error


def _sent(connection: http.client.HTTPConnection, request: tuple[Any, ...]) -> http.client.HTTPResponse:
    """Send a request, and return the answer if it is a good one."""
    try:
        connection.request(*request)
    except (BrokenPipeError, ConnectionResetError):
        # A server that refuses an upload need not read it; what it said is still to be had.
        if connection.sock is None:
            raise
    answer = connection.getresponse()
    elsewhere = answer.headers.get("Location")
    if 300 <= answer.status < 400 and elsewhere:
        raise _refused(f"it is to be asked at {elsewhere} instead; use that address", answer.status)
    if not 200 <= answer.status < 300:
        raise _refused(_reason(answer), answer.status)
    return answer


def _refused(reason: str, status: int) -> Error:
    return make("ServerError", f"the server refused: {reason}", {"status": status})


def _reason(answer: http.client.HTTPResponse) -> str:
    text = answer.read(_BLOCK).decode("utf-8", "replace")
    try:
        return str(json.loads(text)["error"]["message"])
    except (ValueError, KeyError, TypeError):
        return f"{answer.status} {answer.reason}"


@contextmanager
def _opened(file: str | os.PathLike[str] | IO[bytes]) -> Iterator[IO[bytes]]:
    if not isinstance(file, (str, os.PathLike)):
        yield file
        return
    try:
        opened = open(file, "rb")
    except OSError as error:
        raise make("SourceError", f"cannot read the source {os.fspath(file)}: {error.strerror}", {"path": file}) from error
    with opened:
        yield opened


def _readable(path: Path) -> None:
    """Whether a video can be read, before a server is asked."""
    with _opened(path) as source:
        if _size(source) == 0:
            raise make("SourceError", f"the source {path} is empty", {"path": path})


def _is_same(task: TaskStatus, script: str, command: str) -> bool:
    """Whether a task was started with this script and this command, as the server keeps them."""
    return task.script == script.replace("\r\n", "\n") and task.encode_param == command.rstrip()


def _as_text(script: str) -> str:
    """A script's text as something that is not taken for a path."""
    return script if "\n" in script or "\r" in script else script + "\n"


def _size(source: IO[bytes]) -> int:
    """Bytes from where it stands to its end. The link takes no upload of unknown length."""
    try:
        here = source.tell()
        end = source.seek(0, os.SEEK_END)
        source.seek(here)
    except (OSError, AttributeError) as error:
        raise SettingError("file cannot be a stream of unknown length: save it first, or open a regular file") from error
    return end - here


def _blocks(
    source: IO[bytes], size: int, told: Callable[[Transfer], object] | None, cancel: CancelToken | None
) -> Iterator[bytes]:
    sent = 0
    while sent < size:
        try:
            _stop_if(cancel)
            block = source.read(min(_BLOCK, size - sent))
            if not block:
                raise SourceError(f"the source ended after {sent} of {size} bytes")
        except BaseException as error:
            raise _Raised(error) from None
        yield block
        sent += len(block)
        if told is not None:
            try:
                told(Transfer(bytes=sent, bytes_total=size))
            except BaseException as error:
                raise _Raised(error) from None


@contextmanager
def _partial(target: Path) -> Iterator[FileIO]:
    """A file beside the target that gets its name when the block ends well, and is gone when it does not."""
    part = target.with_name(f".{target.name}.{os.urandom(4).hex()}.part")
    with _writing(target):
        # Without a buffer, which would fail a second time when it is closed.
        file = open(part, "xb", buffering=0)
    try:
        with file:
            yield file
            with _writing(target):
                os.fsync(file.fileno())
        with _writing(target):
            os.replace(part, target)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def _write(file: FileIO, block: bytes, target: Path) -> None:
    rest = memoryview(block)
    with _writing(target):
        while rest:
            # A file that is nearly too large for its disk takes a part.
            rest = rest[file.write(rest) :]


@contextmanager
def _writing(target: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise make("OutputError", f"cannot write {target}: {error.strerror}", {"path": target}) from error


def _sleep(seconds: float, cancel: CancelToken | None) -> None:
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        _stop_if(cancel)
        time.sleep(min(left, 0.1))


def _stop_if(cancel: CancelToken | None) -> None:
    if cancel is not None and cancel.cancelled:
        raise Cancelled("the transfer was cancelled")
