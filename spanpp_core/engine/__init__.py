"""The engine: from an image and a model to an upscaled image, within memory.

In reading order: `size` turns what a person asks for into an output size and a scale,
`upscaling` prepares a run, `prepared_run` carries it out, `dynamic_range` keeps values
outside [0, 1], `resized` brings one scale to the size asked for, `tiled` runs one scale tile
by tile: `plan` cuts the image, `memory` says how large tiles may be, `precision` which dtype
is fastest, `pipeline` and `transfer` bring batches of tiles through a device. `compare`
shows before and after.
"""
