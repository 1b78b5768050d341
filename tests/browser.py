"""A headless Chromium for tests, driven by its DevTools protocol over a pair of pipes."""

import base64
import fcntl
import json
import os
import select
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)
needs_browser = pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")
_KEYS = {"ArrowLeft": 37, "ArrowRight": 39, "Enter": 13}
_PATIENCE = 20.0  # seconds


class Browser:
    """One page of a browser."""

    def __init__(self, reading: int, writing: int):
        self._reading, self._writing = reading, writing
        self._rest = b""
        self._count = 0
        self._loads = 0
        self.errors: list[str] = []  # of scripts of the page
        target = self._call("Target.createTarget", url="about:blank")["targetId"]
        attached = self._call("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Call a method of the protocol on the page."""
        return self._call(method, self._session, **parameters)

    def open(self, url: str) -> None:
        """Go to an address, and wait until the page is there."""
        self._go("Page.navigate", url=url)

    def reload(self) -> None:
        """Load the page once more."""
        self._go("Page.reload")

    def run(self, script: str) -> Any:
        """The value of an expression on the page."""
        found = self.call("Runtime.evaluate", expression=script, returnByValue=True)
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")

    def wait(self, condition: str) -> None:
        """Wait until an expression on the page is true."""
        deadline = time.monotonic() + _PATIENCE
        while not self.run(f"Boolean({condition})"):
            assert time.monotonic() < deadline, f"{condition} did not become true"
            time.sleep(0.01)

    def press(self, key: str, *, held: bool = False) -> None:
        """Press a key and let it go, or let it repeat."""
        named = {"key": key, "code": key, "windowsVirtualKeyCode": _KEYS[key]}
        if key == "Enter":
            named["text"] = "\r"
        self.call("Input.dispatchKeyEvent", type="keyDown", autoRepeat=held, **named)
        self.call("Input.dispatchKeyEvent", type="keyUp", **named)

    def tap(self, selector: str) -> None:
        """Touch an element in its middle."""
        x, y = self.run(
            f"(() => {{ const r = document.querySelector({json.dumps(selector)})"
            ".getBoundingClientRect(); return [r.x + r.width / 2, r.y + r.height / 2] })()"
        )
        self.call("Input.dispatchTouchEvent", type="touchStart", touchPoints=[{"x": x, "y": y}])
        self.call("Input.dispatchTouchEvent", type="touchEnd", touchPoints=[])

    def screen(self, width: int, height: int, *, dark: bool = False, touch: bool = False) -> None:
        """Show the page on a screen of so many pixels."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": touch}
        self.call("Emulation.setDeviceMetricsOverride", **size)
        self.call("Emulation.setTouchEmulationEnabled", enabled=touch)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])

    def picture(self, path: Path) -> None:
        """Keep what the screen shows as a PNG file."""
        path.write_bytes(base64.b64decode(self.call("Page.captureScreenshot")["data"]))

    def _go(self, method: str, **parameters: str) -> None:
        before = self._loads
        self.call(method, **parameters)
        while self._loads == before:
            self._take()

    def _call(self, method: str, session: str | None = None, **parameters: Any) -> dict[str, Any]:
        self._count += 1
        message: dict[str, Any] = {"id": self._count, "method": method, "params": parameters}
        message |= {"sessionId": session} if session else {}
        os.write(self._writing, json.dumps(message).encode() + b"\0")
        while (reply := self._take()).get("id") != self._count:
            pass
        assert "error" not in reply, f"{method}: {reply['error']}"
        return reply["result"]

    def _take(self) -> dict[str, Any]:
        """The next message of the browser."""
        while b"\0" not in self._rest:
            assert select.select([self._reading], [], [], _PATIENCE)[0], "the browser says nothing"
            data = os.read(self._reading, 1 << 20)
            assert data, "the browser ended"
            self._rest += data
        text, self._rest = self._rest.split(b"\0", 1)
        message = json.loads(text)
        if message.get("method") == "Runtime.exceptionThrown":
            self.errors.append(str(message["params"]["exceptionDetails"]))
        self._loads += message.get("method") == "Page.loadEventFired"
        return message


@contextmanager
def browser() -> Iterator[Browser]:
    """A browser that knows nothing yet, and forgets all."""
    pipes = [*os.pipe(), *os.pipe()]
    # out of the way of 3 and 4, where the browser reads and writes
    theirs_in, ours_out, ours_in, theirs_out = (fcntl.fcntl(p, fcntl.F_DUPFD, 10) for p in pipes)
    for pipe in pipes:
        os.close(pipe)
    with TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        arguments = [
            *(str(CHROMIUM), "--headless", "--no-sandbox", "--remote-debugging-pipe"),
            *("--disable-gpu", "--disable-dev-shm-usage", f"--user-data-dir={profile}"),
        ]
        process = subprocess.Popen(
            ["bash", "-c", f'exec "$@" 3<&{theirs_in} 4>&{theirs_out}', "bash", *arguments],
            pass_fds=(theirs_in, theirs_out),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(theirs_in)
        os.close(theirs_out)
        try:
            yield Browser(ours_in, ours_out)
        finally:
            process.kill()
            process.wait()
            os.close(ours_in)
            os.close(ours_out)
