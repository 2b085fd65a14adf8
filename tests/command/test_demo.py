"""`spanpp demo`: pictures and figures of the bundled model."""

from __future__ import annotations

import pytest
from front_door import spanpp

from spanpp_core import bundled_photo, images
from spanpp_core.command import demo


@pytest.fixture
def part_of_the_photo(tmp_path, monkeypatch):
    """What is shown, and little around it: the whole photo takes five times as long."""
    top, left, height, width = demo.DETAIL
    pixels = images.read(bundled_photo()).pixels[..., top - 10 :, left - 10 :]
    pixels = pixels[..., :300, :480]  # every scale of the demo divides them
    assert height + 20 <= pixels.shape[-2]
    assert width + 20 <= pixels.shape[-1]
    images.write(tmp_path / "part.png", images.Picture(pixels, 8))
    monkeypatch.setattr(demo, "bundled_photo", lambda: tmp_path / "part.png")
    monkeypatch.setattr(demo, "DETAIL", (10, 10, height, width))


@pytest.mark.usefixtures("part_of_the_photo")
def test_demo_writes_the_comparison(tmp_path, capsys):
    assert spanpp("demo", "-o", tmp_path / "demo") == 0
    written = {path.name for path in (tmp_path / "demo").iterdir()}
    assert {"comparison.png", "spanpp_x1.5.png", "spanpp_x4.png"} <= written
    assert "repair.png" in written
    gains = [
        float(word)
        for line in capsys.readouterr().out.splitlines()
        for word in line.replace("│", " ").split()
        if word.startswith("+")
    ]
    assert len(gains) == 5
    assert min(gains) > 0.5, "SpanPP should beat bicubic on the bundled photo"
