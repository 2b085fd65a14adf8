"""The two things a caller can get wrong: the file, and the scale."""


class CheckpointError(ValueError):
    """A file or state dict that can not be used as a SpanPP model.

    The message is one line: the file, what was found, what was expected.
    """


class ScaleError(ValueError):
    """A scale that the model can not be asked for.

    The message is one line: the scale given, the allowed range, the trained scales.
    """
