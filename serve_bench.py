"""Measure throughput and latency of engines under load: `python serve_bench.py --engine retinaface_fp16.engine`."""

import sys

from retinaface_trt import bench_main

if __name__ == "__main__":
    sys.exit(bench_main())
