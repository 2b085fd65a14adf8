"""Training in a real traiNNer-redux, on the CPU."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import spanpp_core
from spanpp_core.checkpoint import read, write_slim

from .merged import ITERATIONS, ROOT, Merged, scales_of


def test_the_trainers_own_config_trains_with_the_block_in_it(trainer: Merged):
    options = trainer.stock("SPAN_fidelity", iterations=8, name="stock", manual_seed=3)
    done = trainer.start("train.py", options)
    assert "End of training" in done.stdout, done.stdout
    assert set(scales_of(trainer.log("stock"))) == {1, 2, 3, 4}
    saved = read(trainer.experiment("stock") / "models/net_g_ema_8.safetensors")
    assert saved.hyper.scales == (1, 2, 3, 4)


ON_A_CPU = """
import traiNNer.models.realesrgan_model as model
plain = model.filter2d  # takes the layout that images have on a GPU only
model.filter2d = lambda image, kernel: plain(image.contiguous(), kernel)
import train
train.train_pipeline(".")
"""


def test_degradations_on_the_fly(trainer: Merged):
    options = trainer.stock("SPAN_OTF_fidelity", iterations=6, name="otf")
    options["queue_size"] = 2
    options["manual_seed"] = 3
    done = trainer.run("-c", ON_A_CPU, "-opt", trainer.write(options))
    assert "SpanPPOTFModel" in done.stdout, done.stdout
    assert "End of training" in done.stdout, done.stdout
    assert len(set(scales_of(trainer.log("otf")))) > 1


def test_trains_at_every_scale_and_validates(trainer: Merged, fidelity: str):
    log = trainer.log(fidelity)
    assert len(scales_of(log)) == ITERATIONS
    assert set(scales_of(log)) == {1, 2, 3, 4}
    assert re.search(r"# psnr *: +\d", log)
    shown = list(trainer.experiment(fidelity).glob("visualization/**/*_000012.png"))
    assert len(shown) == 3


def test_resumes_and_draws_on(trainer: Merged, fidelity: str):
    longer = trainer.config("fidelity", iterations=ITERATIONS + 4, name=fidelity)
    done = trainer.start("train.py", longer, "--auto_resume")
    assert "Resuming training from epoch: 0, iter: 12" in done.stdout, done.stdout
    at_once = trainer.config("fidelity", iterations=ITERATIONS + 4, name="at_once")
    trainer.start("train.py", at_once)
    resumed = scales_of(trainer.log(fidelity))
    assert resumed == scales_of(trainer.log("at_once"))


def test_gan_from_a_slim_file(trainer: Merged, fidelity: str):
    """GAN and LDL, whose inputs a wrapped loss would not reach."""
    trained = trainer.experiment(fidelity) / "models" / f"net_g_ema_{ITERATIONS}"
    slim = trainer.data / "slim.safetensors"
    write_slim(slim, read(trained.with_suffix(".safetensors")))
    options = trainer.config(
        "gan",
        iterations=6,
        name="gan",
        path__pretrain_network_g=str(slim),
        val__metrics={"psnr": {"type": "calculate_psnr", "crop_border": 2}},
        val__tile_size=16,
    )
    for loss in options["train"]["losses"]:
        # the perceptual loss would download its weights
        loss["loss_weight"] = {"perceptualloss": 0, "ldlloss": 1}.get(
            loss["type"], loss["loss_weight"]
        )
    done = trainer.start("train.py", options)
    assert "End of training" in done.stdout, done.stdout
    log = trainer.log("gan")
    assert len(set(scales_of(log))) > 1
    for loss in ("l_g_gan", "l_g_ldl", "l_g_mssim", "l_d_real", "l_d_fake"):
        assert log.count(f"{loss}: ") == 6
    assert read(trainer.experiment("gan") / "models/net_g_ema_6.safetensors")


SIZES = """
import json, sys
import torch
from traiNNer.models import build_model
from traiNNer.utils.config import Config
opt, _ = Config.load_config_from_file(".", is_train=True)
model = build_model(opt)
seen = []
note = lambda name: lambda module, args: seen.append(
    (name, [list(a.shape[-2:]) for a in args if torch.is_tensor(a) and a.ndim == 4])
)
model.net_d.register_forward_pre_hook(note("d"))
for name, loss in model.losses.items():
    loss.register_forward_pre_hook(note(name))
for i in range(1, 9):
    model.set_current_iter(i)
    model.feed_data({"lq": torch.rand(2, 3, 16, 16), "gt": torch.rand(2, 3, 64, 64)})
    seen.clear()
    model.optimize_parameters(i, 0, True)
    print("SEEN", json.dumps([model.opt.scale, seen]))
model.is_train = False
for height, width in ((32, 33), (48, 48), (65, 67)):
    gt, lq = torch.rand(1, 3, height, width), torch.rand(1, 3, 16, 16)
    model.feed_data({"lq": lq, "gt": gt})
    model.test()
    print("VAL", json.dumps([list(model.gt.shape), list(model.output.shape)]))
"""


def test_every_loss_and_the_discriminator_see_the_drawn_scale(trainer: Merged):
    options = trainer.config(
        "gan", iterations=1, name="sizes", path__pretrain_network_g=None
    )
    options["train"]["losses"] = [
        {"type": "l1loss", "loss_weight": 1.0},
        {"type": "ganloss", "gan_type": "vanilla", "loss_weight": 0.1},
        {"type": "ldlloss", "loss_weight": 1.0},
        {"type": "cosimloss", "loss_weight": -0.1},  # compares with the enlarged input
    ]
    done = trainer.run("-c", SIZES, "-opt", trainer.write(options))
    steps = re.findall(r"SEEN (.*)", done.stdout)
    assert len(steps) == 8, done.stdout
    drawn = set()
    for step in steps:
        scale, seen = json.loads(step)
        drawn.add(scale)
        sizes = [size for name, given in seen for size in given if name != "l_g_gan"]
        assert sizes, step
        assert all(size == [16 * scale, 16 * scale] for size in sizes), step
        assert [name for name, _ in seen].count("d") == 3, step
    assert len(drawn) > 2
    shown = [json.loads(line) for line in re.findall(r"VAL (.*)", done.stdout)]
    assert len(shown) == 3, done.stdout
    for gt, output in shown:
        assert gt == output


RATES = """
import torch
from traiNNer.models import build_model
from traiNNer.utils.config import Config
opt, _ = Config.load_config_from_file(".", is_train=True)
model = build_model(opt)
for i in range(1, 5):
    model.set_current_iter(i)
    print("RATE", i, [o.param_groups[0]["lr"] for o in model.optimizers])
    model.feed_data({"lq": torch.rand(2, 3, 16, 16), "gt": torch.rand(2, 3, 64, 64)})
    model.optimize_parameters(i, 0, True)
    model.update_learning_rate(i, warmup_iter=opt.train.warmup_iter)
"""


def test_warm_up_begins_at_the_first_iteration(trainer: Merged):
    options = trainer.config(
        "gan",
        iterations=4,
        name="rates",
        path__pretrain_network_g=None,
        train__warmup_iter=100,
        train__losses=[
            {"type": "l1loss", "loss_weight": 1.0},
            {"type": "ganloss", "gan_type": "vanilla", "loss_weight": 0.1},
        ],
    )
    done = trainer.run("-c", RATES, "-opt", trainer.write(options))
    found = re.findall(r"RATE \d \[(.*), (.*)\]", done.stdout)
    assert len(found) == 4, done.stdout
    full = options["train"]["optim_g"]["lr"]
    for rates, part in zip(found, (1, 1, 2, 3)):
        for rate in rates:
            assert float(rate) == pytest.approx(full * part / 100)


@pytest.mark.parametrize("kind", ["finetune", "gan"])
def test_first_iterations_do_not_harm_trained_weights(trainer: Merged, kind: str):
    """At the full rate ten of them took 2.8 dB from the bundled weights."""
    name = f"harm_{kind}"
    options = trainer.config(
        kind,
        iterations=10,
        name=name,
        path__pretrain_network_g=str(spanpp_core.bundled_model()),
        network_g={
            "type": "SpanPP",
            "scale_list": [1, 2, 3, 4],
            "eval_base_scale": 2,
        },
        val__metrics={"psnr": {"type": "calculate_psnr", "crop_border": 2}},
        val__val_freq=5,
    )
    for loss in options["train"]["losses"]:
        if loss["type"] == "perceptualloss":  # it would download its weights
            loss["loss_weight"] = 0
    done = trainer.start("train.py", options)
    found = [float(x) for x in re.findall(r"# psnr *: +([\d.]+)", trainer.log(name))]
    assert len(found) >= 2, done.stdout
    model = spanpp_core.load(spanpp_core.bundled_model())
    pairs = trainer.pairs(2)
    before = 0.0
    for file in sorted(Path(pairs["dataroot_lq"]).iterdir()):
        lq, gt = (
            to_tensor(Image.open(folder / file.name))
            for folder in map(Path, (pairs["dataroot_lq"], pairs["dataroot_gt"]))
        )
        made = (model(lq) * 255).round() / 255
        error = (made - gt)[..., 2:-2, 2:-2].square().mean()
        before += -10 * float(error.log10()) / 3
    assert min(found) > before - 0.02


def to_tensor(image: Image.Image) -> torch.Tensor:
    return torch.from_numpy(np.array(image)).permute(2, 0, 1)[None] / 255


def test_processes_share_the_seed_of_the_first(tmp_path: Path):
    code = f"""
import sys
sys.path.insert(0, {str(ROOT)!r})
import torch.distributed as dist
from traiNNer.utils.spanpp_scales import shared_seed
rank = int(sys.argv[1])
dist.init_process_group(
    "gloo", init_method="file://{tmp_path}/meet", rank=rank, world_size=2
)
print(shared_seed(1000 + rank))
"""
    both = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(rank)], stdout=subprocess.PIPE, text=True
        )
        for rank in range(2)
    ]
    said = [process.communicate(timeout=120)[0].strip() for process in both]
    assert said == ["1000", "1000"]
