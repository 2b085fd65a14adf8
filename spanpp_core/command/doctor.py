"""``spanpp doctor``: what a bug report needs, on one page."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from .. import diagnosis
from ..devices import device_named
from .chainner_python import ChainnerError, find_python
from .facts import print_facts


def doctor(
    device: Annotated[
        str | None,
        typer.Option(help="cpu, cuda, cuda:1, mps, ... Default: the fastest."),
    ] = None,
    seconds: Annotated[
        float,
        typer.Option(min=0, help="Time limit of the self-test; 0 skips it."),
    ] = 10,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show this machine, the settings that suit it, and the result of a self-test."""
    found = diagnosis.diagnose(device_named(device), seconds)
    facts = {**asdict(found), "hosts": hosts()}
    if as_json:
        print(json.dumps(facts, indent=2))
    else:
        print_facts(_page(facts))
    if found.self_test is not None and not found.self_test.passed:
        raise typer.Exit(1)


def hosts() -> dict[str, str]:
    """Returns the hosts that are found in their usual places, by name."""
    found: dict[str, str] = {}
    pack = Path(__file__).resolve().parents[2]
    usual = [pack.parent.parent] if pack.parent.name == "custom_nodes" else []
    usual += [Path.home() / "ComfyUI", Path.home() / "Documents" / "ComfyUI"]
    for folder in usual:
        if (folder / "custom_nodes").is_dir():
            found.setdefault("ComfyUI", str(folder))
    with suppress(ChainnerError):
        found["chaiNNer"] = str(find_python(None))
    return found


def _page(facts: Mapping[str, Any]) -> dict[str, str]:
    """Returns the lines to print: names, and what they are."""
    names = ("system", "python", "processor", "device")
    page: dict[str, str] = {name: facts[name] for name in names}
    page["precision"] = f"{facts['precision']}, for 16-bit images float32"
    page["backend"] = f"{facts['backend']}, for large jobs"
    page["tile at x2"] = f"{facts['tile']} pixels"
    page["free memory"] = f"{facts['free_memory'] / 2**30:.1f} GiB"
    page["video codecs"] = ", ".join(facts["codecs"]) or "PyAV is not installed"
    versions = facts["versions"].items()
    page["versions"] = ", ".join(f"{name} {found}" for name, found in versions if found)
    missing = [name for name, found in versions if not found]
    page["not installed"] = ", ".join(missing) or "nothing is missing"
    hosts = [f"{name} at {place}" for name, place in facts["hosts"].items()]
    page["hosts"] = ", ".join(hosts) or "none in the usual places"
    test = facts["self_test"]
    if test is not None:
        verdict = "passed" if test["passed"] else "FAILED"
        page["self-test"] = (
            f"{verdict}: at most {test['largest_difference']}/255 from the stored result"
        )
        height, width = diagnosis.FRAME
        note = ", estimated from smaller images" if test["is_estimate"] else ""
        page["speed"] = (
            f"{test['frames_per_second']:.3g} frames per second of {width}x{height} to"
            f" x2{note}"
        )
        for backend, reason in test["failures"].items():
            page[f"{backend} failed"] = reason
    return page
