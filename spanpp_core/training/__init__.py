"""Training: photos in, a checkpoint that `spanpp_core.load` reads out.

photos -> patches -> loop; `run` puts them together as a `recipe` says. What a step sees is a
function of the seed and the step's number alone, so a stopped run resumes as if it had not
been.
"""
