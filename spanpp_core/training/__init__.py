"""Training: photos in, a checkpoint that `spanpp_core.load` reads out.

photos -> patches -> loop; what a step sees is a function of the seed and the step's
number alone, so a run that was stopped goes on as if it had not been.
"""
