"""How far results may lie from the float64 oracles, and why."""

# Decoded coordinates, pixels: a handful of float32 roundings at magnitudes around 1000, where one is 6e-5.
BOX_ABSOLUTE_PX = 5e-4
# The project's contract for decode and NMS; ten float32 roundings are 6e-7.
RELATIVE = 1e-5
# Letterbox, grey levels. OpenCV rounds its own weights and its horizontal pass.
GREY_LEVELS_OPENCV = 1
# The exact bilinear value: half a level of rounding, and 255 levels times a weight's 1/4096 along each axis.
GREY_LEVELS_EXACT = 0.5 + 2 * 255 / 4096
# The way back from a letterboxed batch: three roundings to float32, of 6e-8 each.
UNLETTERBOX_RELATIVE = 2e-7
# Deformable convolution in float32, for results of order 1: up to 2400 products, summed one after the other in the
# worst case. Partial sums reach 4, where a rounding is off by 7e-8 on average: 3e-6 for all of them, as they are
# random, and the worst of 50,000 results lies five times as far off.
DEFORM_CONV_ABSOLUTE = 2e-5
# In 16 bits: the error of the correctly rounded result, as much again for rounding each sample.
DEFORM_CONV_ROUNDINGS = 2
