"""The trainer's models, trained at many scales at once.

The trainer builds one of its models, which builds its network. When that network is
SpanPP, the model becomes a subclass of what it was: `install` does that. The trainer knows
one scale, `opt.scale`, and reads it wherever it needs one. The subclass sets it before each
step: that of the data while they are loaded, a drawn one while the networks run,
`eval_base_scale` in validation. The ground truth is resized where it is loaded, so every
loss and the discriminator see the same one.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from traiNNer.archs.spanpp_network import SpanPPNetwork
from traiNNer.models.realesrgan_model import RealESRGANModel
from traiNNer.models.realesrgan_paired_model import RealESRGANPairedModel
from traiNNer.models.sr_model import SRModel
from traiNNer.utils.spanpp_scales import (
    drawn_scale,
    ground_truth_at,
    pair_scale,
    shared_seed,
)
from traiNNer.utils.types import DataFeed


class ManyScales:
    """What turns one of the trainer's models into one for many scales."""

    def begin(self, network: SpanPPNetwork) -> None:
        """Takes the place of ``__init__``, which belongs to the class this was."""
        self.network = network
        self.seed = self.opt.manual_seed
        if self.opt.dist:
            self.seed = shared_seed(self.seed)
        self.part = 0
        self.losses_of: dict[int, tuple[Any, int]] = {}

    def set_current_iter(self, iter_: int) -> None:
        self.part = self.part + 1 if iter_ == self.current_iter else 0
        super().set_current_iter(iter_)
        # The trainer sets the rate of the warm-up after each iteration; the first would
        # run at the full one, and Adam's first step does not get smaller with its gradient.
        warmup = self.opt.train.warmup_iter
        if iter_ == 1 and warmup > 1:
            self._set_lr([[lr / warmup for lr in lrs] for lrs in self._get_init_lr()])

    def feed_data(self, data: DataFeed) -> None:
        """Takes in a batch, and the ground truth at the scale of this step."""
        training, scales = self.is_train, self.network.hyper.scales
        scale = self.network.eval_base_scale
        self.opt.scale = scales[-1] if training else scale
        if self.net_g_teacher is not None:
            # what it makes is ground truth
            self._set_scale(self.net_g_teacher, scales[-1])
        super().feed_data(data)
        if training:
            scale = drawn_scale(self.seed, self.current_iter, self.part, scales)
        elif self.gt is not None:
            self.gt = self._paired(self.gt)
        self.opt.scale = self.network.scale = scale
        if self.net_g_ema is not None:
            self._set_scale(self.net_g_ema.ema_model, scale)
        self.gt = self._at(scale, self.gt)
        self._real_hr = self._at(scale, self._real_hr)

    def _set_scale(self, net: nn.Module, scale: int) -> None:
        bare = self.get_bare_model(net)
        if isinstance(bare, SpanPPNetwork):
            bare.scale = scale

    def _at(self, scale: int, gt: Tensor | None) -> Tensor | None:
        return None if gt is None else ground_truth_at(scale, gt, self.lq.shape[-2:])

    def _paired(self, gt: Tensor) -> Tensor:
        """Crops the ground truth of validation to a multiple of the image it belongs to.

        Raises:
            ValueError: It is smaller than what the network makes.
        """
        height, width = self.lq.shape[-2:]
        found = pair_scale(gt.shape[-2:], (height, width))
        if found is None or found < self.network.eval_base_scale:
            raise ValueError(
                f"validation at x{self.network.eval_base_scale} met a pair of"
                f" {width}x{height} and {gt.shape[-1]}x{gt.shape[-2]} pixels; give pairs"
                f" at eval_base_scale or at a larger whole scale"
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

    def infer_tiled(self, net: nn.Module, lq: Tensor) -> Tensor:
        """Runs a network tile by tile, with the result of the whole image.

        Each tile is given the pixels around it that its own depend on, so that nothing
        has to be blended: `tile_overlap` is not used.

        Args:
            net: SpanPP at the scale `opt.scale`.
            lq: (N, C, H, W)
        """
        size, halo, scale = self.opt.val.tile_size, self.network.halo, self.opt.scale
        height, width = lq.shape[-2:]
        output = lq.new_empty(len(lq), 3, height * scale, width * scale)
        for top in range(0, height, size):
            for left in range(0, width, size):
                above, beside = min(top, halo), min(left, halo)
                seen = lq[
                    ...,
                    top - above : top + size + halo,
                    left - beside : left + size + halo,
                ]
                made = net(seen)[..., above * scale :, beside * scale :]
                place = output[
                    ...,
                    top * scale : (top + size) * scale,
                    left * scale : (left + size) * scale,
                ]
                place.copy_(made[..., : place.shape[-2], : place.shape[-1]])
        return output


class SpanPPModel(ManyScales, SRModel):
    """Training from pairs, or from ground truth alone."""


class SpanPPOTFModel(ManyScales, RealESRGANModel):
    """Training with degradations made on the fly."""


class SpanPPOTFPairedModel(ManyScales, RealESRGANPairedModel):
    """Training with degradations made on the fly, and pairs now and then."""


MANY_SCALES: dict[type, type] = {
    SRModel: SpanPPModel,
    RealESRGANModel: SpanPPOTFModel,
    RealESRGANPairedModel: SpanPPOTFPairedModel,
}
"""What each of the trainer's models becomes."""

_stock_model_to_device = SRModel.model_to_device


def _model_to_device(
    model: SRModel,
    net: nn.Module,
    compile: bool = False,  # noqa: A002
) -> nn.Module:
    """What the trainer calls with every network as soon as its weights are loaded."""
    if net is model.net_g and isinstance(net, SpanPPNetwork):
        if type(model) in MANY_SCALES:
            model.__class__ = MANY_SCALES[type(model)]
            model.begin(net)
        if model.opt.onnx is not None and not model.is_train:
            net = net.frozen()
    return _stock_model_to_device(model, net, compile)


def install() -> None:
    """Lets the trainer's models turn into those above; doing it again changes nothing.

    The trainer finds architectures by their file names and has no such way for models.
    """
    SRModel.model_to_device = _model_to_device
