"""Names of what stands beside a figure: the same measured without a model."""

FLOOR = "real against real"  # the best that can be reached with as many images
FLOOR_DEVIATION = "deviation of real against real"  # of one such figure
IDENTITY = "input as it is"
REINHARD = "Reinhard transfer"
OTHER = "another image"
HELD_OUT = "held-out"  # the classifier's accuracy on real test images
MIRRORED = "mirrored"
INPAINTED = "inpainted (Telea)"
UNIFORM = "all codes alike"
UNIGRAM = "by frequency alone"
