"""Every error that this package raises on purpose, as one tree.

::

    SpanPPError
    ├── CheckpointError      a file or state dict that is not a whole SpanPP model
    ├── RepairError          a repair strength for which there are no weights
    ├── ScaleError           a scale that the model cannot run at
    ├── PrecisionError       a number format that the model's values do not fit
    ├── SizeError            a size that cannot be made
    ├── ImageError           an image file that cannot be read or written
    ├── VideoError           a video that cannot be read or written
    ├── StoreError           an object store that cannot be read or written
    ├── BatchError           files, or a cluster, with which a batch cannot be done
    ├── DeviceError          a device that cannot be used here
    ├── ExportError          a file for another program that cannot be made
    ├── TrainingError        a training that cannot start or go on
    └── MissingPackageError  an optional package that is not installed

Each message is one line: what was given, what was expected, what to do.
"""


class SpanPPError(ValueError):
    """The root of the tree; a `ValueError` for programs that do not know the tree."""

    # hosts show it, and load this package under the path of a folder
    __module__ = "spanpp_core"


class CheckpointError(SpanPPError):
    """A file or state dict that cannot be used as a SpanPP model."""

    __module__ = "spanpp_core"


class RepairError(SpanPPError):
    """A repair strength that is none, or for which there are no weights."""

    __module__ = "spanpp_core"


class ScaleError(SpanPPError):
    """A scale that the model cannot run at, or that is not a scale."""

    __module__ = "spanpp_core"


class PrecisionError(SpanPPError):
    """A number format that the values of the model do not fit."""

    __module__ = "spanpp_core"


class SizeError(SpanPPError):
    """A size that is not possible, or two that contradict each other."""

    __module__ = "spanpp_core"


class ImageError(SpanPPError):
    """An image file that cannot be read or written."""

    __module__ = "spanpp_core"


class VideoError(SpanPPError):
    """A video that cannot be read or written."""

    __module__ = "spanpp_core"


class StoreError(SpanPPError):
    """An object store that cannot be read or written."""

    __module__ = "spanpp_core"


class BatchError(SpanPPError):
    """Files that cannot be upscaled together, or a cluster that cannot do it."""

    __module__ = "spanpp_core"


class DeviceError(SpanPPError):
    """A device that cannot be used here."""

    __module__ = "spanpp_core"


class ExportError(SpanPPError):
    """A file that cannot be made as asked, or was made and found wrong."""

    __module__ = "spanpp_core"


class TrainingError(SpanPPError):
    """A training that cannot start or go on."""

    __module__ = "spanpp_core"


class MissingPackageError(SpanPPError):
    """An optional package that is needed and not installed."""

    __module__ = "spanpp_core"


def first_line(error: BaseException) -> str:
    """Returns the first line of an error's message that says something, or its name.

    Example:
        >>> first_line(OSError("no space left"))
        'no space left'
        >>> first_line(NotADirectoryError(20, "Not a directory", "notes.txt/out"))
        'notes.txt/out: Not a directory'
        >>> first_line(KeyError())
        'KeyError'
    """
    if isinstance(error, OSError) and error.strerror:
        name = f"{error.filename}: " if error.filename else ""
        return f"{name}{error.strerror}"
    lines = (line.strip() for line in str(error).splitlines())
    return next(filter(None, lines), type(error).__name__)


def last_line(error: BaseException) -> str:
    """Returns the last line of an error's message that says something, or its name.

    Libraries that print the steps they took, or a traceback, put the reason there.

    Example:
        >>> last_line(OSError(28, "No space left on device", ".x.partial.png"))
        'No space left on device'
    """
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
