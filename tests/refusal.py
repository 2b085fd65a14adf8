"""What a checkpoint that cannot be used must end in."""

from __future__ import annotations

import pytest

import spanpp_core


def refusal(source) -> str:
    """The one line with which a source is refused."""
    with pytest.raises(spanpp_core.CheckpointError) as caught:
        spanpp_core.load(source)
    assert isinstance(caught.value, ValueError)
    message = str(caught.value)
    assert "\n" not in message
    return message
