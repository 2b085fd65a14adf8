"""The engine: from an image and a model to an upscaled image, within memory.

`plan` cuts an image into tiles, `memory` says how large they may be, `run` sends them
through a `pipeline`, `target` turns what a person asks for into a scale and a size.
"""
