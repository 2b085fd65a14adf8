"""A real chaiNNer backend on a throw-away Python, driven over HTTP."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

SOURCE = os.environ.get("CHAINNER_SRC")
PYTHON = os.environ.get("CHAINNER_PYTHON")
MISSING = (
    "set CHAINNER_SRC to the root of a chaiNNer source tree and CHAINNER_PYTHON to a"
    " Python with chaiNNer's dependencies, setuptools below 81, and onnxscript if its"
    " PyTorch is 2.9 or newer"
)
COMMAND = "from spanpp_core.command import main; main()"
PATIENCE = 300  # seconds: two busy cores start chaiNNer slowly


def sends_progress() -> bool:
    """Whether this chaiNNer tells the editor about progress within a node.

    v0.25.1 takes it from the node and sends it nowhere.
    """
    assert SOURCE
    process = Path(SOURCE) / "backend" / "src" / "process.py"
    return "send_progress" in process.read_text("utf-8")


def throwaway_python(folder: Path) -> Path:
    """Returns a new Python that sees every package of CHAINNER_PYTHON but owns none."""
    assert PYTHON
    subprocess.run([PYTHON, "-m", "venv", "--without-pip", str(folder)], check=True)
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    link = site_packages(python) / "chainner_dependencies.pth"
    link.write_text(f"{site_packages(PYTHON)}\n")
    return python


def site_packages(python: str | Path) -> Path:
    find = "import sysconfig; print(sysconfig.get_path('purelib'))"
    done = subprocess.run(
        [str(python), "-c", find], capture_output=True, text=True, check=True
    )
    return Path(done.stdout.strip())


def spanpp_chainner(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Runs our own command, ``spanpp chainner ...``."""
    return subprocess.run(
        [sys.executable, "-c", COMMAND, "chainner", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
    )


@dataclass
class Backend:
    """A running backend. Every graph is run on the CPU."""

    url: str
    log_file: Path
    process: subprocess.Popen[bytes]
    events: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    """What the backend told the editor since `run` was last called."""

    @property
    def log(self) -> str:
        return self.log_file.read_text(errors="replace")

    def get(self, path: str) -> Any:
        with urllib.request.urlopen(self.url + path, timeout=PATIENCE) as response:
            return json.load(response)

    def post(self, path: str, body: object = None) -> Any:
        request = urllib.request.Request(
            self.url + path,
            json.dumps(body).encode(),
            {"Content-Type": "application/json"},
        )
        try:
            with urllib.request.urlopen(request, timeout=PATIENCE) as response:
                return json.load(response)
        except urllib.error.HTTPError as error:
            return json.load(error)

    def run(self, graph: Graph, *, experimental: bool = False) -> dict[str, Any]:
        """Runs a graph to its end and returns the backend's answer."""
        self.events.clear()
        body = {
            "data": graph.nodes,
            "options": {"chaiNNer_pytorch": {"use_cpu": True}},
            "sendBroadcastData": True,
            "useExperimentalFeatures": experimental,
        }
        return self.post("/run", body)

    def run_individual(self, graph: Graph, node: str) -> dict[str, Any]:
        """Runs one node whose inputs are all values, as the editor does for previews."""
        found = next(n for n in graph.nodes if n["id"] == node)
        body = {
            "id": node,
            "schemaId": found["schemaId"],
            "inputs": [value["value"] for value in found["inputs"]],
            "options": {"chaiNNer_pytorch": {"use_cpu": True}},
        }
        return self.post("/run/individual", body)

    def told(self, event: str) -> list[dict[str, Any]]:
        """Returns the data of all events of one kind since the last run."""
        return [data for name, data in list(self.events) if name == event]

    def listen(self) -> None:
        """Collects events in the background for as long as the backend lives."""

        def collect() -> None:
            # again after the worker was restarted, until the backend is shut down
            while self.process.poll() is None:
                with suppress(OSError, http.client.HTTPException):
                    self._collect()
                time.sleep(0.2)

        threading.Thread(target=collect, daemon=True).start()

    def _collect(self) -> None:
        with urllib.request.urlopen(self.url + "/sse") as stream:
            name = ""
            for raw in stream:
                line = raw.decode().rstrip("\n")
                if line.startswith("event: "):
                    name = line[len("event: ") :]
                elif line.startswith("data: "):
                    data = json.loads(line[len("data: ") :])
                    self.events.append((name, data))


def wait_for(condition: Callable[[], bool]) -> None:
    """Waits for what the backend tells: events may come after the answer."""
    deadline = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < deadline, "waited two minutes for nothing"
        time.sleep(0.05)


class Graph:
    """A graph in the form the backend takes, its inputs named by their ids."""

    def __init__(self, schemata: dict[str, dict[str, Any]]) -> None:
        self.schemata = schemata
        self.nodes: list[dict[str, Any]] = []

    def add(self, schema_id: str, **inputs: Any) -> str:
        """Adds a node and returns its id; ``i3=...`` gives the input with id 3.

        An input that is not given has its default. An edge is a tuple (node, output id).
        """
        schema = self.schemata[schema_id]
        values = [
            self._input(inputs.pop(f"i{item['id']}", item.get("def")))
            for item in schema["inputs"]
        ]
        assert not inputs, f"{schema_id} has no inputs {sorted(inputs)}"
        node = str(uuid.uuid4())
        self.nodes.append(
            {
                "id": node,
                "schemaId": schema_id,
                "inputs": values,
                "nodeType": schema["kind"],
            }
        )
        return node

    @staticmethod
    def open(
        chain: Path, schemata: dict[str, dict[str, Any]], given: dict[str, Any]
    ) -> Graph:
        """Reads a .chn file as the editor does, and gives the inputs it asks for.

        Args:
            chain: The file.
            schemata: The schema of each node, by its id.
            given: Values of inputs, by "schema id/input id".
        """
        content = json.loads(chain.read_text("utf-8"))["content"]
        sources = {
            edge["targetHandle"]: edge["sourceHandle"] for edge in content["edges"]
        }
        graph = Graph(schemata)
        graph.nodes = [
            {"id": n["id"], "schemaId": n["data"]["schemaId"], "nodeType": n["type"]}
            for n in content["nodes"]
        ]
        for node, saved in zip(graph.nodes, content["nodes"]):
            values: list[dict[str, Any]] = []
            for item in schemata[node["schemaId"]]["inputs"]:
                source = sources.get(f"{node['id']}-{item['id']}")
                if source is not None:
                    values.append(graph._input((source[:36], int(source[37:]))))
                    continue
                value = given.get(f"{node['schemaId']}/{item['id']}")
                saved_value = saved["data"]["inputData"].get(str(item["id"]))
                values.append(graph._input(saved_value if value is None else value))
            node["inputs"] = values
        return graph

    def _input(self, value: Any) -> dict[str, Any]:
        if not isinstance(value, tuple):
            return {"type": "value", "value": value}
        source, output = value
        schema_id = next(n["schemaId"] for n in self.nodes if n["id"] == source)
        outputs = [item["id"] for item in self.schemata[schema_id]["outputs"]]
        return {"type": "edge", "id": source, "index": outputs.index(output)}


@contextmanager
def running_backend(python: Path, folder: Path) -> Iterator[Backend]:
    """Starts chaiNNer's backend, waits until it is ready, and stops it at the end."""
    assert SOURCE
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    folder.mkdir(parents=True)
    log_file = folder / "backend.log"
    # without PYTHONPATH: what is imported is what was installed
    inherited = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    environment = inherited | {
        "TYPE_CHECK_LEVEL": "error",
        "NAME_CHECK_LEVEL": "error",
        "OMP_NUM_THREADS": "1",
        "PYTHONUNBUFFERED": "1",
        # chaiNNer keeps its logs there, whatever its storage folder is
        **dict.fromkeys(("HOME", "APPDATA", "USERPROFILE"), str(folder)),
    }
    with log_file.open("w") as log:
        process = subprocess.Popen(
            [python, "run.py", str(port), "--storage-dir", str(folder / "storage")],
            cwd=Path(SOURCE) / "backend" / "src",
            env=environment,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        backend = Backend(f"http://127.0.0.1:{port}", log_file, process)
        try:
            _wait_until_ready(backend)
            backend.listen()
            yield backend
        finally:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _wait_until_ready(backend: Backend) -> None:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline and backend.process.poll() is None:
        try:
            if backend.get("/status")["ready"]:
                return
        except OSError:
            pass  # not listening yet
        time.sleep(0.2)
    raise AssertionError(f"chaiNNer's backend did not become ready:\n{backend.log}")
