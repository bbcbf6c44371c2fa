"""The largest things that are read from outside: far above what is legitimate, far below what fills a machine."""

from __future__ import annotations

GIB = 1 << 30
MIB = 1 << 20

# Pictures. The side is that of csrc/ops/image.h; an uncompressed picture of that size has 0.75 GiB.
MAX_IMAGE_SIDE = 16384
MAX_IMAGE_BYTES = GIB
MAX_FRAMES = 10_000  # that are counted, of which the first is read
# To read it, with the file: a progressive JPEG file of the largest sides takes 2.75 GiB.
MAX_IMAGE_MEMORY_BYTES = 3 * GIB
# Of a picture that a server decodes for anybody, unless its operator says another number.
MAX_SERVED_PIXELS = 50_000_000

# Checkpoints, packed and unpacked: ResNet-152 with its optimiser's state has 0.8 GiB.
MAX_CHECKPOINT_BYTES = 2 * GIB
MAX_PICKLE_BYTES = 16 * MIB
MAX_PICKLE_OPERATIONS = 400_000  # that checkpoint has 104,000
MAX_TENSORS = 20_000
MAX_DOWNLOAD_BYTES = GIB // 2

# An engine's three files. Protocol Buffers end at 2 GiB; a network for INT8 of ResNet-152 has some 200,000 fields.
MAX_PLAN_BYTES = 4 * GIB
MAX_NETWORK_BYTES = 2 * GIB
MAX_ONNX_FIELDS = 2_000_000
MAX_ONNX_TEXT_BYTES = 64 * MIB  # names and metadata: 10 MiB there
MAX_SIDECAR_BYTES = 16 * MIB

# What a network computes for each pixel of its input. That of ResNet-152 in bfloat16 has 1,400 nodes, computes 4,100
# values, of which it holds 60 at a time, and multiplies 340,000 times.
MAX_NODES = 10_000
MAX_VALUES_PER_PIXEL = 10_000
MAX_VALUES_AT_A_TIME_PER_PIXEL = 512
MAX_MULTIPLICATIONS_PER_PIXEL = 2_000_000
MAX_NETWORK_MEMORY_BYTES = 16 * GIB  # for one image, whatever its size: ResNet-152 takes 15 GiB at 8192 x 8192

# A model's configuration has 1 KiB.
MAX_CONFIG_BYTES = MIB

# JSON: a sidecar has five levels, and its longest texts are paths. A benchmark of an hour has 4 million latencies.
MAX_JSON_VALUES = 10_000_000
MAX_JSON_DEPTH = 32
MAX_JSON_STRING = 8192
MAX_JSON_INTEGER = (1 << 63) - 1

# XML: one picture's labels have some 10 KiB in four levels.
MAX_XML_BYTES = 16 * MIB
MAX_XML_DEPTH = 32

# Labels, predictions, results: a hundred thousand faces have some 10 MiB, the results of an hour 80 MiB.
MAX_TEXT_BYTES = 128 * MIB
MAX_LINE_CHARACTERS = 16 * MIB
MAX_PREDICTIONS = 10_000_000  # of all pictures: some write 750 faces for each of WIDER FACE's 3,226

# Arrays that this program stored: calibration caches, candidates of a sweep.
MAX_ARRAYS_BYTES = 2 * GIB
MAX_DIRECTORY_BYTES = 8 * MIB  # of an archive, with some 100 bytes for a member

# A file of WIDER FACE's ground truth has 0.4 MiB and is read in some 20 MiB.
MAX_MATLAB_BYTES = 64 * MIB
MAX_MATLAB_MEMORY_BYTES = GIB
MAX_MATLAB_OUTPUT_BYTES = 256 * MIB

# Meshes. Face models for networks have 500 to 5,100 vertices. A surface has about twice as many triangles.
MAX_MESH_VERTICES = 8192
MAX_MESH_TRIANGLES = 32768
# Mesh decoders, packed and unpacked: that of 468 vertices has 0.3 MiB. Its dense Chebyshev polynomials take 3 MiB, and
# those of 5,100 vertices and an order of six 0.75 GiB. A layer of the former computes 22,464 values for a face.
MAX_DECODER_BYTES = 16 * MIB
MAX_DECODER_MEMORY_BYTES = GIB
MAX_DECODER_VALUES = 1 << 20
# Of all faces of one picture together, where JSON gives some of them meshes.
MAX_FACES_VERTICES = 1 << 24
