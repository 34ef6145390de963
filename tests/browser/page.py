#!/usr/bin/env python3
"""Opens a page in headless Chromium, waits until it says it is connected and until a message is shown.

Exits with 0 when all that was asked for was seen; otherwise prints the page's text and its console's errors, and
exits with 1. The page under test names its parts `#state` (with `data-state="open"`), `#messages li`, `#payload` and
`#publish`.
"""

import argparse
import base64
import contextlib
import functools
import http.server
import json
import sys
import threading
import time
from pathlib import Path

from chromium import BrowserError, Chromium


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("url", help="page to open; with --serve, a path within the folder")
    parser.add_argument("--serve", metavar="DIR", help="serve DIR on a port of its own, and open URL from there")
    parser.add_argument("--port", type=int, default=0, help="port for --serve; default: a free one")
    parser.add_argument("--wait-text", metavar="TEXT", help="wait until a message contains TEXT")
    parser.add_argument("--shown", metavar="JSON", help="then wait until the messages are exactly this list of texts")
    parser.add_argument("--wait-state", metavar="STATE", default="open", help="data-state to wait for first (open)")
    parser.add_argument("--state-text", metavar="TEXT", help="wait until #state contains TEXT")
    parser.add_argument("--publish", metavar="PAYLOAD", help="type PAYLOAD into the form and press the button")
    parser.add_argument("--screenshot", metavar="FILE", help="PNG of the page as it was at the end")
    parser.add_argument("--colour-scheme", choices=["light", "dark"], default="light")
    parser.add_argument("--width", type=int, default=1200)
    parser.add_argument("--timeout", type=float, default=30, help="seconds for all of it")
    return parser.parse_args()


@contextlib.contextmanager
def served(folder, port):
    """The folder over HTTP, on `localhost`, which browsers hold for trustworthy."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("localhost", port), functools.partial(Quiet, directory=folder)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://localhost:{server.server_address[1]}/"
        server.shutdown()


def drive(page, url, options, deadline):
    features = [{"name": "prefers-color-scheme", "value": options.colour_scheme}]
    page.call("Emulation.setEmulatedMedia", features=features)
    failure = page.call("Page.navigate", url=url).get("errorText")
    if failure:
        raise BrowserError(f"{url}: {failure}")
    state = json.dumps(options.wait_state)
    page.wait(f"document.querySelector('#state')?.dataset.state === {state}", f"the state {state}", deadline)
    print(f"state: {page.evaluate('document.querySelector(`#state`).textContent')}", flush=True)
    if options.state_text is not None:
        text = json.dumps(options.state_text)
        page.wait(f"document.querySelector('#state').textContent.includes({text})", f"{text} as the state", deadline)
        print(f"state: {page.evaluate('document.querySelector(`#state`).textContent')}", flush=True)
    if options.publish is not None:
        page.evaluate(
            "{ const field = document.querySelector('#payload');"
            f" field.value = {json.dumps(options.publish)};"
            " field.dispatchEvent(new Event('input', { bubbles: true }));"
            " document.querySelector('#publish').click(); }"
        )
    if options.wait_text is not None:
        text = json.dumps(options.wait_text)
        found = f"[...document.querySelectorAll('#messages li')].find((item) => item.textContent.includes({text}))"
        page.wait(f"Boolean({found})", f"a message with {text}", deadline)
        print(f"message: {page.evaluate(f'{found}.innerText')!r}", flush=True)
    if options.shown is not None:
        shown = "JSON.stringify([...document.querySelectorAll('#messages li')].map((item) => item.textContent))"
        wanted = json.dumps(json.dumps(json.loads(options.shown), ensure_ascii=False, separators=(",", ":")))
        page.wait(f"{shown} === {wanted}", f"exactly {options.shown}", deadline)


def report(page):
    with contextlib.suppress(BrowserError, TimeoutError, OSError):
        print(f"--- the page\n{page.evaluate('document.body?.innerText')}", file=sys.stderr)
    complaints = "\n".join(page.complaints) or "nothing"
    print(f"--- its console complained of\n{complaints}", file=sys.stderr)


def main():
    options = arguments()
    deadline = time.monotonic() + options.timeout
    with contextlib.ExitStack() as stack:
        url = options.url
        if options.serve:
            url = stack.enter_context(served(options.serve, options.port)) + url.lstrip("/")
        try:
            page = stack.enter_context(Chromium(width=options.width)).page(deadline)
        except BrowserError as error:
            print(error, file=sys.stderr)
            return 1
        try:
            drive(page, url, options, deadline)
            code = 0
        except (BrowserError, TimeoutError) as error:
            print(error, file=sys.stderr)
            report(page)
            code = 1
        if options.screenshot:
            picture = page.call("Page.captureScreenshot", captureBeyondViewport=True)
            Path(options.screenshot).write_bytes(base64.b64decode(picture["data"]))
        return code


if __name__ == "__main__":
    sys.exit(main())
