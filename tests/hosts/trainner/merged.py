"""A copy of the trainer with our folder in it, and what a user does there."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any

from PIL import Image

import spanpp_core

ROOT = Path(spanpp_core.__file__).parents[1]

ITERATIONS = 12
"""Of the run that several tests look at."""

AS_JSON = "import json, sys, yaml; print(json.dumps(yaml.safe_load(open(sys.argv[1]))))"

NO_GPU = """
import os, sys, types
import torch

def asked_by_the_trainer():
    return os.path.basename(sys._getframe(1).f_code.co_filename) == "train.py"

torch.cuda.is_available = asked_by_the_trainer
torch.cuda.set_per_process_memory_fraction = lambda *a, **k: None
randn = torch.randn
torch.randn = lambda *size, **options: randn(*size, **{**options, "device": "cpu"})
torch.cuda.current_device = lambda: 0
torch.nn.Module.cuda = torch.Tensor.cuda = lambda self, *a: self
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

    def config(
        self, kind: str, *, iterations: int = 0, **changes: Any
    ) -> dict[str, Any]:
        """Returns one of our configs, made small: a few steps of a small network."""
        folder = kind if kind in ("test", "onnx") else "train"
        suffix = "" if folder == kind else f"_{kind}"
        file = f"traiNNer/options/{folder}/SpanPP/SpanPP{suffix}.yml"
        options = self.read(file)
        options["network_g"] |= {"feature_channels": 8, "implicit_dim": 16}
        return self.small(options, iterations=iterations, **changes)

    def stock(
        self, template: str, *, iterations: int, **changes: Any
    ) -> dict[str, Any]:
        """Returns a config of the trainer with SpanPP's block in it, made small."""
        options = self.read(f"options/_templates/train/SPAN/{template}.yml")
        options["scale"] = 4
        options["network_g"] = {
            "type": "SpanPP",
            "scale_list": [1, 2, 3, 4],
            "eval_base_scale": 2,
        }
        return self.small(options, iterations=iterations, **changes)

    def read(self, file: str) -> dict[str, Any]:
        return json.loads(self.run("-c", AS_JSON, file).stdout)

    def small(
        self, options: dict[str, Any], *, iterations: int, **changes: Any
    ) -> dict[str, Any]:
        """Returns a config for the CPU and our data, with changes by ``a__b__c``."""
        options |= {"num_gpu": 0}
        if "use_amp" in options:
            options["use_amp"] = False
        for name, dataset in options.get("datasets", {}).items():
            dataset.update(self.pairs(4 if name == "train" else 2))
            if name == "train":
                dataset.update(
                    lq_size=16,
                    batch_size_per_gpu=2,
                    num_worker_per_gpu=0,
                    pin_memory=False,
                    persistent_workers=False,
                    prefetch_factor=None,
                )
        if "train" in options:
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

    def start(
        self, script: str, options: dict[str, Any], *arguments: str
    ) -> subprocess.CompletedProcess[str]:
        """Runs a script of the trainer as a user does; returns what was printed."""
        return self.run(script, "-opt", self.write(options), *arguments)

    def write(self, options: dict[str, Any]) -> str:
        """Writes a config and returns its name in the trainer's folder."""
        file = f"{options['name']}.yml"
        # JSON is YAML but for numbers: there 2e-05 is a string, and 2.0e-05 is not
        text = re.sub(r"(?<![\d.])(\d+)e-", r"\1.0e-", json.dumps(options))
        (self.root / file).write_text(text)
        return file

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Runs Python in the trainer's folder, where our package is not installed."""
        return subprocess.run(
            [self.python, "-W", "ignore", *arguments],
            cwd=self.root,
            env={**os.environ, "PYTHONPATH": str(self.site), "COLUMNS": "300"},
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


def scales_of(log: str) -> list[int]:
    """Returns the scale of every iteration."""
    return [int(scale) for scale in re.findall(r"l_g_x(\d): ", log)]
