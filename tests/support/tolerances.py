"""Tolerances for comparisons with the float64 oracles, with their reasons."""

# Decoded coordinates in pixels: a few float32 roundings at magnitudes around 1000, where one rounding is up to 6e-5.
BOX_ABSOLUTE_PX = 5e-4
# The project's contract for decoding and NMS; ten float32 roundings are 6e-7.
RELATIVE = 1e-5
# Letterbox against OpenCV, in grey levels: OpenCV rounds its weights and its horizontal pass.
GREY_LEVELS_OPENCV = 1
# Letterbox against exact bilinear values: rounding by half a level, and 255 levels times a weight error of 1/4096 along
# each axis.
GREY_LEVELS_EXACT = 0.5 + 2 * 255 / 4096
# Coordinates mapped back from the letterboxed image: three float32 roundings of 6e-8 each.
UNLETTERBOX_RELATIVE = 2e-7
# Deformable convolution in float32, for results of order 1: up to 2400 products, in the worst case summed one after the
# other. Partial sums reach 4, where a rounding error is 7e-8 on average. The errors are random and add up to about
# 3e-6; the worst of 50,000 results is off by five times as much.
DEFORM_CONV_ABSOLUTE = 2e-5
# In 16 bits, in units of the error of one correct rounding: one for the result, one for rounding the samples.
DEFORM_CONV_ROUNDINGS = 2
# Transforms of aligned crops, of magnitude 1 and above: estimated in float64, then one float32 rounding of 6e-8.
TRANSFORM = 1e-7
