"""Training: photos in, a checkpoint that `spanpp_core.load` reads out.

photos -> patches -> loop; what a step sees is a function of the seed and the step's
number alone, so a stopped run resumes as if it had not been.
"""
