"""The command, called as a person would."""

from __future__ import annotations

from spanpp_core.command import app


def spanpp(*arguments: object) -> int:
    return app.run([str(argument) for argument in arguments])
