"""The client, against the real server: finalrip-server, started here with a folder of its own."""

from __future__ import annotations

import io
import os
import re
import subprocess
import threading
from collections.abc import Callable, Iterator
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
    client.new("object.mp4")
    client.clear("object.mp4")


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
