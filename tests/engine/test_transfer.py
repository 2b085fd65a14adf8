"""Copies to and from a GPU: orders of axes and dtypes, with stand-ins for its streams."""

from __future__ import annotations

from contextlib import nullcontext

import pytest
import torch
from torch import Tensor

from spanpp_core import upscale
from spanpp_core.engine import pipeline, transfer
from spanpp_core.engine.transfer import (
    CopyStreams,
    Handover,
    memory_order,
    on_stream,
)

CPU = torch.device("cpu")


class Event:
    def synchronize(self) -> None:
        pass


class Stream:
    """Does nothing: on a CPU everything happens in order."""

    def wait_stream(self, other: Stream) -> None:
        pass

    def record_event(self) -> Event:
        return Event()


@pytest.fixture
def staged(monkeypatch) -> list[tuple[torch.Size, torch.dtype]]:
    """The shapes and dtypes of what would be pinned."""
    seen: list[tuple[torch.Size, torch.dtype]] = []

    def pinned(shape, dtype) -> Tensor:
        seen.append((torch.Size(shape), dtype))
        return torch.full(tuple(shape), -1.0, dtype=dtype)

    monkeypatch.setattr(transfer, "_pinned", pinned)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: Stream())
    monkeypatch.setattr(torch.cuda, "stream", lambda stream: nullcontext())
    monkeypatch.setattr(Tensor, "record_stream", lambda self, stream: None)
    return seen


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("dtype", [torch.float16, torch.float32])
def test_tiles_come_in_as_they_lie_and_no_wider_than_needed(
    staged, channels_last, dtype
):
    image = torch.rand(1, 3, 20, 30)
    if channels_last:
        image = image.contiguous(memory_format=torch.channels_last)
    tiles = [image[0, :, 2:10, 3:9], image[0, :, 5:13, 9:15]]
    x = transfer.moved_in(tiles, dtype, CPU, Stream())
    assert torch.equal(x, torch.stack(tiles).to(dtype))
    shape = (2, 8, 6, 3) if channels_last else (2, 3, 8, 6)
    assert staged == [(shape, dtype)]


def test_a_grey_image_comes_in_as_three_equal_channels(staged):
    grey = torch.rand(1, 1, 9, 7).expand(-1, 3, -1, -1)
    x = transfer.moved_in([grey[0]], torch.float32, CPU, Stream())
    assert torch.equal(x, grey)


@pytest.mark.parametrize("place_dtype", [torch.float32, torch.float16, torch.float64])
@pytest.mark.parametrize("channels_last", [False, True])
def test_pixels_go_out_into_any_place(staged, place_dtype, channels_last):
    target = torch.zeros(2, 3, 20, 30, dtype=place_dtype)
    if channels_last:
        target = target.contiguous(memory_format=torch.channels_last)
    pixels = torch.rand(2, 3, 8, 6).half()
    places = [target[0, :, 1:9, 2:8], target[1, :, 3:11, 4:10]]
    end = transfer.moved_out(pixels, places, CPU, Stream())
    assert not target.any(), "the processor copies when the job is ended"
    end()
    for place, image in zip(places, pixels):
        assert torch.equal(place, image.to(place_dtype))
    shape = (8, 6, 3) if channels_last else (3, 8, 6)
    assert staged == [(shape, torch.float16)] * 2


def test_pinned_results_are_written_without_a_detour(staged, monkeypatch):
    monkeypatch.setattr(Tensor, "is_pinned", lambda self: True)
    target = torch.zeros(1, 8, 6, 3).movedim(-1, 1)
    pixels = torch.rand(1, 3, 8, 6)
    transfer.moved_out(pixels, [target[0]], CPU, Stream())()
    assert torch.equal(target, pixels)
    assert not staged


def test_copies_wait_for_what_they_read_and_keep_its_memory(staged, monkeypatch):
    """Else a GPU copies what is not made yet, or what is something else by then."""
    log: list[str] = []
    target = torch.zeros(3, 4, 5)

    class Made:
        def synchronize(self) -> None:
            assert not target.any()
            log.append("waited for")

    class Named:
        def __init__(self, name: str) -> None:
            self.name = name

        def wait_stream(self, other: Named) -> None:
            log.append(f"{self.name} waits for {other.name}")

        def record_event(self) -> Made:
            return Made()

    def used(tensor: Tensor, stream: Named) -> None:
        log.append(f"used by {stream.name}")

    computing = Named("computing")
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: computing)
    monkeypatch.setattr(Tensor, "record_stream", used)
    x = transfer.moved_in([torch.rand(3, 4, 5)], torch.float32, CPU, Named("into"))
    assert log == ["computing waits for into", "used by computing"]
    log.clear()
    end = transfer.moved_out(x, [target], CPU, Named("out"))
    assert log == ["out waits for computing", "used by out"]
    end()
    assert log[2:] == ["waited for"]
    assert torch.equal(target, x[0])


@pytest.mark.parametrize("tile", [None, 25])
def test_only_more_than_one_job_is_staged(model, monkeypatch, staged, tile):
    streams = CopyStreams(Stream(), Stream())
    monkeypatch.setattr(pipeline, "copy_streams", lambda device: streams)
    image = torch.rand(1, 4, 60, 90)[:, :3]
    expected = upscale(model, image, tile=tile)
    staged_before = len(staged)
    monkeypatch.setattr(pipeline, "copy_streams", lambda device: None)
    result = upscale(model, image, tile=tile)
    assert torch.equal(result, expected)
    assert (staged_before > 0) == (tile is not None)
    assert len(staged) == staged_before


class OnGPU:
    """A tensor that says it is on a GPU, and notes which streams use it."""

    is_cuda = True
    device = torch.device("cuda", 0)

    def __init__(self) -> None:
        self.used_by: list[object] = []

    def record_stream(self, stream: object) -> None:
        self.used_by.append(stream)


def test_a_tensor_is_handed_over_from_stream_to_stream(monkeypatch):
    """Whoever receives it waits on the GPU for what made it, and nothing else waits."""
    waited: list[tuple[str, str]] = []

    class Named:
        def __init__(self, name: str) -> None:
            self.name = name

        def wait_event(self, event: Recorded) -> None:
            waited.append((self.name, event.stream.name))

    class Recorded:
        def record(self, stream: Named) -> None:
            self.stream = stream

    streams = [Named("side"), Named("main")]
    monkeypatch.setattr(torch.cuda, "Event", Recorded)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: streams.pop(0))
    tensor = OnGPU()
    assert Handover.of(tensor).received() is tensor
    assert waited == [("main", "side")]
    assert [stream.name for stream in tensor.used_by] == ["main"]


def test_on_a_processor_a_handover_is_the_tensor():
    image = torch.rand(3)
    handed = Handover.of(image)
    assert handed.made is None
    assert handed.received() is image
    with on_stream(None):
        pass


def test_one_pair_of_streams_serves_a_device(monkeypatch):
    made = []
    monkeypatch.setattr(torch.cuda, "Stream", made.append)
    transfer.copy_streams.cache_clear()
    try:
        first, second = (
            transfer.copy_streams(torch.device("cuda", 0)) for _ in range(2)
        )
        assert first is second
        assert len(made) == 2
        assert transfer.copy_streams(CPU) is None
    finally:
        transfer.copy_streams.cache_clear()


def test_axes_are_ordered_as_they_lie_in_memory():
    x = torch.empty(2, 5, 7, 3)
    assert memory_order(x) == [0, 1, 2, 3]
    assert memory_order(x.movedim(-1, 1)) == [0, 2, 3, 1]
    assert memory_order(torch.empty(1, 5, 7).expand(3, 5, 7)) == [0, 1, 2]
