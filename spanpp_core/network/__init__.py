"""The network: scale arithmetic, reparameterisation, kernel generation, model.

In reading order: `hyperparameters`, `body` (the definition, on one screen), `scale`
(integers and fractions only), `igconv` (the kernel as a function of the scale), `kernels`
(the kernels of one scale, and how they render), `reparam` (pure functions over weights),
`branches` (what is trained), `model` (what runs). The fast path of `model` is made of
`last_layers`, `ends`, `cache` and `autocast`.
"""
