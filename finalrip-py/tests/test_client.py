"""The client, against the real server: finalrip-server, started here with a folder of its own."""

from __future__ import annotations

import io
import os
import re
import subprocess
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import finalrip
import pytest
from conftest import BUNNY, FAST, ROOT, leftovers

SCRIPT = """\
import os
import vapoursynth as vs
clip = vs.core.bs.VideoSource(os.environ["FINALRIP_SOURCE"])[:40]
clip.resize.Bilinear(160, 90, format=vs.YUV420P8).set_output()
"""
KEY = "[Group] Täst 01 & more (1080p)+x.mp4"


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[finalrip.Client]:
    program = Path(os.environ.get("FINALRIP_SERVER", ROOT / "target/debug/finalrip-server"))
    assert program.is_file(), f"{program} is not built; `make test` builds it"
    data = tmp_path_factory.mktemp("server")
    environment = {**os.environ, "FINALRIP_TOKEN": "a-token-that-is-long-enough", "RUST_LOG": "info"}
    command = [program, "serve", "--data", data, "--listen", "127.0.0.1:0", "--workers", "1"]
    log = open(data / "log", "w+")
    server = subprocess.Popen(command, env=environment, stdout=log, stderr=subprocess.STDOUT)
    try:
        address = None
        for _ in range(600):
            found = re.search(r"127\.0\.0\.1:(\d+)", (data / "log").read_text())
            if found and int(found[1]):
                address = found[1]
                break
            threading.Event().wait(0.1)
            assert server.poll() is None, (data / "log").read_text()
        assert address, (data / "log").read_text()
        yield finalrip.Client(f"http://127.0.0.1:{address}", "a-token-that-is-long-enough")
    finally:
        server.terminate()
        server.wait(30)
        log.close()


def test_submit_does_it_all(client: finalrip.Client, tmp_path: Path, hashes: Callable[[Path], list[str]]) -> None:
    video = tmp_path / KEY
    video.symlink_to(BUNNY)
    told: list[object] = []
    result = client.submit(video, SCRIPT, f"{FAST} -qp 0", progress=told.append)
    assert result == tmp_path / "[Group] Täst 01 & more (1080p)+x-Encoded.mkv"
    assert len(hashes(result)) == 40
    kinds = {type(one) for one in told}
    assert kinds == {finalrip.Transfer, finalrip.TaskStatus}
    status = client.status(KEY)
    assert status.status == "completed" and status.clips and status.clips[0].status == "completed"
    assert [task.key for task in client.tasks()] == [KEY]
    client.clear(KEY)
    assert client.tasks() == []


def test_a_file_object_can_be_uploaded(client: finalrip.Client) -> None:
    data = BUNNY.read_bytes()
    told: list[finalrip.Transfer] = []
    assert client.upload(io.BytesIO(data), "object.mp4", progress=told.append) == "object.mp4"
    assert told[-1].bytes == told[-1].bytes_total == len(data)
    with pytest.raises(finalrip.SettingError, match="no name"):
        client.upload(io.BytesIO(data))
    with pytest.raises(BrokenPipeError, match="of mine"):
        client.upload(io.BytesIO(data), "object.mp4", progress=raises(BrokenPipeError("of mine")))
    client.new("object.mp4")
    client.clear("object.mp4")


def raises(error: Exception) -> Callable[[object], None]:
    def listen(_: object) -> None:
        raise error

    return listen


def test_what_the_server_refuses_is_an_error_with_its_reason(client: finalrip.Client, tmp_path: Path) -> None:
    with pytest.raises(finalrip.ServerError, match="does not exist"):
        client.new("nothing.mkv")
    with pytest.raises(finalrip.ServerError, match="(?i)token|unauthori"):
        finalrip.Client(client._base, "another-token").tasks()
    with pytest.raises(finalrip.ServerError, match="cannot be reached"):
        finalrip.Client("http://127.0.0.1:1", "token").ping()
    with pytest.raises(finalrip.SettingError):
        finalrip.Client("127.0.0.1:8848", "token")
    with pytest.raises(finalrip.SourceError):
        client.upload(tmp_path / "nothing.mkv")
    client.upload(BUNNY, "failing.mp4")
    client.new("failing.mp4")
    with pytest.raises(finalrip.ServerError, match="presett"):
        client.start("failing.mp4", SCRIPT, "-c:v libx264 -presett slow")
    client.start("failing.mp4", "raise ValueError('on purpose')\n", FAST)
    with pytest.raises(finalrip.ServerError, match="on purpose"):
        client.wait("failing.mp4", interval=0.1)
    with pytest.raises(finalrip.ServerError, match="no result"):
        client.download("failing.mp4", tmp_path / "out.mkv")
    client.clear("failing.mp4")
    assert leftovers(tmp_path) == []


def test_another_video_of_the_same_name_is_told_apart(client: finalrip.Client, tmp_path: Path) -> None:
    client.upload(BUNNY, "ep01.mkv")
    (tmp_path / "ep01.mkv").write_bytes(b"another one")
    with pytest.raises(finalrip.ServerError, match=f"ep01.mkv has {BUNNY.stat().st_size} bytes and .* has 11: give .* another key"):
        client.submit(tmp_path / "ep01.mkv", SCRIPT, FAST)
    client.clear("ep01.mkv")


def test_a_download_that_fails_says_why_and_leaves_nothing(client: finalrip.Client, tmp_path: Path) -> None:
    client.upload(BUNNY, "down.mp4")
    client.new("down.mp4")
    client.start("down.mp4", SCRIPT, FAST)
    client.wait("down.mp4", interval=0.1)
    with pytest.raises(TimeoutError, match="of mine"):
        client.download("down.mp4", tmp_path / "out.mkv", progress=raises(TimeoutError("of mine")))
    (tmp_path / "folder").mkdir()
    for where in (tmp_path / "folder", tmp_path / "none" / "out.mkv"):
        with pytest.raises(finalrip.OutputError, match="cannot write"):
            client.download("down.mp4", where)
    assert leftovers(tmp_path) == ["folder"]
    client.clear("down.mp4")


def sent(told: list[object]) -> int:
    """Bytes that were uploaded, as far as was told before the task was."""
    first_status = next((at for at, one in enumerate(told) if isinstance(one, finalrip.TaskStatus)), len(told))
    return max((one.bytes for one in told[:first_status] if isinstance(one, finalrip.Transfer)), default=0)


def test_script_and_command_are_checked_before_the_upload(client: finalrip.Client, tmp_path: Path) -> None:
    video, told = tmp_path / "checked.mp4", list[object]()
    video.symlink_to(BUNNY)
    for script, command, reason in [
        (SCRIPT, "-c:v libx264 -crff 3", "encode command: .*-crff"),
        ("import os\nx = (\n", FAST, "script, line 2: .*never closed"),
        ("\n", FAST, "script: it is empty"),
        ("x = 1\ny = )\n", "-c:v libx266", "libx266.*; script, line 2|script, line 2.*libx266"),
    ]:
        with pytest.raises(finalrip.ServerError, match=f"(?s)refused: .*{reason}"):
            client.submit(video, script, command, progress=told.append)
    assert told == [] and client.tasks() == [] and not client._presigned("checked.mp4")["exist"]
    assert client.check(SCRIPT, FAST, "checked.mp4") == ()
    assert [problem.field for problem in client.check(SCRIPT, FAST, "../x")] == ["video_key"]
    with pytest.raises(finalrip.SourceError):
        client.submit(tmp_path / "nothing.mkv", SCRIPT, FAST)
    with pytest.raises(finalrip.SettingError, match="queue cannot be 'later'"):
        client.start("checked.mp4", SCRIPT, FAST, queue="later")  # type: ignore[arg-type]


def test_the_same_video_is_submitted_again_without_another_upload(
    client: finalrip.Client, tmp_path: Path, hashes: Callable[[Path], list[str]]
) -> None:
    video = tmp_path / "again.mp4"
    video.symlink_to(BUNNY)
    first: list[object] = []
    result = client.submit(video, SCRIPT, FAST, progress=first.append)
    bits = result.read_bytes()
    assert sent(first) == BUNNY.stat().st_size
    # The same work is not done again.
    same: list[object] = []
    made = client.status("again.mp4").create_at
    assert client.submit(video, SCRIPT, FAST, progress=same.append).read_bytes() == bits
    assert sent(same) == 0 and client.status("again.mp4").create_at == made
    # Other work is done, of the video that is there.
    other: list[object] = []
    client.submit(video, SCRIPT.replace("[:40]", "[:20]"), FAST, progress=other.append)
    assert len(hashes(result)) == 20 and sent(other) == 0
    # A task that failed, before it had clips and afterwards.
    with pytest.raises(finalrip.ServerError, match="on purpose"):
        client.submit(video, "raise ValueError('on purpose')\n", FAST)
    mended: list[object] = []
    client.submit(video, SCRIPT, FAST, progress=mended.append)
    assert len(hashes(result)) == 40 and sent(mended) == 0
    client.clear("again.mp4", keep_source=True)
    assert client.tasks() == [] and client._presigned("again.mp4")["exist"]
    cleared: list[object] = []
    client.submit(video, SCRIPT, FAST, progress=cleared.append)
    assert sent(cleared) == 0
    client.clear("again.mp4")
    assert not client._presigned("again.mp4")["exist"]


def test_a_task_that_was_left_or_failed_is_taken_up(client: finalrip.Client, tmp_path: Path) -> None:
    video = tmp_path / "taken-up.mp4"
    video.symlink_to(BUNNY)
    slow = SCRIPT.replace("clip.resize", "import time\nclip = clip.std.FrameEval(lambda n, clip=clip: time.sleep(0.05) or clip)\nclip.resize")
    token = finalrip.CancelToken()

    def leave(told: object) -> None:
        if isinstance(told, finalrip.TaskStatus) and told.status == "running":
            token.cancel()

    with pytest.raises(finalrip.Cancelled):
        client.submit(video, slow, FAST, progress=leave, cancel=token)
    with pytest.raises(finalrip.ServerError, match="running with another script or command"):
        client.submit(video, SCRIPT, FAST)
    told: list[object] = []
    client.submit(video, slow, FAST, progress=told.append)
    assert sent(told) == 0
    failing = SCRIPT + "def fail(n):\n    raise ValueError('later')\nclip.std.FrameEval(fail).set_output()\n"
    with pytest.raises(finalrip.ServerError, match="later"):
        client.submit(video, failing, FAST)
    with pytest.raises(finalrip.ServerError, match="later"):
        client.submit(video, failing, FAST, progress=told.append)
    assert sent(told) == 0
    client.clear("taken-up.mp4")


def test_another_video_of_the_same_size_is_told_apart(client: finalrip.Client, tmp_path: Path) -> None:
    client.upload(BUNNY, "size.mp4")
    changed = bytearray(BUNNY.read_bytes())
    changed[-5] ^= 1
    (tmp_path / "size.mp4").write_bytes(changed)
    with pytest.raises(finalrip.ServerError, match="another video than .* of the same size"):
        client.submit(tmp_path / "size.mp4", SCRIPT, FAST)
    client.clear("size.mp4")


class _Older(finalrip.Client):
    """A client of a server that has no route for checks."""

    def check(self, script: object, command: object, key: str | None = None) -> tuple[finalrip.Problem, ...]:
        self._call("POST", "/api/v1/task/no-such-route", {})
        raise AssertionError("there is no such route")


def test_a_server_that_cannot_check_is_used_as_before(client: finalrip.Client, tmp_path: Path) -> None:
    older = _Older(client._base, client._token)
    video = tmp_path / "older.mp4"
    video.symlink_to(BUNNY)
    with pytest.raises(finalrip.ServerError, match="-crff"):
        older.submit(video, SCRIPT, "-c:v libx264 -crff 3")
    told: list[object] = []
    assert older.submit(video, SCRIPT, FAST, progress=told.append).is_file() and sent(told) == 0
    with pytest.raises(finalrip.ServerError, match="already exists"):
        older.submit(video, SCRIPT.replace("[:40]", "[:20]"), FAST)
    client.clear("older.mp4")


class _Wrong(BaseHTTPRequestHandler):
    """What stands in the server's place and is none."""

    def do_GET(self) -> None:
        if self.path.startswith("/moved"):
            self.send_response(302)
            self.send_header("Location", "http://127.0.0.1:1/elsewhere")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        text = b'["a list"]' if self.path.startswith("/list") else b'{"success": false, "error": null}'
        self.send_response(200)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_: object) -> None:
        pass


def test_what_does_not_speak_the_api_is_not_believed(tmp_path: Path) -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Wrong) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_address[1]}"
        for path, reason in [("/moved", "127.0.0.1:1/elsewhere instead"), ("/list", "task API"), ("/null", "task API")]:
            with pytest.raises(finalrip.ServerError, match=reason):
                finalrip.Client(address + path, "token").ping()
        server.shutdown()
    for wrong in ("http://127.0.0.1:99999", "http://[::1", "ftp://somewhere"):
        with pytest.raises(finalrip.SettingError, match="url cannot be"):
            finalrip.Client(wrong, "token")
    with pytest.raises(finalrip.ServerError, match="cannot be reached"):
        finalrip.Client("http://255.255.255.255:80", "token").ping()
