"""How the C files beside this one are built; read by setup.py, so it imports nothing of the package."""

from __future__ import annotations

import hashlib
import platform
from pathlib import Path

FOLDER = Path(__file__).parent
NAME = "_stack"  # of the library, before the suffix of an extension module
FLAGS = ("-std=gnu11", "-O3", "-fno-math-errno", "-fvisibility=hidden")  # no -ffast-math: sums keep their order
THREADS = "-fopenmp"  # left out where the compiler has none: one thread then
X86 = {
    "avx512": ("-mavx512f", "-mavx512dq", "-mavx512vl", "-mavx512bw", "-mfma", "-mprefer-vector-width=512"),
    "avx2": ("-mavx2", "-mfma"),
}
VARIANTS: dict[str, dict[str, tuple[str, ...]]] = {"x86_64": X86, "AMD64": X86, "aarch64": {"neon": ()}}


def variants() -> dict[str, tuple[str, ...]]:
    """Flags of every variant that is built on this kind of machine, by name; empty where there is none."""
    return VARIANTS.get(platform.machine(), {})


def digest() -> str:
    """Hash of the C files and of this one, with their flags: a library that was built from others is not used."""
    made = hashlib.sha256()
    for path in sorted([*FOLDER.glob("*.[ch]"), FOLDER / "build.py"]):
        made.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return made.hexdigest()[:16]
