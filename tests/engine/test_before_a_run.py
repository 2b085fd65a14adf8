"""What a host asks before it runs a model: memory, tile, another dtype."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from spanpp_core import SpanPPDescriptor, prepare, upscale
from spanpp_core.engine import prepared_run, resized
from spanpp_core.engine.tile_size import auto_tile, working_memory


def test_working_memory_grows_with_the_tile_until_the_image_ends(
    model: SpanPPDescriptor,
) -> None:
    small, large, whole, beyond = (
        working_memory(model, 500, 500, tile=tile) for tile in (64, 256, 500, 4000)
    )
    assert small < large < whole == beyond


def test_working_memory_is_of_the_scale_and_dtype_bound(
    model: SpanPPDescriptor,
) -> None:
    at_two = working_memory(model.at_scale(2), 100, 100)
    assert working_memory(model.at_scale(8), 100, 100) > at_two
    cast = model.with_dtype(torch.bfloat16)
    assert working_memory(cast, 100, 100) < at_two
    assert working_memory(model, 100, 100, dtype=torch.bfloat16) < at_two


def test_auto_tile_is_what_upscale_takes(
    model: SpanPPDescriptor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "spanpp_core.engine.tile_size.pixels_that_fit", lambda *_, **__: 100**2
    )
    assert auto_tile(model) == 100 - 2 * model.model.halo
    assert prepare(model, (9000, 9000)).tile == auto_tile(model)
    totals: list[int] = []
    edge = 2 * auto_tile(model)
    image = torch.rand(1, 3, edge, edge)
    upscale(model, image, on_progress=lambda done, total: totals.append(total))
    assert totals[-1] == 4


@pytest.mark.parametrize(
    ("device", "side", "memory", "asked"),
    [
        ("cuda", 200, None, False),
        ("cuda", 3000, None, True),
        ("cuda", 200, 10**6, True),
        ("cpu", 200, None, True),
    ],
)
def test_a_gpu_is_not_asked_for_its_memory_by_a_small_image(
    model: SpanPPDescriptor,
    monkeypatch: pytest.MonkeyPatch,
    device: str,
    side: int,
    memory: int | None,
    asked: bool,
) -> None:
    """It takes longer to answer than to upscale."""
    questions: list[torch.device] = []

    def free(device: torch.device) -> int:
        questions.append(device)
        return 10**6

    monkeypatch.setattr(prepared_run, "free_memory", free)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (8, 6))
    where = torch.device(device)
    run = prepare(model, (side, side), memory=memory, device=where)
    assert (run.tile < side) == asked
    assert questions == [where] * asked


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_with_dtype_leaves_the_model_as_it_is(
    model: SpanPPDescriptor, dtype: torch.dtype
) -> None:
    view = model.at_scale(3)
    cast = view.with_dtype(dtype)
    assert (cast.dtype, view.dtype, model.dtype) == (dtype, *[torch.float32] * 2)
    assert (cast.scale, cast.scales) == (3, model.scales)
    assert not cast.model.training
    x = torch.rand(1, 3, 16, 16)
    assert torch.allclose(cast(x), view(x), atol=0.1)


def test_with_the_same_dtype_is_the_model_itself(model: SpanPPDescriptor) -> None:
    assert model.with_dtype(torch.float32) is model


def test_a_copy_in_another_dtype_is_kept_while_the_weights_are_the_same(
    model: SpanPPDescriptor,
) -> None:
    """Also where a host brings them to the device anew for every run, as ComfyUI does."""

    def half() -> tuple[object, object]:
        cast = model.at_scale(3).with_dtype(torch.float16)
        return cast.model.conv_cat, cast.backends

    first = half()
    for module in model.model.modules():
        for name, weight in list(module.named_parameters(recurse=False)):
            module.register_parameter(name, torch.nn.Parameter(weight.clone(), False))
    assert half() == first
    with torch.no_grad():
        model.model.conv_cat.weight.mul_(2)
    changed = model.with_dtype(torch.float16)
    assert changed.model.conv_cat is not first[0]
    assert torch.equal(
        changed.model.conv_cat.weight, model.model.conv_cat.weight.half()
    )
    changed.to("meta")
    assert half()[0].weight.device.type == "cpu", "what was moved serves no one else"
    kept = half()
    model.backends.forget()
    assert half() != kept


def test_a_copy_made_in_inference_mode_serves_outside(model: SpanPPDescriptor) -> None:
    with torch.inference_mode():
        model.with_dtype(torch.bfloat16)
    cast = model.with_dtype(torch.bfloat16)
    assert not cast.model.conv_cat.weight.is_inference()


@pytest.mark.parametrize(("free", "place"), [(10**9, "cuda"), (10**6, "cpu")])
def test_output_to_be_resized_stays_on_the_gpu_where_it_fits(free: int, place: str):
    gpu = SimpleNamespace(device=torch.device("cuda"))
    with FakeTensorMode():
        image = torch.empty(1, 4, 200, 300)
        chosen = resized._place(gpu, image, (1, 4, 400, 600), lambda: free)
    assert chosen.type == place
