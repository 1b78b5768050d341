"""Servers that tests read data sets from, each in a process of its own: an S3 from moto, and a slow
web server.
"""

import json
import os
import random
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

import pyarrow.fs as fs
import pytest

KEYS = {
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "test",
    "AWS_EC2_METADATA_DISABLED": "true",
}


def free_port() -> int:
    """A port of this machine that nobody listens at, of those that systems give to nobody who does
    not name them.
    """
    for port in random.SystemRandom().sample(range(20000, 30000), 100):
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise OSError("no port is free")


@contextmanager
def s3_server() -> Iterator[str]:
    """The query that leads an s3:// address to a local server."""
    port = free_port()
    command = [
        sys.executable,
        "-W",
        "ignore",
        "-m",
        "moto.server",
        "-H",
        "127.0.0.1",
        "-p",
        str(port),
    ]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        _wait_for(port, process)
        with pytest.MonkeyPatch.context() as environment:
            for name, value in KEYS.items():
                environment.setenv(name, value)
            yield f"endpoint_override={quote(f'http://127.0.0.1:{port}', safe='')}&region=us-east-1"
    finally:
        process.kill()
        process.wait()


def upload(folder: Path, address: str) -> str:
    """Copy a folder to a bucket that may not exist yet; the address with its query."""
    bucket, path = fs.FileSystem.from_uri(f"{address}&allow_bucket_creation=true")
    bucket.create_dir(path.partition("/")[0])
    fs.copy_files(
        str(folder), path, source_filesystem=fs.LocalFileSystem(), destination_filesystem=bucket
    )
    return address


class Web:
    """A running web server."""

    def __init__(self, url: str):
        self.url = url

    def requests(self) -> list[str]:
        """Paths asked for so far, with the method."""
        return self._counts()["requests"]

    def most_at_once(self) -> int:
        """The largest number of requests so far that waited for their answers together."""
        return self._counts()["most_at_once"]

    def _counts(self) -> dict[str, Any]:
        with urllib.request.urlopen(f"{self.url}/__counts__") as answer:
            return json.load(answer)


@contextmanager
def web_server(folder: Path, *, delay: float = 0.0, ranges: bool = True) -> Iterator[Web]:
    """Serve a folder, every request answered after `delay` seconds."""
    command = [sys.executable, __file__, str(folder), str(delay), str(int(ranges))]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield Web(f"http://127.0.0.1:{process.stdout.readline().strip()}")
    finally:
        process.kill()
        process.communicate()


@contextmanager
def strange_server(answer: bytes | None) -> Iterator[int]:
    """The port of something that answers every connection with the same bytes, or, without any, not
    at all.
    """
    with socket.create_server(("127.0.0.1", 0)) as server:
        held: list[socket.socket] = []

        def serve() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:  # closed
                    return
                held.append(connection)
                if answer is not None:
                    connection.recv(65536)
                    connection.sendall(answer)
                    connection.close()

        threading.Thread(target=serve, daemon=True).start()
        try:
            yield server.getsockname()[1]
        finally:
            server.shutdown(socket.SHUT_RDWR)
            for connection in held:
                connection.close()


def http_answer(status: str, kind: str, body: bytes) -> bytes:
    """The bytes of an HTTP answer."""
    head = (
        f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\nConnection: "
        "close\r\n\r\n"
    )
    return head.encode() + body


def nobody() -> str:
    """HOST:PORT where nobody listens."""
    return f"127.0.0.1:{free_port()}"


def _wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            time.sleep(0.05)
    raise RuntimeError("the server did not start")


def _serve(folder: Path, delay: float, ranges: bool) -> None:
    seen: list[str] = []
    waiting = [0]  # requests that wait, at every change
    lock = threading.Lock()

    def wait() -> None:
        with lock:
            waiting.append(waiting[-1] + 1)
        time.sleep(delay)
        with lock:
            waiting.append(waiting[-1] - 1)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1  # one packet for head and body: otherwise delayed acknowledgements add 40 ms

        def do_HEAD(self) -> None:
            self._answer(body=False)

        def do_GET(self) -> None:
            self._answer(body=True)

        def _answer(self, *, body: bool) -> None:
            if self.path == "/__counts__":
                counts = {"requests": seen, "most_at_once": max(waiting)}
                self._send(200, json.dumps(counts).encode(), body=True)
                return
            seen.append(f"{self.command} {self.path}")
            wait()
            path = folder / unquote(self.path).lstrip("/")
            if not path.is_file():
                self._send(404, b"", body=body)
                return
            data, wanted = path.read_bytes(), self.headers.get("Range")
            if wanted and ranges:
                first, _, last = wanted.removeprefix("bytes=").partition("-")
                part = data[int(first) : int(last) + 1]
                extent = f"bytes {first}-{int(first) + len(part) - 1}/{len(data)}"
                self._send(206, part, body=body, extent=extent)
            else:
                self._send(200, data, body=body)

        def _send(self, status: int, data: bytes, *, body: bool, extent: str | None = None) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            if extent:
                self.send_header("Content-Range", extent)
            self.end_headers()
            if body:
                self.wfile.write(data)
            self.wfile.flush()

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(server.server_port, flush=True)
    parent = os.getppid()
    while os.getppid() == parent:  # ends with the test
        time.sleep(0.5)


if __name__ == "__main__":
    _serve(Path(sys.argv[1]), float(sys.argv[2]), sys.argv[3] == "1")
