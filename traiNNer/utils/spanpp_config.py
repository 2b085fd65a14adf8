"""What can be wrong with a config for SpanPP, said before the first iteration.

Each check takes the trainer's options and raises ValueError with one line: what was
given, what was expected, what to do.
"""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import pyvips

from traiNNer.archs.spanpp_arch import SpanPP
from traiNNer.spanpp_core.checkpoint import read
from traiNNer.spanpp_core.errors import CheckpointError
from traiNNer.utils.config import Config
from traiNNer.utils.redux_options import DatasetOptions, ReduxOptions
from traiNNer.utils.registry import DATASET_REGISTRY
from traiNNer.utils.spanpp_scales import checked_eval_scale, checked_scales, wrong_pair

PAIRS_LOOKED_AT = 8
"""Of each data set: the sizes in a few headers tell its scale."""


@functools.cache
def check_loaded() -> None:
    """Checks the config of the trainer's run, once; ends the run if it is wrong.

    Nothing is checked where SpanPP is a teacher only.
    """
    opt, args = Config.get_config()
    if str((opt.network_g or {}).get("type")).lower() != "spanpp":
        return
    try:
        check(opt)
    except ValueError as error:
        sys.exit(f"{args.opt if args else 'config'}: {error}")


def check(opt: ReduxOptions) -> None:
    """Checks everything that can be told before the networks are built.

    Raises:
        ValueError: What is wrong, in one line.
    """
    network = opt.network_g or {}
    scales = checked_scales(network.get("scale_list"), opt.scale)
    eval_scale = checked_eval_scale(network.get("eval_base_scale"), scales)
    validates = opt.val is not None and opt.val.val_enabled
    for phase, dataset in opt.datasets.items():
        training = phase == "train"
        if dataset.type.lower() == "pairedimagedataset" and (training or validates):
            for line in _wrong_pairs(dataset, training, opt.scale, eval_scale):
                raise ValueError(f"datasets.{phase}: {line}")
    if opt.path.pretrain_network_g and not _resumes(opt):
        _check_pretrained(Path(opt.path.pretrain_network_g), network)


def _wrong_pairs(
    dataset: DatasetOptions, training: bool, scale: int, eval_scale: int
) -> Iterator[str]:
    """Yields what is wrong with the pairs of a data set."""
    try:
        paths = DATASET_REGISTRY.get(dataset.type)(deepcopy(dataset)).paths
    except (AssertionError, OSError, ValueError) as error:
        yield str(error)
        return
    if not paths:
        yield "there are no pairs of images; check dataroot_gt and dataroot_lq"
        return
    for pair in paths[:: max(1, len(paths) // PAIRS_LOOKED_AT)]:
        gt, lq = Path(pair["gt_path"]), Path(pair["lq_path"])
        if not (gt.is_file() and lq.is_file()):
            continue  # a key of a data base
        line = wrong_pair(_size(gt), _size(lq), training, scale, eval_scale)
        if line:
            yield f"{gt.name}: {line}"


def _size(path: Path) -> tuple[int, int]:
    image: Any = pyvips.Image.new_from_file(str(path))
    return image.height, image.width


def _resumes(opt: ReduxOptions) -> bool:
    """Whether the weights come from a training state, and no other file is read."""
    if not opt.auto_resume:
        return bool(opt.path.resume_state)
    return any(Path(opt.path.training_states or "").glob("*.state"))


def _check_pretrained(path: Path, network: dict[str, Any]) -> None:
    """Checks that a file fits the network, but for its scales, which may differ."""
    if path.suffix not in {".safetensors", ".pth"}:
        raise ValueError(
            f"pretrain_network_g is {path}; the trainer reads .safetensors and .pth;"
            " `spanpp export --format safetensors` makes the first of any SpanPP file"
        )
    try:
        found = read(path).hyper
    except CheckpointError as error:
        raise ValueError(f"pretrain_network_g: {error}") from error
    parameters = inspect.signature(SpanPP).parameters
    for option, value in (
        ("num_in_ch", found.in_channels),
        ("feature_channels", found.channels),
        ("ig_kernel_size", found.kernel_size),
        ("implicit_dim", found.implicit_dim),
        ("latent_layers", found.latent_layers),
    ):
        asked = network.get(option, parameters[option].default)
        if asked != value:
            raise ValueError(
                f"network_g.{option} is {asked} and {path} has {value}; set it to"
                f" {value}, or train from scratch"
            )
