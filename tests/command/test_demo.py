"""`spanpp demo`: pictures and figures of the bundled model."""

from __future__ import annotations

from front_door import spanpp


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
