"""A stand-in for ComfyUI: as much of its API as the nodes use, of either generation.

It records what the nodes tell the host. Real servers are tested in tests/hosts/comfyui.
"""

from __future__ import annotations

import enum
import importlib.util
import sys
import types
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from fractions import Fraction
from io import BytesIO
from pathlib import Path
from typing import Any

import torch
from spandrel import MAIN_REGISTRY
from stand_in_io import stand_in_io

PACK = Path(__file__).resolve().parents[3]


class Interrupted(Exception):
    """The user has pressed stop."""


class LatentPreviewMethod(enum.Enum):
    """Which previews of a sampler the host shows."""

    NoPreviews = "none"
    Auto = "auto"


@dataclass
class Host:
    """What the nodes said to the host, and what it is to answer."""

    output: Path
    models: dict[str, Path] = field(default_factory=dict)
    interrupt_after: int | None = None
    texts: list[tuple[str, str]] = field(default_factory=list)
    progress: list[tuple[int, int, Any]] = field(default_factory=list)
    memory_asked: list[int] = field(default_factory=list)
    listed: list[tuple[str, str]] = field(default_factory=list)
    prompt: dict[str, Any] = field(default_factory=dict)
    settings: types.SimpleNamespace = field(
        default_factory=lambda: types.SimpleNamespace(
            preview_method=LatentPreviewMethod.Auto
        )
    )
    pack: types.ModuleType = field(init=False)

    def forget(self, output: Path) -> None:
        """Starts anew, for the next test."""
        self.output = output
        self.interrupt_after = None
        self.settings.preview_method = LatentPreviewMethod.Auto
        said = (self.models, self.texts, self.progress, self.memory_asked)
        for each in (*said, self.listed, self.prompt):
            each.clear()

    def node(self, name: str) -> Any:
        """Returns a node class by its id, as the host would run it."""
        module = sys.modules[f"{self.pack.__name__}.nodes.comfyui"]
        node = getattr(module, name)
        node.hidden = types.SimpleNamespace(unique_id="7", prompt=self.prompt)
        return node

    @property
    def core(self) -> types.ModuleType:
        """The core as the pack has loaded it."""
        return sys.modules[f"{self.pack.__name__}.spanpp_core"]


@contextmanager
def stand_in_host(output: Path, *, newer: bool, pack: Path = PACK) -> Iterator[Host]:
    """Installs the stand-in and loads a pack as ComfyUI does: under its path."""
    host = Host(output)
    modules = _modules(host, newer)
    name = f"{pack.as_posix().replace('.', '_x_')}-{'newer' if newer else 'older'}"
    before = dict(sys.modules)
    registered = dict(vars(MAIN_REGISTRY))
    sys.modules.update(modules)
    try:
        spec = importlib.util.spec_from_file_location(name, pack / "__init__.py")
        assert spec is not None
        assert spec.loader is not None
        host.pack = importlib.util.module_from_spec(spec)
        sys.modules[name] = host.pack
        spec.loader.exec_module(host.pack)
        importlib.import_module(f"{name}.nodes.comfyui")
        yield host
    finally:
        # other tests load models by spandrel, which keeps the first copy that it is given
        vars(MAIN_REGISTRY).update(registered)
        for added in set(sys.modules) - set(before):
            if added in modules or added.startswith(name):
                del sys.modules[added]


def _modules(host: Host, newer: bool) -> dict[str, types.ModuleType]:
    management = types.SimpleNamespace(
        get_torch_device=lambda: torch.device("cpu"),
        unet_offload_device=lambda: torch.device("cpu"),
        intermediate_device=lambda: torch.device("cpu"),
        should_use_fp16=lambda device: False,
        FORCE_FP32=False,
        module_size=lambda model: sum(w.nbytes for w in model.parameters()),
        load_models_gpu=lambda models, memory_required, force_full_load: (
            host.memory_asked.append(memory_required)
        ),
        throw_exception_if_processing_interrupted=lambda: _interrupt(host),
    )
    if newer:
        management.intermediate_dtype = lambda: torch.float32

    class Patcher:
        def __init__(
            self, model: Any, load_device: Any, offload_device: Any, size: int = 0
        ) -> None:
            self.model, self.load_device, self.size = model, load_device, size
            self.callbacks: dict[tuple[str, str], list[Any]] = {}

        def add_callback_with_key(self, moment: str, key: str, callback: Any) -> None:
            self.callbacks.setdefault((moment, key), []).append(callback)

        def get_callbacks(self, moment: str, key: str) -> list[Any]:
            return self.callbacks.get((moment, key), [])

        def detach(self, unpatch_all: bool = True) -> None:
            for each in [each for some in self.callbacks.values() for each in some]:
                each(self, unpatch_all)

    class ProgressBar:
        def __init__(self, total: int) -> None:
            self.total = total

        def update_absolute(self, value: int, total: int, preview: Any) -> None:
            host.progress.append((value, total, preview))

    server = types.SimpleNamespace(
        send_progress_text=lambda text, node: host.texts.append((node, text))
    )
    comfy = _module("comfy", __path__=[])
    comfy.model_management = _module("comfy.model_management", **vars(management))
    comfy.model_patcher = _module("comfy.model_patcher", ModelPatcher=Patcher)
    if newer:
        comfy.model_patcher.CoreModelPatcher = Patcher
    comfy.patcher_extension = _module(
        "comfy.patcher_extension",
        CallbacksMP=types.SimpleNamespace(ON_DETACH="on_detach_after"),
    )
    comfy.utils = _module("comfy.utils", ProgressBar=ProgressBar)
    comfy.cli_args = _module(
        "comfy.cli_args",
        args=host.settings,
        LatentPreviewMethod=LatentPreviewMethod,
    )
    ui = types.SimpleNamespace(PreviewImage=Preview)
    extension = type("ComfyExtension", (), {})
    return {
        "comfy": comfy,
        "comfy.model_management": comfy.model_management,
        "comfy.model_patcher": comfy.model_patcher,
        "comfy.patcher_extension": comfy.patcher_extension,
        "comfy.utils": comfy.utils,
        "comfy.cli_args": comfy.cli_args,
        "comfy_api": _module("comfy_api", __path__=[]),
        "comfy_api.latest": _module(
            "comfy_api.latest",
            io=stand_in_io(newer=newer),
            ui=ui,
            InputImpl=types.SimpleNamespace(
                VideoFromFile=VideoFromFile, VideoFromComponents=VideoFromComponents
            ),
            ComfyExtension=extension,
        ),
        "folder_paths": _folder_paths(host),
        "server": _module(
            "server", PromptServer=types.SimpleNamespace(instance=server)
        ),
    }


class Preview:
    """Images as a node shows them."""

    def __init__(self, images: torch.Tensor) -> None:
        self._images = images

    def as_dict(self) -> dict[str, Any]:
        return {"images": list(self._images)}


class VideoFromFile:
    """A video as the host passes it: a path, or a buffer."""

    def __init__(self, file: str | BytesIO) -> None:
        self._file = file

    def get_stream_source(self) -> str | BytesIO:
        return self._file


class VideoFromComponents:
    """A video that is made of images, as the host passes it."""

    def __init__(
        self, images: torch.Tensor, rate: float = 25, audio: Any = None, bits: int = 8
    ) -> None:
        self._components = types.SimpleNamespace(
            images=images, audio=audio, frame_rate=Fraction(rate)
        )
        self._bits = bits

    def get_components(self) -> Any:
        return self._components

    def get_bit_depth(self) -> int:
        return self._bits


def _interrupt(host: Host) -> None:
    if host.interrupt_after is not None and len(host.progress) >= host.interrupt_after:
        raise Interrupted


def _folder_paths(host: Host) -> types.ModuleType:
    def save_path(prefix: str, output: str) -> tuple[str, str, int, str, str]:
        folder = (Path(output) / prefix).parent
        folder.mkdir(parents=True, exist_ok=True)
        return str(folder), Path(prefix).name, 1, "", prefix

    return _module(
        "folder_paths",
        get_filename_list=lambda folder: sorted(host.models),
        add_model_folder_path=lambda folder, path: host.listed.append((folder, path)),
        get_full_path=lambda folder, name: host.models.get(name),
        get_input_directory=lambda: str(host.output.parent / "input"),
        get_output_directory=lambda: str(host.output),
        get_temp_directory=lambda: str(host.output.parent / "temp"),
        get_save_image_path=save_path,
    )


def _module(name: str, **attributes: Any) -> Any:
    module = types.ModuleType(name)
    vars(module).update(attributes)
    return module
