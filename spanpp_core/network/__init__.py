"""The network: scale arithmetic, reparameterisation, kernel generation, model.

Reading order: `hyperparameters`, `scale` (integers and fractions only), `reparam` and `igconv` (pure
functions over tensors), `model` (what runs), `branches` (what is trained).
"""
