"""What `import spanpp_core` gives: as many names as are meant, and no more."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import pytest

import spanpp_core
from spanpp_core import errors

OURS = {
    name
    for name, value in vars(spanpp_core).items()
    if not name.startswith("_") and not inspect.ismodule(value)
}
MODULES = {"errors", "export", "video"}


def test_all_names_what_is_there() -> None:
    assert set(spanpp_core.__all__) == OURS | MODULES | {"__version__"}


def test_what_a_user_needs_is_there() -> None:
    needed = {"load", "read", "upscale", "Size", "prepare", "install", "bundled_model"}
    assert needed <= set(spanpp_core.__all__)


def test_each_name_explains_itself() -> None:
    for name in OURS:
        value = getattr(spanpp_core, name)
        if inspect.isclass(value) or inspect.isfunction(value):
            assert inspect.getdoc(value), f"{name} has no docstring"


def test_version_is_that_of_the_package() -> None:
    pyproject = Path(spanpp_core.__file__).parents[1] / "pyproject.toml"
    if not pyproject.is_file():
        pytest.skip("installed without its sources")
    found = re.search(r"^version = \"(.*)\"", pyproject.read_text("utf-8"), re.M)
    assert found
    assert found[1] == spanpp_core.__version__


TREE = [
    value
    for value in vars(errors).values()
    if inspect.isclass(value) and issubclass(value, errors.SpanPPError)
]


@pytest.mark.parametrize("error", TREE)
def test_errors_are_public_drawn_and_shown_without_a_path(error: type) -> None:
    assert getattr(spanpp_core, error.__name__) is error
    assert error.__name__ in (errors.__doc__ or "")
    assert error.__module__ == "spanpp_core"
    assert issubclass(error, ValueError), "programs that do not know the tree expect it"
