"""Where nodes write: inside ComfyUI's output folder, whatever name is typed."""

from __future__ import annotations

from pathlib import Path

import folder_paths

MOST_BYTES = 200
"""Of a name: file systems take 255, and endings and numbers are added."""


def inside_output(name: str) -> Path:
    """Returns the path a typed name stands for.

    Raises:
        ValueError: ``name`` leads out of the output folder, or names no file.
    """
    if not name.strip():
        raise ValueError("the name is empty; give one such as 'upscale_models/mine'")
    if "\0" in name or any(
        len(part.encode()) > MOST_BYTES for part in Path(name).parts
    ):
        raise ValueError(
            f"{name[:40]!r}... is no name of a file; give a shorter one, of letters and"
            " digits"
        )
    output = Path(folder_paths.get_output_directory()).resolve()
    wanted = (output / name).resolve()
    if output not in wanted.parents:
        raise ValueError(
            f"{name!r} leads out of ComfyUI's output folder; give a name such as"
            " 'upscale_models/mine'"
        )
    return wanted


def shown(path: Path) -> str:
    """Returns a path that `inside_output` gave, or one below it, as 'output/mine/a.pth'."""
    output = Path(folder_paths.get_output_directory()).resolve()
    return f"output/{path.relative_to(output).as_posix()}"


def list_own_models() -> None:
    """Makes Load SpanPP list the folder ``upscale_models`` of the output folder.

    ComfyUI does so for other kinds of models that its nodes save.
    """
    folder = Path(folder_paths.get_output_directory()) / "upscale_models"
    folder_paths.add_model_folder_path("upscale_models", str(folder))
