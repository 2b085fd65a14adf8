"""The engine: from an image and a model to an upscaled image, within memory.

In reading order: `size` turns what a person asks for into an output size and a scale,
`upscaling` prepares a run of checked `arguments`, `prepared_run` carries it out,
`dynamic_range` keeps values outside [0, 1], `resized` brings one scale to the size asked
for, `tiled` runs one scale tile by tile: `tile_plan` cuts the image, `tile_size` and
`memory` say how large tiles may be, `precision` which dtype is fastest, `pipeline` and
`transfer` bring batches of tiles through a device. `masks` and `flat_areas` keep areas of 0
and of 1; `compare` shows before and after.
"""
