"""`spanpp doctor`: the facts of a machine, and a self-test that can fail."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from front_door import spanpp
from PIL import Image
from safetensors.torch import load_file

import spanpp_core
from spanpp_core import diagnosis
from spanpp_core.backends import selection
from spanpp_core.backends.prepared_weights import PreparedRunner
from spanpp_core.command import doctor

CPU = torch.device("cpu")


@pytest.fixture
def quick(monkeypatch):
    """Counts no frames: the rate is a stand-in."""
    monkeypatch.setattr(diagnosis, "frames_per_second", lambda *_: (2.5, True))


@pytest.fixture
def bundled() -> spanpp_core.SpanPPDescriptor:
    return spanpp_core.load(spanpp_core.bundled_model()).at_scale(2)


def test_the_stored_result_is_that_of_the_bundled_weights(bundled):
    stored = load_file(diagnosis.SELF_TEST)
    photo = np.asarray(Image.open(spanpp_core.bundled_photo()).convert("RGB"))
    piece = torch.from_numpy(photo[240:288, 400:464].copy()).movedim(-1, 0)
    assert torch.equal(stored["image"], piece)
    result = spanpp_core.upscale(bundled.with_backend("torch"), piece[None] / 255)
    off = (result[0] * 255 - stored["result"].float()).abs().max()
    again = "new weights? run: python benchmarks/self_test_result.py"
    assert off <= 0.51, again


def test_a_wrong_result_fails_and_is_the_exit_status(monkeypatch, capsys, quick):
    right = diagnosis.upscale
    monkeypatch.setattr(
        diagnosis, "upscale", lambda *given: (right(*given) + 0.02).clamp(0, 1)
    )
    assert spanpp("doctor", "--device", "cpu", "--json") == 1
    test = json.loads(capsys.readouterr().out)["self_test"]
    assert not test["passed"]
    assert test["largest_difference"] >= 4


def test_one_page_says_what_is_picked(capsys, quick):
    assert spanpp("doctor", "--device", "cpu") == 0
    page = capsys.readouterr().out
    assert len(page.splitlines()) < 40
    for words in (
        "passed",
        "precision",
        "tile at x2",
        "2.5 frames per second",
        "torch",
    ):
        assert words in page


def test_a_bug_report_gets_whole_lines(capsys, monkeypatch, quick):
    long = "a word and " * 30
    monkeypatch.setattr(diagnosis, "describe", lambda device: long)
    assert spanpp("doctor", "--device", "cpu") == 0
    assert f"  {long}\n" in capsys.readouterr().out


def test_json_holds_the_facts_and_the_self_test_may_be_left_out(capsys):
    assert spanpp("doctor", "--device", "cpu", "--seconds", 0, "--json") == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["self_test"] is None
    assert facts["device"] == "cpu"
    assert facts["versions"]["torch"] == torch.__version__.split("+")[0]
    assert facts["tile"] > 0
    assert facts["free_memory"] > 0
    assert "hosts" in facts


def test_a_backend_that_fails_is_named(bundled, monkeypatch, quick):
    class Broken(PreparedRunner):
        def __init__(self, network):
            raise RuntimeError("no kernel for this GPU")

    monkeypatch.setitem(selection.RUNNERS, "triton", Broken)
    found = diagnosis.self_test(bundled.with_backend("triton"), 1)
    assert found.passed
    assert found.failures == {"triton": "no kernel for this GPU"}


def test_what_stands_in_for_a_backend_that_fails_is_tested(monkeypatch, quick):
    """It is what images and videos are upscaled by."""

    class NoCompiler(PreparedRunner):
        def __init__(self, network):
            raise RuntimeError("Failed to find C compiler")

    monkeypatch.setitem(selection.RUNNERS, "triton", NoCompiler)
    monkeypatch.setitem(selection.RUNNERS, "jiterator", PreparedRunner)
    monkeypatch.setattr(
        selection,
        "fastest_backend",
        lambda network, backend, *_: "triton" if backend == "auto" else backend,
    )
    found = diagnosis.diagnose(CPU, 1)
    assert found.backend == "jiterator"
    assert found.self_test is not None
    assert found.self_test.passed
    assert found.self_test.failures == {"triton": "Failed to find C compiler"}


@pytest.mark.parametrize(
    ("probe", "is_estimate", "rate"),
    [(0.001, False, 1 / 0.014), (1.0, True, 256 * 256 / (720 * 1280))],
)
def test_a_slow_machine_is_measured_on_smaller_images(
    bundled, monkeypatch, probe, is_estimate, rate
):
    def taken(model, image):
        return probe if image.shape[-1] == 256 else 14 * probe

    monkeypatch.setattr(diagnosis, "upscale", lambda *given: None)
    monkeypatch.setattr(diagnosis, "_seconds", taken)
    found = diagnosis.frames_per_second(bundled, 4)
    assert found == (pytest.approx(rate), is_estimate)


def test_hosts_are_found_in_their_usual_places(monkeypatch, tmp_path):
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    assert "ComfyUI" not in doctor.hosts()
    (tmp_path / "ComfyUI" / "custom_nodes").mkdir(parents=True)
    assert doctor.hosts()["ComfyUI"] == str(tmp_path / "ComfyUI")


def test_a_gpu_is_described(monkeypatch):
    class Properties:
        name, major, minor, total_memory = "NVIDIA H200", 9, 0, 2**37

    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: Properties())
    line = diagnosis.describe(torch.device("cuda", 0))
    assert line.startswith("cuda:0: NVIDIA H200, compute capability 9.0, 128.0 GiB")
    assert diagnosis.describe(CPU) == "cpu"
