"""The report of a GPU goes on whatever happens to one of its steps."""

from __future__ import annotations

import importlib
import time
from pathlib import Path

import psutil
import pytest

FOLDER = Path(__file__).parents[2] / "benchmarks"

pytestmark = pytest.mark.skipif(
    not FOLDER.is_dir(), reason="the benchmarks are in the repository alone"
)


@pytest.fixture
def report(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    return importlib.import_module("gpu_report")


def run(report, tmp_path: Path, program: str, seconds: float = 60):
    return report.run(
        report.Step("x", ("-c", program), 60), tmp_path / "x.txt", seconds
    )


def test_what_a_step_prints_is_kept_and_its_last_line_told(report, tmp_path):
    outcome = run(report, tmp_path, "print('one'); print('two\\n')")
    assert (outcome.said, outcome.last_line) == ("passed", "two")
    assert (tmp_path / "x.txt").read_text().split() == ["one", "two"]


def test_a_step_that_fails_says_why(report, tmp_path):
    outcome = run(report, tmp_path, "import no_such_package")
    assert outcome.said == "failed"
    assert "no_such_package" in outcome.last_line


def test_a_step_that_hangs_is_ended_with_all_that_it_started(report, tmp_path):
    start = "import subprocess, sys; wait = [sys.executable, '-c', 'input()']; "
    start += "it = subprocess.Popen(wait, stdin=subprocess.PIPE); "
    start += "print(it.pid, flush=True); it.wait()"
    outcome = run(report, tmp_path, start, seconds=3)
    assert outcome.said == "took too long"
    child, end = int(outcome.last_line), time.monotonic() + 10
    while psutil.pid_exists(child) and time.monotonic() < end:
        if psutil.Process(child).status() == psutil.STATUS_ZOMBIE:
            break
        time.sleep(0.05)
    else:
        assert not psutil.pid_exists(child)


def test_every_step_names_what_is_there(report, tmp_path):
    for step in report.steps("cuda", tmp_path, tmp_path):
        first = step.command[0]
        assert first == "-m" or (FOLDER.parent / first).is_file(), step.name


def test_the_summary_of_one_step(report, tmp_path, monkeypatch, capsys):
    made = [
        report.Step("a", ("-c", "print(1)"), 60),
        report.Step("b", ("-c", "1/0"), 60),
    ]
    monkeypatch.setattr(report, "steps", lambda *given: made)
    monkeypatch.setattr("sys.argv", ["gpu_report.py", "-o", str(tmp_path / "out")])
    with pytest.raises(SystemExit) as end:
        report.main()
    assert end.value.code == 1
    first, second = (tmp_path / "out" / "summary.txt").read_text().splitlines()
    assert first.startswith("a         passed")
    assert first.endswith(": 1")
    assert second.startswith("b         failed")
    assert second.endswith("ZeroDivisionError: division by zero")
    assert capsys.readouterr().out.splitlines() == [first, second]
