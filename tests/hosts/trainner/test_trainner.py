"""Training in a real traiNNer-redux, on the CPU."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from PIL import Image

import spanpp_core
from spanpp_core.checkpoint import read, write_slim

from .merged import ROOT, Merged

ITERATIONS = 12


def test_no_file_of_the_trainer_is_overwritten(trainer: Merged):
    checkout = Path(os.environ["TRAINNER_DIR"])
    ours = [p for p in (ROOT / "traiNNer").rglob("*") if p.suffix in {".py", ".yml"}]
    assert len(ours) >= 30
    for file in ours:
        place = checkout / file.relative_to(ROOT)
        assert not place.exists(), f"the trainer has a {place} now: rename ours"


def test_nothing_is_installed_but_the_trainer(trainer: Merged):
    done = trainer.run("-c", "import spanpp_core")
    assert "No module named 'spanpp_core'" in done.stdout, (
        "spanpp is installed beside the trainer: the merged folder is not tested alone"
    )


def test_configs_are_in_the_trainers_format(trainer: Merged):
    files = sorted((ROOT / "traiNNer/options").rglob("*.yml"))
    assert len(files) == 5
    code = """
import sys
from traiNNer.utils.options import yaml_load
for file in sys.argv[1:]:
    print("SCALE", yaml_load(file)[0].scale)
"""
    done = trainer.run("-c", code, *map(str, files))
    assert done.stdout.count("SCALE 4") == len(files), done.stdout


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


@pytest.fixture(scope="module")
def fidelity(trainer: Merged) -> str:
    options = trainer.config("fidelity", iterations=ITERATIONS, name="fidelity")
    done = trainer.start("train.py", options)
    assert "End of training" in done.stdout, done.stdout
    return "fidelity"


def scales_of(log: str) -> list[int]:
    """Returns the scale of every iteration."""
    return [int(scale) for scale in re.findall(r"l_g_x(\d): ", log)]


def test_trains_at_every_scale_and_validates(trainer: Merged, fidelity: str):
    log = trainer.log(fidelity)
    assert len(scales_of(log)) == ITERATIONS
    assert set(scales_of(log)) == {1, 2, 3, 4}
    assert re.search(r"# psnr *: +\d", log)
    shown = list(trainer.experiment(fidelity).glob("visualization/**/*_000012.png"))
    assert len(shown) == 3


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


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"scale": 3}, "scale is 3 and the largest of scale_list is 4"),
        ({"network_g__scale_list": []}, "scale_list is []; give a list"),
        ({"network_g__eval_base_scale": 5}, "eval_base_scale is 5; give one of"),
        (
            {"pairs": 3},
            "datasets.train: 0.png: 144x144 of a low-resolution 48x48 is x3",
        ),
        ({"val_pairs": 1}, "datasets.val: 0.png: 144x144 of a low-resolution 144x144"),
        ({"path__pretrain_network_g": "no.pth"}, "no.pth: no such file"),
        ({"path__pretrain_network_g": "bundled"}, "network_g.feature_channels is 8"),
    ],
)
def test_wrong_configs_are_one_line(trainer: Merged, changes, says):
    changes = dict(changes)
    pairs, val_pairs = changes.pop("pairs", None), changes.pop("val_pairs", None)
    if changes.get("path__pretrain_network_g") == "bundled":
        changes["path__pretrain_network_g"] = str(spanpp_core.bundled_model())
    options = trainer.config("fidelity", iterations=1, name="wrong", **changes)
    if pairs:
        options["datasets"]["train"] |= trainer.pairs(pairs)
    if val_pairs:
        options["datasets"]["val"] |= trainer.pairs(val_pairs)
    done = trainer.start("train.py", options)
    assert done.returncode == 1, done.stdout
    *_, last = done.stdout.strip().splitlines()
    assert last.startswith("wrong.yml: ")
    assert says in last
    assert "Traceback" not in done.stdout


def test_an_unknown_option_is_named(trainer: Merged):
    options = trainer.config(
        "fidelity", iterations=1, name="unknown", network_g__norm=True
    )
    done = trainer.start("train.py", options)
    assert "got an unexpected keyword argument 'norm'" in done.stdout


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


def test_the_trainers_own_tests_of_architectures_pass(trainer: Merged):
    tests = "tests/test_archs/test_archs.py"
    done = trainer.run("-m", "pytest", "-q", tests, "-k", "spanpp")
    assert "8 passed" in done.stdout, done.stdout


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
