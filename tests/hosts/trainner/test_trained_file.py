"""What a real traiNNer-redux trained: read by others, tested in tiles, exported."""

from __future__ import annotations

import re

import onnxruntime
import pytest
import torch
from PIL import Image

import spanpp_core
from spanpp_core.checkpoint import read

from .merged import ITERATIONS, Merged


def test_saves_what_others_read(trainer: Merged, fidelity: str):
    models = trainer.experiment(fidelity) / "models"
    average = models / f"net_g_ema_{ITERATIONS}.safetensors"
    latest = models / "resume_models" / f"net_g_{ITERATIONS}.safetensors"
    found = [read(file) for file in (average, latest)]
    for checkpoint in found:
        assert checkpoint.kind == "training"
        assert checkpoint.hyper.scales == (1, 2, 3, 4)
        assert checkpoint.hyper.channels == 8
        assert checkpoint.stale_caches == ()
    name = "conv_2.conv_3x3_rep.weight"
    assert not torch.equal(found[0].state_dict[name], found[1].state_dict[name])
    model = spanpp_core.load(average)
    assert model.at_scale(3).model(torch.rand(1, 3, 9, 9)).shape == (1, 3, 27, 27)


def trained_file(trainer: Merged, name: str) -> str:
    return str(trainer.experiment(name) / f"models/net_g_ema_{ITERATIONS}.safetensors")


def test_tiles_give_the_results_of_whole_images(trainer: Merged, fidelity: str):
    shown: list[list[bytes]] = []
    for tile in (0, 20):
        options = trainer.config(
            "test",
            name=f"tiles{tile}",
            path__pretrain_network_g=trained_file(trainer, fidelity),
            val__tile_size=tile,
            val__metrics_enabled=True,
            datasets__val={
                **trainer.pairs(4),
                "name": "v",
                "type": "pairedimagedataset",
            },
        )
        done = trainer.start("test.py", options)
        assert re.search(r"# psnr *: +\d", done.stdout), done.stdout
        images = sorted((trainer.root / f"results/tiles{tile}").rglob("*.png"))
        with_size = [Image.open(image) for image in images]
        assert [image.size for image in with_size] == [(72, 72)] * 3
        shown.append([image.tobytes() for image in with_size])
    assert shown[0] == shown[1]


@pytest.mark.parametrize(("dynamo", "scales"), [(False, (1, 2, 3, 4)), (True, (3,))])
def test_one_onnx_file_for_each_scale(
    trainer: Merged, fidelity: str, dynamo: bool, scales: tuple[int, ...]
):
    if trainer.run("-c", "import modelopt.onnx, onnxslim").returncode:
        pytest.skip(
            "the trainer's packages for ONNX are not installed: its extra [onnx]"
        )
    file = trained_file(trainer, fidelity)
    model = spanpp_core.load(file)
    image = torch.rand(1, 3, 19, 24)
    for scale in scales:
        name = f"{scale}x_{'dynamo' if dynamo else 'traced'}"
        options = trainer.config(
            "onnx",
            name=name,
            path__pretrain_network_g=file,
            network_g__eval_base_scale=scale,
            onnx__dynamo=dynamo,
            onnx__verify=False,
        )
        done = trainer.start("convert_to_onnx.py", options)
        (written,) = (trainer.root / "onnx").glob(f"{name}_*.onnx")
        session = onnxruntime.InferenceSession(written)
        (made,) = session.run(None, {"input": image.numpy()})
        wanted = model.at_scale(scale).model(image)
        torch.testing.assert_close(
            torch.from_numpy(made), wanted, rtol=1e-4, atol=1e-5, msg=done.stdout
        )
