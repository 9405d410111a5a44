"""A bot as one HTML file: how large it is, how fast it talks, and whether it says what Python says.

    python benchmarks/html_page.py [BOT] [--tokens 10000]        # the base, if no bot is named

In Chromium and in Firefox, where they are installed (Debian: chromium, firefox-esr), from file://:

tokens/s    likeliest tokens of one conversation, one after another, in WebAssembly and in plain
            JavaScript
Python      the same by the compiled library, asked in turn
reply       milliseconds from opening to the end of the first reply that the net makes: as it is
            drawn, and the best of 8
MB          memory of the tab's process
equal       of so many likeliest tokens, in conversations of 250, how many are those of Python with
            the same weights

With --onnxruntime-web FOLDER, `dist` of that package from npm, the same bot as an ONNX step is run
by it in the same browsers, on one thread, served from this machine.
"""

import argparse
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from statistics import median
from threading import Thread
from time import perf_counter
from typing import Any

import numpy as np
from machine import describe
from playwright.sync_api import sync_playwright

from elman.data.tokenizer import END, ROLES, Tokenizer
from elman.export.html import read_page, write_page
from elman.export.onnx_file import write_onnx
from elman.runtime.choose import load_bot
from elman.runtime.compiled import CompiledDecoder
from elman.runtime.weights import load_weights

CONVERSATION_TOKENS, TIMED_TOKENS, ROUNDS = 250, 200, 7
ASKED = (
    "I watched a film about dolphins yesterday, it was great.",
    "What do you like about the sea?",
    "My sister plays the violin in an orchestra.",
    "Tell me something about football.",
    "We are going to Spain next week!",
)
Evaluate = Callable[[str], Any]
"""Evaluates an expression in a page, which may be a promise, and returns what it gives."""


@contextmanager
def chromium(url: str) -> Iterator[Evaluate]:
    with sync_playwright() as playwright:
        path = shutil.which("chromium")
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        page = browser.new_page()
        page.goto(url)
        page.wait_for_selector("html[data-ready], .wrong", state="attached", timeout=120_000)
        yield lambda expression: page.evaluate(expression)
        browser.close()


@contextmanager
def firefox(url: str) -> Iterator[Evaluate]:
    """Firefox by its own protocol, WebDriver BiDi: no driver is needed."""
    from websockets.sync.client import connect

    with tempfile.TemporaryDirectory() as profile:
        command = [
            "firefox-esr",
            "--headless",
            "--remote-debugging-port",
            "0",
            "--profile",
            profile,
        ]
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        assert process.stdout is not None
        try:
            said = next(line for line in process.stdout if "BiDi listening on" in line)
            Thread(target=process.stdout.read, daemon=True).start()  # what it says later is lost
            with connect(f"{said.split()[-1]}/session", max_size=None) as socket:
                count = 0

                def send(method: str, **params: Any) -> Any:
                    nonlocal count
                    count += 1
                    socket.send(json.dumps({"id": count, "method": method, "params": params}))
                    while (found := json.loads(socket.recv())).get("id") != count:
                        pass
                    return found["result"]

                def evaluate(expression: str) -> Any:
                    found = send(
                        "script.evaluate",
                        expression=f"Promise.resolve({expression}).then((x) => JSON.stringify(x))",
                        target={"context": context},
                        awaitPromise=True,
                    )["result"]
                    return json.loads(found["value"]) if "value" in found else None

                send("session.new", capabilities={})
                context = send("browsingContext.getTree")["contexts"][0]["context"]
                send("browsingContext.navigate", context=context, url=url, wait="complete")
                ready = "document.documentElement.dataset.ready || document.querySelector('.wrong')"
                evaluate(
                    "new Promise((resolve) => { const look = () => "
                    f"({ready}) ? resolve(0) : setTimeout(look, 20); look(); }})"
                )
                yield evaluate
        finally:
            process.terminate()
            process.wait()


SCRIPTS = ("ort.wasm.min.mjs", "ort-wasm-simd-threaded.mjs", "ort-wasm-simd-threaded.wasm")

STEP_PAGE = """<!doctype html>
<script type="module">
import * as ort from "./ort.wasm.min.mjs";
ort.env.wasm.numThreads = 1;
const session = await ort.InferenceSession.create("model.onnx");
window.likeliest = async (tokens, count, size) => {
  let state = new ort.Tensor("float32", new Float32Array(size), [1, size]), logits;
  const said = [];
  const step = async (id) => {
    const token = new ort.Tensor("int32", [id], [1]);
    ({ logits, next_state: state } = await session.run({ token, state }));
  };
  for (const id of tokens) await step(id);
  while (said.length < count) {
    const all = logits.data;
    let best = 0;
    for (let n = 1; n < all.length; n++) if (all[n] > all[best]) best = n;
    said.push(best);
    await step(best);
  }
  return said;
};
document.documentElement.dataset.ready = performance.now();
</script>
"""


@contextmanager
def step_page(bot: str, dist: Path, folder: Path) -> Iterator[str]:
    """Serve a page in which onnxruntime-web runs the ONNX step of a bot."""
    write_onnx(Path(bot), folder / "model.onnx", print)
    for name in SCRIPTS:
        shutil.copy(dist / name, folder / name)
    (folder / "index.html").write_text(STEP_PAGE, "utf-8")

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder))) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/index.html"
        server.shutdown()


def measure_step(url: str, browser: Callable, bot: str) -> list[str]:
    """Time the ONNX step beside the compiled library, on the bot's own weights."""
    tokenizer, decoder = load_bot(bot).tokenizer, CompiledDecoder(load_weights(bot))
    size = sum(part.size for part in decoder.state_spec)
    said = [ROLES["user"], *tokenizer.encode(ASKED[0]), END, ROLES["bot"]]
    with browser(url) as evaluate:
        theirs = []
        for _ in range(ROUNDS):
            begun = perf_counter()
            found = evaluate(f"likeliest({json.dumps(said)}, {TIMED_TOKENS}, {size})")
            theirs.append((TIMED_TOKENS + len(said)) / (perf_counter() - begun))
        memory = tab_memory()
    own = likeliest(decoder, tokenizer, ASKED[0], TIMED_TOKENS)
    equal = sum(a == b for a, b in zip(found, own, strict=True))
    shown = f"{equal:,} of {TIMED_TOKENS:,}"
    return ["onnxruntime-web", f"{median(theirs):.0f}", "", "", "", f"{memory / 1e6:.0f}", shown]


BROWSERS = {"chromium": chromium, "firefox-esr": firefox}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("bot", nargs="?", default="base")
    parser.add_argument("--tokens", type=int, default=10_000)
    parser.add_argument("--browser", choices=BROWSERS, help="Only this one.")
    parser.add_argument("--onnxruntime-web", type=Path, help="Its folder `dist`.")
    args = parser.parse_args()
    print(describe())
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "bot.html"
        told = write_page(Path(args.bot), file, 8, print)
        print(f"size        {told['bytes']:,} bytes, {told['bits_per_weight']} bits of a weight")
        _, weights, tokenizer = read_page(file)
        decoder = CompiledDecoder(weights)
        print("\n| browser | what computes | tokens/s | Python | reply | best of 8 | MB | equal |")
        print("|---|---|---|---|---|---|---|---|")
        for name, browser in BROWSERS.items():
            if args.browser in (None, name) and shutil.which(name):
                for row in measure(file.as_uri(), browser, decoder, tokenizer, args.tokens):
                    print(f"| {name} | {' | '.join(row)} |", flush=True)
                if args.onnxruntime_web is not None:
                    with step_page(args.bot, args.onnxruntime_web, Path(folder)) as url:
                        row = measure_step(url, browser, args.bot)
                    print(f"| {name} | {' | '.join(row)} |", flush=True)


def measure(
    url: str, browser: Callable, decoder: CompiledDecoder, tokenizer: Tokenizer, tokens: int
) -> Iterator[list[str]]:
    """Measure a page in a browser; yield a row for each way to compute."""
    replies = []
    for samples in (1, 8):
        with browser(url) as evaluate:
            opened = int(evaluate("document.documentElement.dataset.ready"))
            settings = {"samples": samples, "temperature": 0.7, "seed": "1", "speaker": None}
            asked = json.dumps(ASKED[0])
            spent = evaluate(
                f"elman.ask('settings', {json.dumps(settings)}).then(async () => {{ "
                f"const begun = performance.now(); await elman.ask('say', {asked}); "
                "return performance.now() - begun; })"
            )
            replies.append(f"{opened + spent:.0f}")
            memory = tab_memory()
    said = [*replies, f"{memory / 1e6:.0f}"]
    for how in ("", "#javascript"):
        with browser(url + how) as evaluate:
            kind = evaluate("document.documentElement.dataset.how")
            ours, theirs = [], []
            for _ in range(ROUNDS):
                begun = perf_counter()
                likeliest(decoder, tokenizer, ASKED[0], TIMED_TOKENS)
                ours.append(TIMED_TOKENS / (perf_counter() - begun))
                spent = evaluate(
                    "(async () => { const begun = performance.now(); await elman.ask('likeliest', "
                    f"{json.dumps({'asked': ASKED[0], 'count': TIMED_TOKENS})}); "
                    "return performance.now() - begun; })()"
                )
                theirs.append(1000 * TIMED_TOKENS / spent)
            equal = count = 0
            while count < tokens:
                asked = f"{ASKED[count % len(ASKED)]} {count}"
                wanted = {"asked": asked, "count": CONVERSATION_TOKENS}
                found = evaluate(f"elman.ask('likeliest', {json.dumps(wanted)})")
                own = likeliest(decoder, tokenizer, asked, CONVERSATION_TOKENS)
                equal += sum(a == b for a, b in zip(found, own, strict=True))
                count += CONVERSATION_TOKENS
            speeds = [f"{median(theirs):.0f}", f"{median(ours):.0f}"]
            yield [kind, *speeds, *said, f"{equal:,} of {count:,}"]
            said = ["", "", ""]


def likeliest(decoder: CompiledDecoder, tokenizer: Tokenizer, asked: str, count: int) -> list[int]:
    """Return the likeliest tokens after a message, each after those before it."""
    said, message = list[int](), np.array([ROLES["user"], *tokenizer.encode(asked), END])
    logits, state = decoder.begin_reply(decoder.read([[message]], decoder.initial_state(1)))
    while len(said) < count:
        said.append(int(logits[0].argmax()))
        logits, state = decoder.step(np.array(said[-1:]), state)
    return said


def tab_memory() -> int:
    """Return the bytes that the largest process of a tab among ours has in memory."""
    parents, found = {}, {}
    for each in Path("/proc").glob("[0-9]*"):
        try:
            parents[int(each.name)] = int((each / "stat").read_text().rsplit(")", 1)[1].split()[1])
            command = (each / "cmdline").read_bytes()
            if b"--type=renderer" in command or command.rstrip(b"\0").endswith(b"tab"):
                found[int(each.name)] = int((each / "statm").read_text().split()[1]) * os.sysconf(
                    "SC_PAGESIZE"
                )
        except (OSError, IndexError):
            continue

    def is_ours(process: int) -> bool:
        while process > 1 and process != os.getpid():
            process = parents.get(process, 0)
        return process == os.getpid()

    return max((size for process, size in found.items() if is_ours(process)), default=0)


if __name__ == "__main__":
    main()
