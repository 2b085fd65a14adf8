"""What goes wrong in a node is told in one line, which names what to do."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from .prompts import frames, load, node, upscale
from .server import ComfyServer, messages_of


def test_another_model_is_named(comfy: ComfyServer) -> None:
    for using in (
        node("SpanPPSetScale", model=["1", 0], scale=2.0),
        upscale("1", "2"),
    ):
        prompt = {"1": node("TestOtherModel"), "2": frames(1, 16, 16), "3": using}
        prompt["4"] = node("PreviewAny", source=["3", 0])
        message = comfy.failure(prompt)
        assert "found another network, SPAN" in message
        assert "\n" not in message


def test_a_file_that_is_not_spanpp_says_so(comfy: ComfyServer) -> None:
    folder = comfy.base / "models" / "upscale_models"
    weights = torch.zeros(8, 3, 3, 3)
    save_file({"conv.weight": weights}, folder / "other.safetensors")
    prompt = {"1": load("other.safetensors"), "2": node("PreviewAny", source=["1", 1])}
    message = comfy.failure(prompt)
    assert "other.safetensors" in message
    assert "\n" not in message


@pytest.mark.parametrize(
    "inputs",
    [
        {"size": "fit inside", "size.width": 9000, "size.height": 9000},
        {"size": "longer side", "size.longer_side": 4000},
    ],
)
def test_a_size_out_of_reach_says_so(
    comfy: ComfyServer, inputs: dict[str, Any]
) -> None:
    prompt = {"1": load(), "2": frames(1, 20, 30), "3": upscale("1", "2", **inputs)}
    prompt["4"] = node("PreviewAny", source=["3", 1])
    assert "the largest possible scale is 8: 240x160" in comfy.failure(prompt)


def test_an_unknown_way_to_say_a_size_names_those_there_are(comfy: ComfyServer) -> None:
    prompt = {"1": load(), "2": frames(1, 8, 8), "3": upscale("1", "2", "nonsense")}
    prompt["4"] = node("PreviewAny", source=["3", 1])
    answer = comfy.post("/prompt", {"prompt": prompt})
    if answer.get("node_errors"):  # older hosts know the list
        assert "fit inside" in str(answer["node_errors"])
    else:
        entry = comfy.wait(answer["prompt_id"])
        (error,) = messages_of(entry, "execution_error")
        assert "choose one of model scale, factor, fit" in error["exception_message"]


def test_a_result_too_large_for_the_memory_is_one_line(comfy: ComfyServer) -> None:
    prompt = {
        "1": load(),
        "2": node("TestHugeBatch"),
        "3": upscale("1", "2", "factor", **{"size.factor": 8.0}),
    }
    prompt["4"] = node("PreviewAny", source=["3", 1])
    message = comfy.failure(prompt)
    assert "the result takes 3.1 TB" in message
    assert "Upscale Folder" in message
    assert "\n" not in message


def test_errors_are_named_without_the_path_of_the_pack(comfy: ComfyServer) -> None:
    prompt = {"1": load(), "2": frames(1, 20, 30), "3": upscale("1", "2", "width")}
    prompt["3"]["inputs"]["size.width"] = 9000
    prompt["4"] = node("PreviewAny", source=["3", 1])
    entry = comfy.wait(comfy.queue(prompt))
    (error,) = messages_of(entry, "execution_error")
    assert error["exception_type"] == "spanpp_core.ScaleError"
