"""The workflows we ship, run by a real chaiNNer backend."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from chainner_backend import MISSING, PYTHON, SOURCE, Backend, Graph, wait_for
from PIL import Image
from tiny import fine_tuned

import spanpp_core

pytestmark = pytest.mark.skipif(not (SOURCE and PYTHON), reason=MISSING)

WORKFLOWS = Path(__file__).parents[3] / "workflows" / "chainner"
MODEL = {"spanpp:pytorch:load_model/0": str(spanpp_core.bundled_model())}

Schemata = dict[str, dict[str, Any]]


def noise(file: Path) -> str:
    pixels = np.random.default_rng(3).integers(0, 256, (20, 26, 3), np.uint8)
    Image.fromarray(pixels).save(file)
    return str(file)


@pytest.mark.parametrize("chain", sorted(WORKFLOWS.glob("*.chn")), ids=lambda f: f.stem)
def test_every_default_is_written(schemata: Schemata, chain: Path):
    graph = Graph.open(chain, schemata, {})
    for node in graph.nodes:
        schema = schemata[node["schemaId"]]
        assert node["nodeType"] == schema["kind"]
        for item, value in zip(schema["inputs"], node["inputs"]):
            if item.get("def") is not None:
                assert value.get("value", value) is not None, (
                    f"{chain.name}: {schema['name']} lacks {item['label']}"
                )


def test_single_image(backend: Backend, schemata: Schemata, tmp_path: Path):
    given = {"chainner:image:load/0": noise(tmp_path / "photo.png"), **MODEL}
    graph = Graph.open(WORKFLOWS / "single_image.chn", schemata, given)
    assert backend.run(graph) == {"type": "success"}
    assert Image.open(tmp_path / "upscaled" / "photo.png").size == (65, 50)


def test_three_scales(backend: Backend, schemata: Schemata, tmp_path: Path):
    given = {"chainner:image:load/0": noise(tmp_path / "photo.png"), **MODEL}
    graph = Graph.open(WORKFLOWS / "three_scales.chn", schemata, given)
    assert backend.run(graph) == {"type": "success"}
    upscaled = [n["id"] for n in graph.nodes if n["schemaId"].endswith("upscale_image")]
    wait_for(lambda: len(backend.told("node-broadcast")) >= len(graph.nodes))
    shown = {e["nodeId"]: e["types"]["0"] for e in backend.told("node-broadcast")}
    widths = sorted(shown[node]["fields"]["width"] for node in upscaled)
    assert widths == [39, 52, 104]


def test_repair(backend: Backend, schemata: Schemata, tmp_path: Path):
    clean = spanpp_core.read(spanpp_core.bundled_model())
    spanpp_core.write_slim(tmp_path / "clean.safetensors", clean)
    repair = replace(clean, state_dict=fine_tuned(clean.state_dict))
    spanpp_core.write_slim(tmp_path / "clean_repair.safetensors", repair)
    given = {
        "chainner:image:load/0": noise(tmp_path / "photo.png"),
        "spanpp:pytorch:load_model/0": str(tmp_path / "clean.safetensors"),
    }
    graph = Graph.open(WORKFLOWS / "repair.chn", schemata, given)
    upscaled = [n["id"] for n in graph.nodes if n["schemaId"].endswith("upscale_image")]
    for at, node in enumerate(upscaled):
        save = {"i0": (node, 0), "i1": str(tmp_path), "i3": f"out{at}"}
        graph.add("chainner:image:save", **save)
    assert backend.run(graph) == {"type": "success"}
    photo = np.asarray(Image.open(tmp_path / "photo.png"), dtype=np.float32) / 255
    x = torch.from_numpy(photo).permute(2, 0, 1)[None]
    for at, repair in enumerate((0, 0.5, 1)):
        model = spanpp_core.load(tmp_path / "clean.safetensors", repair=repair)
        y = 255 * spanpp_core.upscale(model, x)[0].permute(1, 2, 0).numpy()
        difference = np.asarray(Image.open(tmp_path / f"out{at}.png")) - y
        assert np.abs(difference).max() <= 1


def test_folder(backend: Backend, schemata: Schemata, tmp_path: Path):
    source, out = tmp_path / "in", tmp_path / "out"
    (source / "sub").mkdir(parents=True)
    for name in ("a.png", "b.png", "sub/c.png"):
        noise(source / name)
    given = {
        "chainner:image:load_images/0": str(source),
        "chainner:image:save/1": str(out),
        **MODEL,
    }
    graph = Graph.open(WORKFLOWS / "folder.chn", schemata, given)
    assert backend.run(graph) == {"type": "success"}
    for name in ("a.png", "b.png", "sub/c.png"):
        assert Image.open(out / name).size == (52, 40)


@pytest.mark.skipif(
    os.name == "nt" or not shutil.which("ffmpeg"),
    reason="chaiNNer downloads ffmpeg; install it for this test instead",
)
def test_video(backend: Backend, schemata: Schemata, tmp_path: Path):
    storage = backend.log_file.parent / "storage" / "ffmpeg"
    storage.mkdir(parents=True, exist_ok=True)
    for program in ("ffmpeg", "ffprobe"):
        found = shutil.which(program)
        assert found
        (storage / program).symlink_to(found)
    film = tmp_path / "film.mp4"
    subprocess.run(
        ["ffmpeg", "-f", "lavfi", "-i", "testsrc=s=32x24:r=5:d=1", str(film)],  # noqa: S607
        check=True,
        capture_output=True,
    )
    given = {"chainner:image:load_video/0": str(film), **MODEL}
    graph = Graph.open(WORKFLOWS / "video.chn", schemata, given)
    assert backend.run(graph) == {"type": "success"}
    (out,) = tmp_path.glob("upscaled*")
    probe = ["ffprobe", "-v", "error", "-show_entries", "stream=width,height", "-of"]
    size = subprocess.run(
        [*probe, "csv=p=0", str(out)], check=True, capture_output=True, text=True
    )
    assert size.stdout.strip().startswith("64,48")
