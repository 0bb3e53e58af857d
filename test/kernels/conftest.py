"""Triton's kernels without a GPU: interpreted, and compiled for some devices; `make kernels` installs Triton alone.

On a machine with CUDA they run there instead: tools/gpu.py.
"""

from __future__ import annotations

import os

import torch

if not torch.cuda.is_available():
    os.environ["TRITON_INTERPRET"] = "1"  # before any kernel is imported

torch.set_num_threads(1)
