"""The size asked for - a factor, a box, a width - and the output size that follows."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Literal

from ..errors import ScaleError, SizeError
from ..network.scale import MAX_SCALE, output_size

Fractional = Literal["auto", "downscale", "native"]
"""
How a fractional factor is reached. "native": in one pass, by the kernel of that very
scale. "downscale": by the next trained whole scale and one antialiased bicubic downscale,
which measures better with weights trained on whole scales only. "auto": native if the
model was trained on fractional scales, see `SpanPPDescriptor.continuous`, and downscale
otherwise. Whole factors are native always.
"""

FRACTIONAL: tuple[Fractional, ...] = ("auto", "downscale", "native")

ToMultiple = Literal["crop", "fit"]
"""
How the sides of a result become multiples of a number. "crop": the edges are cut off,
evenly on both sides. "fit": the picture is resized to the nearest multiples, which
changes each side by half a multiple at most.
"""

TO_MULTIPLE: tuple[ToMultiple, ...] = ("crop", "fit")


@dataclass(frozen=True)
class OutputSize:
    """The size of a result in pixels, and the factor from the input that leads to it."""

    height: int
    width: int
    factor: float
    """Output pixels per input pixel."""
    picture: tuple[int, int]
    """(height, width) of the whole picture; the result is cut from its middle."""

    @property
    def sides(self) -> tuple[int, int]:
        """(height, width) in pixels."""
        return self.height, self.width

    @property
    def window(self) -> tuple[slice, slice]:
        """The rows and columns of the picture that are the result."""
        top, left = (
            (whole - kept) // 2 for whole, kept in zip(self.picture, self.sides)
        )
        return slice(top, top + self.height), slice(left, left + self.width)

    def scale(self, trained: tuple[int, ...], *, native: bool) -> int | float:
        """Returns the scale to run the network at.

        Args:
            trained: The trained scales of the model, ascending.
            native: Whether a fractional factor has a kernel of its own. Otherwise it is
                reached from a whole scale, see `Fractional`.

        Raises:
            ScaleError: The size is more than 8 times the input.
        """
        if self.factor > MAX_SCALE:
            rows, cols = (
                round(side * MAX_SCALE / self.factor) for side in self.picture
            )
            raise ScaleError(
                f"{self.width}x{self.height} is {self.factor:.6g} times the input; the"
                f" largest possible scale is {MAX_SCALE}: {cols}x{rows}"
            )
        if self.factor.is_integer() or (native and self.factor >= 1):
            return self.factor
        whole = math.ceil(self.factor)
        near = [scale for scale in trained if whole <= scale <= 2 * whole]
        return near[0] if near else whole


@dataclass(frozen=True)
class Size:
    """The size of a result: at most one of these, or ``width`` and ``height`` together.

    The picture keeps its aspect ratio. With none of them, the scale of the model decides.

    Raises:
        SizeError: Several sizes are given, one that is not above 0, or a ``to_multiple``
            that is none of `TO_MULTIPLE`.

    Example:
        >>> Size(fit=(3840, 2160)).of(1080, 1440, model_scale=2).sides
        (2160, 2880)
        >>> Size(factor=1.5, multiple_of=64).of(500, 500, model_scale=2).sides
        (704, 704)
    """

    factor: float | None = None
    """Output pixels per input pixel along each side, rounded. See `parse_factor`."""
    fit: tuple[int, int] | None = None
    """(width, height) in pixels of a box: the largest result that fits inside."""
    width: int | None = None
    """Pixels. Together with ``height``: exactly that size, with the overhang cut off."""
    height: int | None = None
    """Pixels."""
    longer_side: int | None = None
    """Pixels."""
    shorter_side: int | None = None
    """Pixels."""
    megapixels: float | None = None
    """Millions of pixels, about."""
    multiple_of: int = 1
    """Both sides become multiples of this number of pixels."""
    to_multiple: ToMultiple = "crop"
    """How they become multiples."""

    def __post_init__(self) -> None:
        """Checks that one size is given."""
        given = {k: v for k, v in self._sizes().items() if v is not None}
        if len(given) > 1 and set(given) != {"width", "height"}:
            raise SizeError(
                f"found {' and '.join(given)}; give one of them, or width and height"
            )
        fit: object = self.fit
        if fit is not None and not (isinstance(fit, tuple) and len(fit) == 2):  # pyright: ignore
            raise SizeError(f"fit is {fit!r}; give (width, height)")
        for name, value in given.items():
            for number in value if isinstance(value, tuple) else (value,):
                if not _is_positive(number):
                    raise SizeError(
                        f"{name} {number!r} is not possible; give a number above 0"
                    )
        if not (isinstance(self.multiple_of, Integral) and self.multiple_of >= 1):  # pyright: ignore
            raise SizeError(
                f"multiples of {self.multiple_of!r} are not possible; give a whole number"
            )
        if self.to_multiple not in TO_MULTIPLE:
            raise SizeError(
                f"to_multiple is {self.to_multiple!r}; give one of {TO_MULTIPLE}"
            )

    def of(self, height: int, width: int, model_scale: float) -> OutputSize:
        """Returns the size of the result.

        Args:
            height: Of the input in pixels.
            width: Of the input in pixels.
            model_scale: The scale the model is bound to.

        Raises:
            SizeError: It is smaller than the multiple that it is to be cut to.
        """
        factor = self._factor(height, width, model_scale)
        if math.isclose(factor, round(factor), rel_tol=1e-9):
            factor = round(factor)  # whole but for rounding errors
        rows, cols = (max(1, side) for side in output_size(height, width, factor))
        picture = kept = (rows, cols)
        if self.width and self.height:
            kept = (min(rows, self.height), min(cols, self.width))
        if self.to_multiple == "crop":
            kept = (self._cut(kept[0]), self._cut(kept[1]))
        elif self.multiple_of > 1:
            is_cut = kept != picture
            kept = (self._nearest(kept[0]), self._nearest(kept[1]))
            picture = (max(rows, kept[0]), max(cols, kept[1])) if is_cut else kept
        return OutputSize(*kept, float(factor), picture)

    def _sizes(self) -> dict[str, float | tuple[int, int] | None]:
        return {
            "factor": self.factor,
            "fit": self.fit,
            "width": self.width,
            "height": self.height,
            "longer side": self.longer_side,
            "shorter side": self.shorter_side,
            "megapixels": self.megapixels,
        }

    def _factor(self, height: int, width: int, model_scale: float) -> float:
        if self.fit is not None:
            return min(self.fit[0] / width, self.fit[1] / height)
        if self.longer_side is not None:
            return self.longer_side / max(height, width)
        if self.shorter_side is not None:
            return self.shorter_side / min(height, width)
        if self.megapixels is not None:
            return math.sqrt(self.megapixels * 1e6 / (height * width))
        if self.width is None and self.height is None:
            return model_scale if self.factor is None else self.factor
        return max((self.width or 0) / width, (self.height or 0) / height)

    def _cut(self, side: int) -> int:
        if side < self.multiple_of:
            raise SizeError(
                f"{side} pixels cannot be cut to a multiple of {self.multiple_of}; ask"
                " for a larger size"
            )
        return side // self.multiple_of * self.multiple_of

    def _nearest(self, side: int) -> int:
        return max(1, round(side / self.multiple_of)) * self.multiple_of


def _is_positive(number: object) -> bool:
    return isinstance(number, Real) and 0 < float(number) < math.inf


def parse_factor(text: str) -> float:
    """Returns the factor that a person typed: 2, 2.5, 2,5, x1.3333 or 8/3.

    Raises:
        ScaleError: It is not a number above 0.

    Example:
        >>> parse_factor("8/3"), parse_factor("x1.5")
        (2.6666666666666665, 1.5)
    """
    number = re.sub(r"(?<=\d),(?=\d)", ".", text.lower().replace(" ", ""))
    found = re.fullmatch(r"x?([\d.]{1,20})(?:/([\d.]{1,20}))?x?", number)
    try:
        factor = float(found[1]) / float(found[2] or 1) if found else 0.0
    except (ValueError, ZeroDivisionError):
        factor = 0.0
    if factor <= 0:
        raise ScaleError(f"{text!r} is not a factor; give a number such as 2.5 or 8/3")
    return factor
