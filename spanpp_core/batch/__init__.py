"""Many files upscaled by one model, here or on a Ray cluster.

In reading order: `stores` reads and writes URLs, `places` treats paths and URLs alike,
`pairs` finds the input files and names their results, `upscaler` makes one result from one
file, `cluster` does so on many machines.
"""
