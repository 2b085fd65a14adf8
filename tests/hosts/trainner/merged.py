"""A copy of the trainer with our folder in it, and what a user does there."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

from PIL import Image

import spanpp_core

ROOT = Path(spanpp_core.__file__).parents[1]
CONFIGS = "traiNNer/options/train/SpanPP"

AS_JSON = "import json, sys, yaml; print(json.dumps(yaml.safe_load(open(sys.argv[1]))))"

NO_GPU = """
import os, sys, types
import torch

def asked_by_the_trainer():
    return os.path.basename(sys._getframe(1).f_code.co_filename) == "train.py"

torch.cuda.is_available = asked_by_the_trainer
torch.cuda.set_per_process_memory_fraction = lambda *a, **k: None
torch.cuda.current_device = lambda: 0
torch.cuda.get_device_properties = lambda *a: types.SimpleNamespace(
    name="none", total_memory=0, major=0, minor=0, multi_processor_count=0
)
"""
"""The trainer insists on CUDA; num_gpu: 0 is enough for everything else of it."""


class Merged:
    """The trainer, its data and its configs in a folder of their own."""

    def __init__(self, folder: Path, python: str) -> None:
        self.root = folder / "trainer"
        self.python = python
        self.data = folder / "data"
        self.site = folder / "site"
        self.site.mkdir()
        (self.site / "sitecustomize.py").write_text(NO_GPU)
        photo = Image.open(spanpp_core.bundled_photo()).convert("RGB")
        for scale in (1, 2, 3, 4):
            for i in range(3):
                gt = photo.crop((i * 240, 120, i * 240 + 144, 264))
                self._save(gt, "hr", scale, i)
                side = 144 // scale
                self._save(gt.resize((side, side), Image.BICUBIC), "lr", scale, i)

    def _save(self, image: Image.Image, kind: str, scale: int, number: int) -> None:
        folder = self.data / f"x{scale}" / kind
        folder.mkdir(parents=True, exist_ok=True)
        image.save(folder / f"{number}.png")

    def pairs(self, scale: int) -> dict[str, Any]:
        folder = self.data / f"x{scale}"
        return {"dataroot_gt": str(folder / "hr"), "dataroot_lq": str(folder / "lr")}

    def config(self, kind: str, *, iterations: int, **changes: Any) -> dict[str, Any]:
        """Returns one of our configs, made small: a few steps of a small network."""
        file = f"{CONFIGS}/SpanPP_{kind}.yml"
        options = json.loads(self.run("-c", AS_JSON, file).stdout)
        options |= {"num_gpu": 0, "use_amp": False}
        options["network_g"] |= {"feature_channels": 8, "implicit_dim": 16}
        options["datasets"]["train"] |= {
            **self.pairs(4),
            "lq_size": 16,
            "batch_size_per_gpu": 2,
            "num_worker_per_gpu": 0,
            "pin_memory": False,
            "persistent_workers": False,
            "prefetch_factor": None,
        }
        options["datasets"]["val"] |= self.pairs(2)
        options["val"] |= {"val_enabled": True, "val_freq": iterations}
        options["logger"] |= {"print_freq": 1, "save_checkpoint_freq": iterations}
        options["train"]["total_iter"] = iterations
        for path, value in changes.items():
            *sections, key = path.split("__")
            section = options
            for part in sections:
                section = section[part]
            section[key] = value
        return options

    def train(
        self,
        options: dict[str, Any],
        *arguments: str,
        script: str = "traiNNer/train_spanpp.py",
    ) -> subprocess.CompletedProcess[str]:
        """Trains as a user does; the result holds what was printed."""
        file = self.root / f"{options['name']}.yml"
        file.write_text(json.dumps(options))
        return self.run(script, "-opt", file.name, *arguments)

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        path = os.pathsep.join([str(self.site), str(ROOT)])
        return subprocess.run(
            [self.python, "-W", "ignore", *arguments],
            cwd=self.root,
            env={**os.environ, "PYTHONPATH": path, "COLUMNS": "300"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )

    def experiment(self, name: str) -> Path:
        return self.root / "experiments" / name

    def log(self, name: str) -> str:
        """Returns what the trainer logged of all runs of an experiment."""
        files = sorted(self.experiment(name).glob("train_*.log"))
        return "".join(file.read_text() for file in files)
