"""The trainer's models, trained at many scales at once.

The trainer knows one scale, `opt.scale`, and reads it wherever it needs one. Here it is
set before each step: that of the data while they are loaded, a drawn one while the
networks run, `eval_base_scale` in validation. The ground truth is resized where it is
loaded, so every loss and the discriminator see the same one.
"""

from __future__ import annotations

from typing import Any, ClassVar

from torch import Tensor

from traiNNer import models
from traiNNer.archs.spanpp_network import SpanPPNetwork
from traiNNer.models.realesrgan_model import RealESRGANModel
from traiNNer.models.realesrgan_paired_model import RealESRGANPairedModel
from traiNNer.models.sr_model import SRModel
from traiNNer.utils.redux_options import ReduxOptions
from traiNNer.utils.spanpp_scales import drawn_scale, ground_truth_at, pair_scale
from traiNNer.utils.types import DataFeed


class ManyScales:
    """What turns one of the trainer's models into one for many scales."""

    draws_scales: ClassVar[bool] = True

    def __init__(self, opt: ReduxOptions) -> None:
        super().__init__(opt)
        network = self.get_bare_model(self.net_g)
        self.scales = network.hyper.scales
        self.eval_base_scale = network.eval_base_scale
        self.scaled = [network]
        if self.net_g_ema is not None:
            self.scaled.append(self.net_g_ema.ema_model)
        if self.net_g_teacher is not None:
            teacher = self.get_bare_model(self.net_g_teacher)
            if isinstance(teacher, SpanPPNetwork):
                teacher.scale = self.scales[-1]  # what it makes is ground truth
        self.part = 0
        self.losses_of: dict[int, tuple[Any, int]] = {}

    def set_current_iter(self, iter_: int) -> None:
        self.part = self.part + 1 if iter_ == self.current_iter else 0
        super().set_current_iter(iter_)

    def feed_data(self, data: DataFeed) -> None:
        """Takes in a batch, and the ground truth at the scale of this step."""
        training = self.is_train
        self.opt.scale = self.scales[-1] if training else self.eval_base_scale
        super().feed_data(data)
        scale = self.eval_base_scale
        if training:
            seed = self.opt.manual_seed
            scale = drawn_scale(seed, self.current_iter, self.part, self.scales)
        elif self.gt is not None:
            self.gt = self._paired(self.gt)
        self.opt.scale = scale
        for network in self.scaled:
            network.scale = scale
        self.gt = self._at(scale, self.gt)
        self._real_hr = self._at(scale, self._real_hr)

    def _at(self, scale: int, gt: Tensor | None) -> Tensor | None:
        return None if gt is None else ground_truth_at(scale, gt, self.lq.shape[-2:])

    def _paired(self, gt: Tensor) -> Tensor:
        """Crops the ground truth of validation to a multiple of the image it belongs to.

        Raises:
            ValueError: It is smaller than what the network makes.
        """
        height, width = self.lq.shape[-2:]
        found = pair_scale(gt.shape[-2:], (height, width))
        if found is None or found < self.eval_base_scale:
            raise ValueError(
                f"validation at x{self.eval_base_scale} met a pair of {width}x{height}"
                f" and {gt.shape[-1]}x{gt.shape[-2]} pixels; give pairs at"
                f" eval_base_scale or at a larger whole scale"
            )
        return gt[..., : height * found, : width * found]

    def optimize_parameters(self, *args: Any) -> None:
        """One step, and the loss of its scale for the log."""
        before = self.log_dict.get("l_g_total", 0)
        super().optimize_parameters(*args)
        images = len(self.gt)
        loss = self.log_dict.get("l_g_total", 0) - before
        total, seen = self.losses_of.get(self.opt.scale, (0, 0))
        self.losses_of[self.opt.scale] = (total + loss, seen + images)

    def get_current_log(self) -> dict[str, Any]:
        log = super().get_current_log()
        for scale, (total, images) in sorted(self.losses_of.items()):
            log[f"l_g_x{scale}"] = total / images
        return log

    def reset_current_log(self) -> None:
        super().reset_current_log()
        self.losses_of = {}


class SpanPPModel(ManyScales, SRModel):
    """Training from pairs, or from ground truth alone."""


class SpanPPOTFModel(ManyScales, RealESRGANModel):
    """Training with degradations made on the fly."""


class SpanPPOTFPairedModel(ManyScales, RealESRGANPairedModel):
    """Training with degradations made on the fly, and pairs now and then."""


def install() -> None:
    """Lets the trainer build these models; its `build_model` looks them up there."""
    models.SRModel = SpanPPModel
    models.RealESRGANModel = SpanPPOTFModel
    models.RealESRGANPairedModel = SpanPPOTFPairedModel
