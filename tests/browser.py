"""A headless Chromium driven over its debugging pipe: real mouse, real keys, real downloads."""

from __future__ import annotations

import base64
import json
import os
import select
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")


class Browser:
    """One page of one browser; ``downloads`` is where its files go; no network unless ``online``."""

    def __init__(self, folder: Path, *, online: bool = False) -> None:
        found = next(filter(None, map(shutil.which, NAMES)), None)
        if found is None:
            pytest.skip(f"no browser on PATH ({', '.join(NAMES)})")
        self.downloads = folder / "downloads"
        theirs, self._out = os.pipe()
        self._in, answers = os.pipe()
        switches = f"--headless --no-sandbox --disable-gpu --user-data-dir={folder}/profile"
        # The pipe's ends must be numbers 3 and 4 in the browser.
        command = f'exec "$0" {switches} --remote-debugging-pipe about:blank 3<&{theirs} 4>&{answers}'
        self._process = subprocess.Popen(
            ["bash", "-c", command, found],
            pass_fds=(theirs, answers),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(theirs)
        os.close(answers)
        self._buffer, self._number, self._session = b"", 0, ""
        target = self.send("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.send("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        how = {"behavior": "allow", "downloadPath": str(self.downloads), "eventsEnabled": False}
        self.send("Browser.setDownloadBehavior", **how)
        self.send("Network.enable")
        offline = {"offline": True, "latency": 0, "downloadThroughput": 0, "uploadThroughput": 0}
        if not online:
            self.send("Network.emulateNetworkConditions", **offline)

    def send(self, method: str, **parameters: Any) -> dict[str, Any]:
        """The browser's answer to one command of its protocol."""
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._out, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._read()
            if answer.get("id") == self._number:
                assert "error" not in answer, answer["error"]
                return answer["result"]

    def _read(self) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            assert select.select([self._in], [], [], 120)[0], "the browser does not answer"
            part = os.read(self._in, 1 << 16)
            assert part, "the browser has gone"
            self._buffer += part
        message, _, self._buffer = self._buffer.partition(b"\0")
        return json.loads(message)

    def open(self, page: Path) -> None:
        """Load a file and wait until it is there."""
        self.send("Page.navigate", url=page.resolve().as_uri())
        self.wait(f"location.href.endsWith({page.name!r}) && document.readyState === 'complete'")

    def visit(self, url: str) -> None:
        """Begin to load a page of a server; `wait` for what it should show."""
        self.send("Page.navigate", url=url)

    def resize(self, width: int, height: int) -> None:
        """The window's inner size in pixels."""
        size = {"width": width, "height": height}
        self.send("Emulation.setDeviceMetricsOverride", **size, deviceScaleFactor=1, mobile=False)

    def picture(self, path: Path) -> None:
        """What the window shows, as PNG."""
        path.write_bytes(base64.b64decode(self.send("Page.captureScreenshot", format="png")["data"]))

    def js(self, expression: str) -> Any:
        """The value of an expression in the page."""
        answer = self.send("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def wait(self, condition: str, seconds: float = 60) -> None:
        """Until the expression is true."""
        end = time.monotonic() + seconds
        while not self.js(condition):
            assert time.monotonic() < end, f"never came: {condition}"
            time.sleep(0.05)

    def drag(self, start: tuple[float, float], end: tuple[float, float]) -> None:
        """Press at one point, move in steps, release at another."""
        self._mouse("mousePressed", *start)
        for step in (0.3, 0.6, 1.0, 1.0):
            x, y = (a + (b - a) * step for a, b in zip(start, end, strict=True))
            self._mouse("mouseMoved", x, y)
        self._mouse("mouseReleased", *end)

    def click(self, selector: str) -> None:
        """A click in the middle of an element."""
        point = self.middle(selector)
        self._mouse("mousePressed", *point)
        self._mouse("mouseReleased", *point)

    def middle(self, selector: str) -> tuple[float, float]:
        """Where an element is, scrolled into view."""
        x, y = self.js(
            f"(() => {{ const e = document.querySelector({selector!r}); "
            "if (e.getBoundingClientRect().bottom > innerHeight) e.scrollIntoView({block: 'end'}); "
            "const b = e.getBoundingClientRect(); return [b.x + b.width / 2, b.y + b.height / 2] })()"
        )
        return x, y

    def _mouse(self, kind: str, x: float, y: float) -> None:
        about = {"button": "left", "clickCount": 1, "buttons": 0 if kind == "mouseReleased" else 1}
        self.send("Input.dispatchMouseEvent", type=kind, x=x, y=y, **about)

    def key(self, name: str, text: str = "") -> None:
        """Press and release a key."""
        self.send("Input.dispatchKeyEvent", type="keyDown", key=name, text=text)
        self.send("Input.dispatchKeyEvent", type="keyUp", key=name)

    def downloaded(self, name: str, seconds: float = 60) -> Path:
        """The file, once it is there in full."""
        end = time.monotonic() + seconds
        while not (self.downloads / name).is_file():
            assert time.monotonic() < end, f"no download {name}, got {os.listdir(self.downloads.parent)}"
            time.sleep(0.05)
        return self.downloads / name

    def close(self) -> None:
        """End it."""
        self._process.terminate()
        self._process.wait(timeout=30)
        os.close(self._in)
        os.close(self._out)
