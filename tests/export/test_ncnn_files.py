"""ncnn files: the layers that small builds have, and an output that is clamped."""

from __future__ import annotations

import numpy as np
import pytest

from spanpp_core.export import ncnn as ncnn_files
from spanpp_core.export.verify import largest_difference, loaded, ncnn_run, network_run

pytest.importorskip("ncnn", reason="pip install 'spanpp[ncnn]' to run this")

LAYERS = {"Input", "Split", "Convolution", "BinaryOp", "Concat", "PixelShuffle"}
"""What realesrgan-ncnn-vulkan and Upscayl are built with, of the layers of use here."""

SIZES = [(1, 1), (7, 11), (24, 5)]


def layers(param: str) -> list[list[str]]:
    return [line.split() for line in param.splitlines()[2:]]


@pytest.mark.parametrize("half", [False, True])
@pytest.mark.parametrize("scale", [1, 2, 3, 4])
def test_equals_the_core(any_model, scale, half):
    files = ncnn_files.build(any_model, scale, half=half)
    run = ncnn_run(files.param.encode(), files.binary)
    core = loaded(any_model)
    difference = largest_difference(run, core, scale, sizes=SIZES, clamped=True)
    assert difference < (2e-3 if half else 1e-5)


def test_has_no_layer_that_programs_are_built_without(small_model):
    param = ncnn_files.build(small_model, 2, half=False).param
    assert {words[0] for words in layers(param)} == LAYERS
    convolutions = [words for words in layers(param) if words[0] == "Convolution"]
    activations = {word for words in convolutions for word in words if word[:2] == "9="}
    assert activations == {"9=1"}, "ReLU is the only activation that all builds have"


def test_numbers_are_as_short_as_old_readers_need(small_model):
    for words in layers(ncnn_files.build(small_model, 2, half=False).param):
        values = [word.partition("=")[2] for word in words if "=" in word]
        assert all(len(value) <= 15 for value in values)


def test_every_blob_has_one_reader(small_model):
    lines = ncnn_files.build(small_model, 2, half=False).param.splitlines()
    read: list[str] = []
    made: list[str] = []
    for kind, _, inputs, outputs, *blobs in map(str.split, lines[2:]):
        read += blobs[: int(inputs)]
        made += blobs[int(inputs) : int(inputs) + int(outputs)]
        assert kind != "Split" or int(outputs) > 1
    assert len(set(made)) == len(made) == int(lines[1].split()[1])
    assert sorted(read) == sorted(set(made) - {"output"})


def test_the_output_is_clamped(small_model):
    images = np.random.default_rng(0).random((1, 3, 9, 9), dtype=np.float32)
    exact = network_run(loaded(small_model), 2)(images)
    assert exact.min() < 0, "the test needs a model that leaves [0, 1]"
    files = ncnn_files.build(small_model, 2, half=False)
    made = ncnn_run(files.param.encode(), files.binary)(images)
    assert made.min() >= 0
    assert made.max() <= 1
