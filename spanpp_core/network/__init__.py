"""The network: scale arithmetic, reparameterisation, kernel generation, model.

In reading order: `hyperparameters`, `body` (the layers, in 100 lines), `scale` (scale
arithmetic in fractions), `igconv` (the kernel as a function of the scale), `kernels` (the
kernels of one scale, and how they render), `reparam` (pure functions over weights),
`branches` (the network in training), `model` (the network in use). `last_layers`,
`end_layers`, `cache` and `device_tables` make `model` fast; `autocast` is a helper.
"""
