"""Nodes for the tests of a real server: known images, and a model that lacks memory."""

import copy
import sys

import torch
from spandrel import ModelLoader
from spandrel.architectures.SPAN import SPAN


class TestFrames:
    """Smooth pictures with noise, the same for equal arguments: (N, H, W, C)."""

    RETURN_TYPES = ("IMAGE",)
    FUNCTION = "make"
    CATEGORY = "SpanPP tests"

    @classmethod
    def INPUT_TYPES(cls):
        whole = ("INT", {"min": 1, "max": 8192})
        names = ("frames", "height", "width", "channels")
        return {"required": dict.fromkeys(names, whole)}

    def make(self, frames, height, width, channels):
        noise = torch.Generator().manual_seed(0)
        coarse = torch.rand(1, channels, 9, 9, generator=noise)
        one = torch.nn.functional.interpolate(coarse, (height, width), mode="bicubic")
        images = torch.empty(frames, height, width, channels)
        for i in range(frames):
            images[i] = one[0].movedim(0, -1).roll(i, dims=1).clamp(0, 1)
        return (images,)


class TestScarceMemory:
    """A view of a model that runs out of memory on more pixels than it is allowed."""

    RETURN_TYPES = ("UPSCALE_MODEL",)
    FUNCTION = "wrap"
    CATEGORY = "SpanPP tests"

    @classmethod
    def INPUT_TYPES(cls):
        pixels = ("INT", {"min": 1, "max": 2**31})
        return {"required": {"model": ("UPSCALE_MODEL",), "pixels": pixels}}

    def wrap(self, model, pixels):
        view = model.at_scale(model.scale)
        network = view.model

        class Scarce(type(network)):
            def features(self, x):
                if x.numel() // 3 > pixels:
                    raise torch.cuda.OutOfMemoryError("simulated: out of memory")
                return super().features(x)

        scarce = copy.copy(network)
        scarce.__class__ = Scarce
        view._model = scarce
        return (view,)


class TestOtherModel:
    """An UPSCALE_MODEL that is not SpanPP."""

    RETURN_TYPES = ("UPSCALE_MODEL",)
    FUNCTION = "make"
    CATEGORY = "SpanPP tests"

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {}}

    def make(self):
        network = SPAN(num_in_ch=3, num_out_ch=3, feature_channels=8, upscale=2)
        return (ModelLoader().load_from_state_dict(network.state_dict()),)


class TestCast:
    """Casts the model that all nodes share and leaves it so, as some packs do."""

    RETURN_TYPES = ("UPSCALE_MODEL",)
    FUNCTION = "cast"
    CATEGORY = "SpanPP tests"

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"model": ("UPSCALE_MODEL",), "dtype": ("STRING", {})}}

    def cast(self, model, dtype):
        model.to(getattr(torch, dtype))
        return (model,)


class TestHugeBatch:
    """A thousand large frames that take no memory."""

    RETURN_TYPES = ("IMAGE",)
    FUNCTION = "make"
    CATEGORY = "SpanPP tests"

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {}}

    def make(self):
        return (torch.zeros(1).expand(1000, 2000, 2000, 3),)


class TestIsFinite:
    """Says whether images hold numbers only, and of which size they are."""

    RETURN_TYPES = ("STRING",)
    FUNCTION = "look"
    CATEGORY = "SpanPP tests"

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"images": ("IMAGE",)}}

    def look(self, images):
        return (f"{images.shape[2]}x{images.shape[1]} {images.isfinite().all()}",)


class TestRamp:
    """A ramp from 0 at the first column to ``top`` at the last: (1, 16, width, 3)."""

    RETURN_TYPES = ("IMAGE",)
    FUNCTION = "make"
    CATEGORY = "SpanPP tests"

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"width": ("INT", {"max": 8192}), "top": ("FLOAT", {})}}

    def make(self, width, top):
        return (torch.linspace(0, top, width)[:, None].expand(1, 16, width, 3),)


class TestRampError:
    """How far a ramp made larger is from the true one: above 1 (a share), below 1."""

    RETURN_TYPES = ("STRING",)
    FUNCTION = "look"
    CATEGORY = "SpanPP tests"

    @classmethod
    def INPUT_TYPES(cls):
        whole = ("INT", {"max": 8192})
        return {
            "required": {"images": ("IMAGE",), "width": whole, "top": ("FLOAT", {})}
        }

    def look(self, images, width, top):
        columns = (torch.arange(images.shape[2]) + 0.5) * width / images.shape[2] - 0.5
        expected = columns * top / (width - 1)
        edge = (
            2 * images.shape[1] // 16
        )  # two rows of the ramp, as the network invents one
        rows = images[:, edge:-edge].float().cpu()
        error = (rows - expected[:, None]).abs().amax((0, 1, 3))
        inner = (columns > 4) & (columns < width - 5)
        above, below = inner & (expected > 1), inner & (expected <= 1)
        shares = (error / expected)[above].max(), error[below].max()
        return (" ".join(f"{float(share):.4f}" for share in shares),)


class TestCoreCopies:
    """The names under which SpanPP's core is loaded, a line each."""

    RETURN_TYPES = ("STRING",)
    FUNCTION = "find"
    CATEGORY = "SpanPP tests"

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {}}

    def find(self):
        return (
            "\n".join(name for name in sys.modules if name.endswith("spanpp_core")),
        )


NODE_CLASS_MAPPINGS = {
    cls.__name__: cls
    for cls in (
        TestCast,
        TestCoreCopies,
        TestFrames,
        TestHugeBatch,
        TestIsFinite,
        TestOtherModel,
        TestRamp,
        TestRampError,
        TestScarceMemory,
    )
}
