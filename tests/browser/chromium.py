"""Headless Chromium over the DevTools protocol: just enough to open a page, look at it and press a button."""

import contextlib
import ctypes
import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

from websockets.sync.client import connect

FLAGS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-dev-shm-usage", "--hide-scrollbars",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--remote-debugging-port=0",
]


def die_with_parent():
    """A test that fails kills its script, which then cannot close the browser."""
    if sys.platform == "linux":
        pr_set_pdeathsig = 1
        ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGKILL)


class BrowserError(Exception):
    """The browser could not do what was asked of it."""


class Chromium:
    """A browser of its own with a fresh profile; gone, with its children, when the block ends."""

    def __init__(self, width=1200, height=900):
        program = os.environ.get("CHROMIUM") or next(
            filter(None, map(shutil.which, ["chromium", "chromium-browser", "google-chrome"])), None
        )
        if not program:
            raise BrowserError("no chromium found; `make tools-test` installs it")
        self._profile = tempfile.TemporaryDirectory(prefix="chromium-", ignore_cleanup_errors=True)
        self._open = contextlib.ExitStack()
        self._log = open(Path(self._profile.name) / "log", "wb")
        self._process = subprocess.Popen(
            [program, *FLAGS, f"--window-size={width},{height}", f"--user-data-dir={self._profile.name}", "about:blank"],
            stdin=subprocess.DEVNULL, stdout=self._log, stderr=self._log,
            start_new_session=True,  # A group of its own, so that its helpers go with it.
            preexec_fn=die_with_parent,
        )

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._open.close()
        try:
            os.killpg(self._process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self._process.wait()
        self._log.close()
        self._profile.cleanup()

    def page(self, deadline):
        """The first tab, once the browser listens."""
        port_file = Path(self._profile.name) / "DevToolsActivePort"
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                break
            try:
                port = int(port_file.read_text().split()[0])
                opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
                with opener.open(f"http://127.0.0.1:{port}/json/list", timeout=5) as answer:
                    pages = [target for target in json.load(answer) if target["type"] == "page"]
                url = pages[0]["webSocketDebuggerUrl"]
            except (OSError, IndexError, ValueError):
                time.sleep(0.05)
                continue
            return Page(self._open.enter_context(connect(url, max_size=None, proxy=None, compression=None)))
        log = (Path(self._profile.name) / "log").read_text(errors="replace")
        raise BrowserError(f"chromium did not start:\n{log[-2000:]}")


class Page:
    """One tab. What its scripts complain about is kept in `complaints`."""

    def __init__(self, socket):
        self._socket = socket
        self._ids = itertools.count(1)
        self.complaints = []
        for domain in ("Page", "Runtime", "Log"):
            self.call(f"{domain}.enable")

    def call(self, method, timeout=15, **params):
        """Sends a command and returns its result; events that come meanwhile are taken in."""
        number = next(self._ids)
        self._socket.send(json.dumps({"id": number, "method": method, "params": params}))
        deadline = time.monotonic() + timeout
        while True:
            message = json.loads(self._socket.recv(timeout=max(0.0, deadline - time.monotonic())))
            if message.get("id") == number:
                if "error" in message:
                    raise BrowserError(f"{method}: {message['error']['message']}")
                return message["result"]
            self._take(message)

    def _take(self, event):
        params = event.get("params", {})
        if event.get("method") == "Runtime.exceptionThrown":
            details = params["exceptionDetails"]
            self.complaints.append(details.get("exception", {}).get("description", details["text"]))
        elif event.get("method") == "Log.entryAdded" and params["entry"]["level"] in ("error", "warning"):
            self.complaints.append(params["entry"]["text"])
        elif event.get("method") == "Runtime.consoleAPICalled" and params["type"] in ("error", "warning", "assert"):
            self.complaints.append(" ".join(str(arg.get("value", arg.get("description"))) for arg in params["args"]))

    def evaluate(self, expression):
        """The value of a JavaScript expression."""
        result = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in result:
            raise BrowserError(f"{expression}: {result['exceptionDetails']['text']}")
        return result["result"].get("value")

    def wait(self, expression, what, deadline):
        """Waits until a JavaScript expression is true."""
        while time.monotonic() < deadline:
            if self.evaluate(expression):
                return
            time.sleep(0.05)
        raise BrowserError(f"waited in vain for {what}")
