"""Where nodes write: inside ComfyUI's output folder, whatever name is typed."""

from __future__ import annotations

from pathlib import Path

import folder_paths


def inside_output(name: str) -> Path:
    """Returns the path a typed name stands for.

    Raises:
        ValueError: ``name`` leads out of the output folder.
    """
    output = Path(folder_paths.get_output_directory()).resolve()
    wanted = (output / name).resolve()
    if not name.strip() or output not in wanted.parents:
        raise ValueError(
            f"{name!r} leads out of ComfyUI's output folder; give a name such as"
            " 'upscale_models/mine'"
        )
    return wanted
