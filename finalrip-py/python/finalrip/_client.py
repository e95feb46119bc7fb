"""A client of finalrip-server, over the standard library's HTTP."""

from __future__ import annotations

import http.client
import json
import os
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from typing import IO, Any, Literal, Self
from urllib.parse import SplitResult, quote, urlencode, urlsplit

from ._command import EncodeCommand
from ._errors import Cancelled, Error, ServerError, SettingError, SourceError, make
from ._finalrip import CancelToken
from ._progress import Listener, listener
from ._record import Record
from ._script import as_script

# What is read, sent and told of at a time.
_BLOCK = 1 << 20

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
    clips: tuple[ClipStatus, ...] = ()

    @classmethod
    def from_wire(cls, wire: dict[str, Any]) -> Self:
        clips = tuple(ClipStatus.from_wire(clip) for clip in wire.get("progress") or ())
        status = super().from_wire(wire)
        object.__setattr__(status, "clips", clips)
        return status


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
        command: str | EncodeCommand,
        *,
        output: str | os.PathLike[str] | None = None,
        key: str | None = None,
        progress: Listener[Transfer | TaskStatus] = None,
        cancel: CancelToken | None = None,
        **options: Any,
    ) -> Path:
        """Upload a video, have it encoded, and download the result; return where it is.

        `output` is `NAME-Encoded.mkv` beside the video unless it is named. `key` is the video's name on the server; default:
        the file's own. A video of that name and size that is there already is not sent again; one of another size is an
        error. `options` are those of `start`. After Ctrl-C or a lost connection the task goes on; `wait` and `download`
        take it up again.
        """
        path = Path(path)
        key = key or path.name
        target = Path(output) if output is not None else path.with_name(f"{path.stem}-Encoded.mkv")
        given = {"progress": progress, "cancel": cancel}
        there = self._presigned(key)["exist"]
        if not there:
            self.upload(path, key, **given)  # type: ignore[arg-type]
        self.new(key)
        if there:
            self._compare(key, path)
        self.start(key, script, command, **options)
        self.wait(key, **given)  # type: ignore[arg-type]
        return self.download(key, target, **given)  # type: ignore[arg-type]

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
        command: str | EncodeCommand,
        *,
        slice: bool = True,
        timeout: int | None = None,
        queue: Literal["default", "priority"] = "default",
    ) -> None:
        """Start a task with a script, given as path or text, and an encode command; the server checks both.

        `timeout` is how long one clip may take, in minutes.
        """
        text = as_script(script, None, None, 0).text
        form = {"video_key": key, "script": text, "encode_param": str(command), "slice": slice, "queue": queue}
        self._call("POST", f"{_API}/start", form | ({} if timeout is None else {"timeout": timeout}))

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

    def clear(self, key: str) -> None:
        """Stop a task and delete it, its video and its result."""
        self._call("POST", f"{_API}/clear", {"video_key": key})

    def _compare(self, key: str, path: Path) -> None:
        """Whether the server's video of that name can be this one: it may be another that somebody sent."""
        with _opened(path) as source, self._answer("GET", self.status(key).url) as answer:
            theirs, ours = answer.length, _size(source)
        if theirs != ours:
            text = f"the server's {key} has {theirs} bytes and {path} has {ours}: give this one another key, or clear that one"
            raise ServerError(text)

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
    ) -> Iterator[_Answer]:
        """The answer to one request, on a connection of its own. A signed link needs no token, and is given none."""
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
    part = target.with_name(f".{target.name}.{secrets.token_hex(4)}.part")
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
