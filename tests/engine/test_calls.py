"""What one call asks of a GPU beside the network: launches and waits, on fake CUDA tensors.

An image of 256x256 takes a GPU less time than Python takes to launch its kernels, and while
the processor waits for a GPU that one soon waits for the processor.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import nullcontext

import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten

import spanpp_core
from spanpp_core import Size, SpanPPDescriptor, prepare
from spanpp_core.backends import selection
from spanpp_core.engine import arguments, dynamic_range, pipeline, transfer
from spanpp_core.network import cache

GPU = torch.device("cuda", 0)
NO_WORK = ("empty", "new_empty", "device")


class Asked(TorchDispatchMode):
    """Notes launches, copies and waits; what is between two convolutions is one network."""

    def __init__(self) -> None:
        super().__init__()
        self.everything: list[str] = []

    def __torch_dispatch__(self, operator, types, args=(), kwargs=None):
        made = operator(*args, **(kwargs or {}))
        leaves, _ = tree_flatten((args, kwargs, made))
        tensors = [leaf for leaf in leaves if isinstance(leaf, Tensor)]
        name = operator._overloadpacket.__name__
        returns = operator._schema.returns
        is_view = any(r.alias_info and not r.alias_info.is_write for r in returns)
        if is_view or name.startswith(NO_WORK):
            return made
        places = {t.device.type for t in tensors}
        if places == {"cpu", "cuda"}:
            later = (kwargs or {}).get("non_blocking", len(args) > 2 and args[2])
            self.everything.append("copy" if later else "copy and wait")
        elif places == {"cuda"}:
            self.everything.append(name)
        return made

    @property
    def beside_the_network(self) -> list[str]:
        """All of it, with ``network`` for what lies from its first convolution to its last."""
        first, last = (
            end(i for i, name in enumerate(self.everything) if "conv" in name)
            for end in (min, max)
        )
        return [*self.everything[:first], "network", *self.everything[last + 1 :]]


@pytest.fixture
def asked(monkeypatch) -> Asked:
    """What is asked of a GPU that is not there."""
    noted = Asked()

    class Event:
        def synchronize(self) -> None:
            noted.everything.append("wait")

    class Stream:
        def wait_stream(self, other: Stream) -> None:
            pass

        def record_event(self) -> Event:
            return Event()

    def numbers(ends: Tensor) -> tuple[float, float]:
        noted.everything.append(f"look, on {ends.device.type}")
        return 0.0, 1.0

    def free(device: torch.device) -> tuple[int, int]:
        noted.everything.append("ask for memory")
        return 10**10, 10**10

    def unpinned(shape, dtype: torch.dtype) -> Tensor:
        return torch.empty(tuple(shape), dtype=dtype)

    streams = transfer.CopyStreams(Stream(), Stream())
    monkeypatch.setattr(pipeline, "copy_streams", lambda device: streams)
    monkeypatch.setattr(transfer, "_pinned", unpinned)
    monkeypatch.setattr(dynamic_range, "_numbers", numbers)
    monkeypatch.setattr(arguments, "_overlap", lambda one, other: False)  # no addresses
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: Stream())
    monkeypatch.setattr(torch.cuda, "stream", lambda stream: nullcontext())
    monkeypatch.setattr(torch.cuda, "mem_get_info", free)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (6, 1))
    monkeypatch.setattr(Tensor, "record_stream", lambda self, stream: None)
    for module in (selection, cache):  # fake weights have no address
        monkeypatch.setattr(module, "weights_version", lambda network: 0)
    monkeypatch.setattr(selection, "weights_content", lambda network: 0)
    return noted


@pytest.fixture
def on_gpu(make) -> Iterator[SpanPPDescriptor]:
    """A small model in float16, on the GPU that is not there."""
    model = make().with_backend("torch")
    with FakeTensorMode(allow_non_fake_inputs=True):
        for module in model.model.modules():
            for name, weight in list(module.named_parameters(recurse=False)):
                there = torch.empty(weight.shape, dtype=torch.float16, device=GPU)
                module.register_parameter(name, torch.nn.Parameter(there, False))
        yield model


def second_call(asked: Asked, call: Callable[[], object]) -> list[str]:
    """What a call asks for beside the network once kernels are made and weights prepared."""
    with asked:
        call()
        asked.everything.clear()
        call()
    return asked.beside_the_network


SCALES = [2, 2.5]


@pytest.mark.parametrize("scale", SCALES)
def test_an_image_on_the_gpu_is_waited_for_once_when_the_network_is_launched(
    on_gpu, asked, scale
):
    model = on_gpu.at_scale(scale)
    image = torch.empty(1, 3, 64, 96, device=GPU)
    assert second_call(asked, lambda: spanpp_core.upscale(model, image)) == [
        "aminmax",
        "copy",  # what it found
        "_to_copy",  # dtype and layout at once
        "network",
        "pixel_shuffle",
        "wait",
        "look, on cpu",
        "clamp_",
        "copy_",
    ]


@pytest.mark.parametrize("channels_last", [False, True], ids=["plain", "as in ComfyUI"])
@pytest.mark.parametrize("scale", SCALES)
def test_an_image_in_main_memory_is_looked_at_while_the_network_runs(
    on_gpu, asked, scale, channels_last
):
    run = prepare(on_gpu, (64, 96), Size(factor=scale), fractional="native")
    if channels_last:
        image = torch.empty(1, 64, 96, 3).movedim(-1, 1)
        out = torch.empty(1, *run.output_size, 3).movedim(-1, 1)
    else:
        image, out = torch.empty(1, 3, 64, 96), torch.empty(1, 3, *run.output_size)
    assert second_call(asked, lambda: run.run(image, out=out)) == [
        "copy",
        "_to_copy",
        "network",
        "pixel_shuffle",
        "look, on cpu",
        "clamp_",
        "_to_copy",
        "copy and wait",
    ]


def test_what_is_resized_on_the_gpu_leaves_it_in_the_order_of_its_place(on_gpu, asked):
    """ComfyUI's channels are last: a processor would take longer to sort them than the rest."""
    run = prepare(on_gpu, (64, 96), Size(factor=1.5), fractional="downscale")
    image = torch.empty(1, 64, 96, 3).movedim(-1, 1)
    out = torch.empty(1, *run.output_size, 3).movedim(-1, 1)
    found = second_call(asked, lambda: run.run(image, out=out))
    assert found[-3:] == ["clamp_", "clone", "copy and wait"]


def test_alpha_is_looked_at_in_one_launch(on_gpu, asked):
    """Whether it is constant: it is then copied, not run."""
    run = prepare(on_gpu, (64, 96))
    image = torch.empty(1, 4, 64, 96, device=GPU)
    found = second_call(asked, lambda: run.run_in_range(image))
    assert found[:2] == ["aminmax", "look, on cuda"]


def test_known_images_are_not_looked_at(on_gpu, asked):
    run = prepare(on_gpu, (64, 96))
    image = torch.empty(1, 3, 64, 96, device=GPU)
    found = second_call(asked, lambda: run.run_in_range(image))
    assert found == ["_to_copy", "network", "pixel_shuffle", "clamp_", "copy_"]


@pytest.mark.parametrize("factor", [2, 1.5], ids=["whole", "resized"])
def test_a_run_asks_for_free_memory_once(on_gpu, asked, factor):
    run = prepare(on_gpu, (900, 900), Size(factor=factor), fractional="downscale")
    images = torch.empty(3, 3, 900, 900)
    with asked:
        run.run(images)
        run.run(images)
    assert asked.everything.count("ask for memory") == 1


def test_frames_are_waited_for_one_batch_behind(on_gpu, asked):
    run = prepare(on_gpu, (64, 96), tile=96, memory=1)
    images = torch.empty(4, 3, 64, 96)
    second_call(asked, lambda: run.run(images))
    launched_and_waited = [
        "wait" if "wait" in name else "network"
        for name in asked.everything
        if "wait" in name or name == "pixel_shuffle"
    ]
    in_turn = ["network", *3 * ["network", "wait"], "wait"]
    assert launched_and_waited == in_turn, "one batch runs while another one leaves"
