"""A real ComfyUI server over a throw-away folder, and its HTTP API."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

PACK = Path(__file__).resolve().parents[3]
"""The pack under test: the root of this repository."""

PACK_NAME = "spanpp"
"""Its folder's name under ``custom_nodes``."""

START_SECONDS = 180
RUN_SECONDS = 300


class ComfyServer:
    """One running server. ``base`` holds its models, input, output and custom nodes."""

    def __init__(
        self, comfy: Path, python: str, base: Path, second_copy: str | None = None
    ) -> None:
        """Lays out ``base``; ``second_copy`` names another folder with the same pack."""
        self.comfy = comfy
        self.base = base
        self.log_path = base / "server.log"
        self.python = python
        self._port = _free_port()
        self._lay_out()
        if second_copy:
            (base / "custom_nodes" / second_copy).symlink_to(PACK)

    def _lay_out(self) -> None:
        for folder in ("custom_nodes", "output", "user", "models/upscale_models"):
            (self.base / folder).mkdir(parents=True, exist_ok=True)
        shutil.copytree(self.comfy / "input", self.base / "input")
        (self.base / "custom_nodes" / PACK_NAME).symlink_to(PACK)
        shutil.copytree(
            Path(__file__).with_name("helper_pack"),
            self.base / "custom_nodes" / "spanpp_test_helpers",
        )

    def start(self) -> None:
        """Starts the server and waits until it answers.

        Raises:
            RuntimeError: It ended or did not answer in time; the log's end is given.
        """
        options = {
            "--listen": "127.0.0.1",
            "--port": str(self._port),
            "--base-directory": str(self.base),
            "--database-url": f"sqlite:///{self.base}/user/comfyui.db",
        }
        flags = ["--cpu", "--disable-auto-launch", "--disable-api-nodes"]
        pairs = [part for pair in options.items() for part in pair]
        with self.log_path.open("wb") as log:
            self._process = subprocess.Popen(
                [self.python, "main.py", *flags, *pairs],
                cwd=self.comfy,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, "PYTHONUNBUFFERED": "1"},
            )
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline and self._process.poll() is None:
            try:
                self.get("/system_stats")
            except OSError:
                time.sleep(0.5)
            else:
                return
        self.stop()
        raise RuntimeError(f"ComfyUI did not start:\n{self.log()[-4000:]}")

    def stop(self) -> None:
        """Ends the server."""
        self._process.terminate()
        try:
            self._process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def kill(self) -> None:
        """Ends the server at once, as a crash does."""
        self._process.kill()
        self._process.wait()

    def log(self) -> str:
        """Returns what the server has written so far."""
        return self.log_path.read_text(encoding="utf-8", errors="replace")

    def get(self, path: str) -> Any:
        """Returns the JSON answer of a GET request."""
        return json.loads(self.read(path))

    def read(self, path: str) -> bytes:
        """Returns the body of a GET request."""
        with urllib.request.urlopen(self._url(path), timeout=30) as answer:  # noqa: S310
            return answer.read()

    def post(self, path: str, body: Any) -> Any:
        """Returns the JSON answer of a POST request, also of a refused one."""
        request = urllib.request.Request(  # noqa: S310
            self._url(path),
            data=json.dumps(body).encode(),
            headers={"Content-Type": "application/json"},
        )
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310
                text = answer.read()
        except urllib.error.HTTPError as refused:
            text = refused.read()
        return json.loads(text) if text else None

    def queue(self, prompt: dict[str, Any]) -> str:
        """Queues a prompt and returns its id.

        Raises:
            AssertionError: The server refused the prompt, or a part of it.
        """
        answer = self.post("/prompt", {"prompt": prompt})
        assert not answer.get("node_errors"), json.dumps(answer, indent=1)
        assert "prompt_id" in answer, json.dumps(answer, indent=1)
        return answer["prompt_id"]

    def wait(self, prompt_id: str, seconds: float = RUN_SECONDS) -> dict[str, Any]:
        """Waits for a queued prompt to end and returns its history entry."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            history = self.get(f"/history/{prompt_id}")
            if prompt_id in history:
                return history[prompt_id]
            time.sleep(0.05)
        raise TimeoutError(f"prompt not done in {seconds} s:\n{self.log()[-2000:]}")

    def run(self, prompt: dict[str, Any]) -> dict[str, Any]:
        """Runs a prompt to success and returns its history entry.

        Raises:
            AssertionError: It failed; the message is the one on the node.
        """
        entry = self.wait(self.queue(prompt))
        assert messages_of(entry, "execution_success"), json.dumps(entry["status"])
        return entry

    def failure(self, prompt: dict[str, Any]) -> str:
        """Runs a prompt that must fail and returns the sentence shown on the node."""
        entry = self.wait(self.queue(prompt))
        errors = messages_of(entry, "execution_error")
        assert errors, f"expected an error, got {json.dumps(entry['status'])}"
        return errors[0]["exception_message"].strip()

    def saved_files(self, entry: dict[str, Any], node: str) -> list[Path]:
        """Returns the files that a node of a finished prompt wrote."""
        folders = {"output": self.base / "output", "temp": self.base / "temp"}
        return [
            folders[file["type"]] / file["subfolder"] / file["filename"]
            for file in entry["outputs"][node]["images"]
        ]

    def peak_memory(self) -> int:
        """Returns the most memory the server process has held so far, in bytes."""
        return self._memory("VmHWM")

    def memory(self) -> int:
        """Returns the memory the server process holds now, in bytes."""
        return self._memory("VmRSS")

    def reset_peak_memory(self) -> None:
        """Starts `peak_memory` anew from the memory held now."""
        Path(f"/proc/{self._process.pid}/clear_refs").write_text("5")

    def _memory(self, field: str) -> int:
        status = Path(f"/proc/{self._process.pid}/status").read_text()
        line = next(line for line in status.splitlines() if line.startswith(field))
        return int(line.split()[1]) * 1024

    def _url(self, path: str) -> str:
        return f"http://127.0.0.1:{self._port}{path}"


def messages_of(entry: dict[str, Any], kind: str) -> list[dict[str, Any]]:
    """Returns the messages of one kind in a history entry."""
    return [data for name, data in entry["status"]["messages"] if name == kind]


def executed_nodes(entry: dict[str, Any], prompt: dict[str, Any]) -> set[str]:
    """Returns the ids of the nodes that ran rather than came from the cache."""
    cached = {
        node
        for data in messages_of(entry, "execution_cached")
        for node in data["nodes"]
    }
    return set(prompt) - cached


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
