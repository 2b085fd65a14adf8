"""All that there is to measure on a GPU, one after the other, for a report of it.

What each step prints goes to a file of its own; what fails, hangs or lacks a package does
not keep the others from running. The summary comes last. Steps: what the machine is and a
self-test (`doctor`), the tests that need a GPU (`tests`), frames per second and SPAN's
(`speed`), memory against its estimate (`memory`), pixels a second in training (`steps`),
a training by captured steps (`training`), a video by the GPU's encoder (`video`), and
`torch.compile`, all sizes and scale changes (`compiled`).

Run on an idle machine, after pip install -e ".[test]":
python benchmarks/gpu_report.py -o report [--device cuda] [--minutes 15] [--only speed tests]
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import psutil

import spanpp_core

ROOT = Path(__file__).parents[1]
QUICK = ("--no-compiled", "--quick", "--rounds", "7")
CLIP = ("--size", "1920x1080", "--seconds", "5", "--codec", "h264_nvenc")


class Step(NamedTuple):
    """One command, and how long it may take."""

    name: str
    command: Sequence[str]
    """Arguments of Python, from the root of the repository."""
    seconds: float


class Outcome(NamedTuple):
    """How a step ended."""

    said: str
    """Passed, failed, took too long or not run."""
    seconds: float
    last_line: str


def steps(device: str, photos: Path, scratch: Path) -> list[Step]:
    """Returns all steps, those first that matter most where time is short.

    Args:
        device: A CUDA or ROCm device.
        photos: A folder to train on.
        scratch: A folder for what a training leaves.
    """
    on = ("--device", device)
    spanpp = ("-m", "spanpp_core")
    tests = ("-m", "pytest", "-m", "gpu", "-ra", "--durations=10")
    # other tests may need a package that is not there
    tests += ("--continue-on-collection-errors",)
    training = ("train", str(photos), "-o", str(scratch / "run"), "--steps", "400")
    recipe = ("--recipe", str(ROOT / "recipes" / "clean_stage6.toml"))
    weights = ("--weights", str(spanpp_core.bundled_model()))
    return [
        Step("doctor", (*spanpp, "doctor", *on), 60),
        Step("speed", ("benchmarks/speed.py", *on, *QUICK), 240),
        Step("tests", tests, 300),
        Step("memory", ("benchmarks/memory.py", *on), 420),
        Step("steps", ("benchmarks/research/throughput.py", *on, "--colours", "6"), 60),
        Step("training", (*spanpp, *training, *recipe, *weights, *on), 180),
        Step("video", ("benchmarks/video_speed.py", *on, *CLIP), 180),
        Step("compiled", ("benchmarks/speed.py", *on, "--rounds", "7"), 420),
    ]


def run(step: Step, log: Path, seconds: float) -> Outcome:
    """Runs a step, for so long at most, its output in a file."""
    began = time.monotonic()
    paths = [str(ROOT), os.environ.get("PYTHONPATH", "")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}
    with log.open("wb") as output:
        started = subprocess.Popen(
            [sys.executable, *step.command],
            cwd=ROOT,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        try:
            said = "failed" if started.wait(seconds) else "passed"
        except subprocess.TimeoutExpired:
            for child in psutil.Process(started.pid).children(recursive=True):
                child.kill()
            started.kill()
            started.wait()
            said = "took too long"
    lines = log.read_text(errors="replace").split("\n")
    last = next((line.strip() for line in reversed(lines) if line.strip()), "")
    return Outcome(said, time.monotonic() - began, last)


def main() -> None:
    """Runs the steps and prints the summary; fails where one of them did."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-o", "--out", type=Path, required=True, help="folder to write")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--minutes", type=float, default=30, help="for all together")
    parser.add_argument("--only", nargs="+", metavar="STEP", default=[])
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    end = time.monotonic() + 60 * given.minutes
    summary: list[str] = []
    failed = False
    with tempfile.TemporaryDirectory() as folder:
        photos = Path(folder, "photos")
        photos.mkdir()
        shutil.copy(spanpp_core.bundled_photo(), photos)
        every = steps(given.device, photos, Path(folder))
        if unknown := set(given.only).difference(step.name for step in every):
            parser.error(f"--only: there is no step {', '.join(sorted(unknown))}")
        for step in every:
            if given.only and step.name not in given.only:
                continue
            left = end - time.monotonic()
            if left > 0:
                log = given.out / f"{step.name}.txt"
                outcome = run(step, log, min(step.seconds, left))
            else:
                outcome = Outcome("not run", 0, "the minutes are over")
            failed |= outcome.said != "passed"
            summary.append(
                f"{step.name:9} {outcome.said}, {outcome.seconds:.0f} s:"
                f" {outcome.last_line}"
            )
            print(summary[-1], flush=True)
    (given.out / "summary.txt").write_text("\n".join(summary) + "\n")
    sys.exit(failed)


if __name__ == "__main__":
    main()
