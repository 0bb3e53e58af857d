"""Triton's kernels without a GPU: interpreted, and compiled for some devices; `make kernels` installs Triton alone.

On a machine with CUDA they run there instead: tools/gpu.py.
"""

from __future__ import annotations

import os

import pytest
import torch

from tools.gpu import ON_CUDA

torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _where_they_are_asked_to_run() -> None:
    """Skip where CUDA is asked for and is not there, instead of passing in the interpreter."""
    if os.environ.get(ON_CUDA) and not torch.cuda.is_available():
        pytest.skip("needs CUDA")
