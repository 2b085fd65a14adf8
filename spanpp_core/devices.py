"""The device to run on: the one that is named, or the fastest of this machine."""

from __future__ import annotations

import logging

import torch

from .errors import DeviceError, first_line


def device_named(name: torch.device | str | None) -> torch.device:
    """Returns a device, or the fastest where none is named.

    A GPU may be too old for the PyTorch that is installed, or full: then that is the CPU,
    and the log says why.

    Raises:
        DeviceError: The device named cannot be used here.
    """
    if name is None:
        xpu = getattr(torch, "xpu", None)  # not before PyTorch 2.3
        kinds = {"cuda": torch.cuda, "xpu": xpu, "mps": torch.backends.mps}
        for kind, of_pytorch in kinds.items():
            if of_pytorch is None or not of_pytorch.is_available():
                continue
            try:
                return device_named(kind)
            except DeviceError as error:
                message = "%s; running on the CPU"
                logging.getLogger("spanpp").warning(message, error)
                break
        return torch.device("cpu")
    try:
        device = torch.device(name)
        torch.zeros(1, device=device).sum().item()  # on "meta" there is nothing to sum
    except (RuntimeError, AssertionError, ImportError, TypeError) as error:
        raise DeviceError(
            f"the device {name} cannot be used here ({first_line(error)})"
        ) from error
    return device
