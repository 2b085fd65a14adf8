"""`spanpp demo`: pictures and figures of the bundled model."""

from __future__ import annotations

from front_door import spanpp


def test_demo_writes_the_comparison(tmp_path, capsys):
    out = tmp_path / "a folder [red] of a long name, longer than any line of a terminal"
    assert spanpp("demo", "-o", out) == 0
    written = {path.name for path in out.iterdir()}
    assert {"comparison.png", "spanpp_x1.5.png", "spanpp_x4.png"} <= written
    assert "repair.png" in written
    printed = capsys.readouterr().out
    assert f"wrote {out / 'comparison.png'}, {out / 'repair.png'} and" in printed
    gains = [
        float(word)
        for line in printed.splitlines()
        for word in line.replace("│", " ").split()
        if word.startswith("+")
    ]
    assert len(gains) == 5
    assert min(gains) > 0.5, "SpanPP should beat bicubic on the bundled photo"
