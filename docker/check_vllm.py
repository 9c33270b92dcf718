"""In the image `figa-vllm`: its server answers the health check, and generates with the sandbox's base model.

`make images` runs it. It fails unless the answers have the tokens that were asked for, and the key is wanted.
"""

import json
import os
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

PROMPTS, TOKENS = ["Hello", "What is a list?", "Why?"], 12
KEY = "key-of-the-check"
START_S = 900.0
COMMAND = ("python", "-m", "figa_core.inference.vllm_server", "--enforce-eager")
"""As in the image's entry point."""
MIDDLEWARE = ("--middleware", "figa_core.inference.vllm_key.RequireKey")


def main() -> None:
    """Raises AssertionError if the server does not do what it is for."""
    [model] = Path("/data/sandbox").glob("*/base")
    port = _free_port()
    options = [
        "--model",
        str(model),
        "--generation-config",
        "vllm",
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
    ]
    environment = {"VLLM_API_KEY": KEY, "VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_CPU_OMP_THREADS_BIND": "nobind"}
    server = subprocess.Popen([*COMMAND, *MIDDLEWARE, *options], env=os.environ | environment)
    url = f"http://127.0.0.1:{port}"
    try:
        began = time.monotonic()
        while not _healthy(url):
            assert server.poll() is None, f"the server ended with exit code {server.returncode}"
            assert time.monotonic() - began < START_S, f"no answer from {url}/health in {START_S:.0f} s"
            time.sleep(0.5)
        ready = time.monotonic() - began
        body = {"model": str(model), "prompt": PROMPTS, "max_tokens": TOKENS, "ignore_eos": True}
        answer = _ask(f"{url}/v1/completions", body, KEY)
        assert len(answer["choices"]) == len(PROMPTS), answer
        assert answer["usage"]["completion_tokens"] == len(PROMPTS) * TOKENS, answer
        assert _status(f"{url}/v1/completions", body, "another") == 401, "it answered without the key"
    finally:
        server.send_signal(signal.SIGTERM)
        server.wait(60)
    print(f"vLLM's server: ready after {ready:.0f} s, {len(PROMPTS) * TOKENS} tokens generated, key wanted")


def _healthy(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/health", timeout=10):
            return True
    except OSError:
        return False


def _ask(url: str, body: object, key: str) -> Any:
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {key}"}
    request = urllib.request.Request(url, json.dumps(body).encode(), headers)
    with urllib.request.urlopen(request, timeout=120) as answered:
        return json.load(answered)


def _status(url: str, body: object, key: str) -> int:
    try:
        _ask(url, body, key)
    except urllib.error.HTTPError as error:
        return error.code
    return 200


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


if __name__ == "__main__":
    main()
