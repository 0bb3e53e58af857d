"""The stack's C for other processors and by other compilers than built it here: each gives the same, row by row."""

from __future__ import annotations

import platform
import shutil
import subprocess
from pathlib import Path

import pytest

from vla_entropy_ros.engine.model.compiled.build import FLAGS, FOLDER, VARIANTS

PROGRAM = Path(__file__).with_name("elsewhere.c")
SUM = -69.832  # of the logits, weighted: what every variant gave where this was written
STRICT = ("-Wall", "-Wextra", "-Werror", "-Wno-unknown-pragmas", "-Wno-unused-parameter")  # OpenMP is left out
CASES = [  # machine, compiler, what runs its programs here
    ("x86_64", "gcc", ()),
    ("x86_64", "clang", ()),
    ("aarch64", "aarch64-linux-gnu-gcc", ("qemu-aarch64",)),
    ("aarch64", "gcc", ()),
]


@pytest.mark.parametrize(
    ("machine", "compiler", "runner", "variant"),
    [(*case, variant) for case in CASES for variant in VARIANTS[case[0]]],
)
def test_every_variant_gives_the_same(
    machine: str, compiler: str, runner: tuple[str, ...], variant: str, tmp_path: Path
) -> None:
    if not all(map(shutil.which, (compiler, *runner))):
        pytest.skip(f"needs {', '.join((compiler, *runner))}")
    if not runner and machine != platform.machine():
        pytest.skip(f"needs a machine of {machine}")
    program = str(tmp_path / "program")
    flags = [*FLAGS, *STRICT, *(["-static"] if runner else []), *VARIANTS[machine][variant]]
    subprocess.run(
        [compiler, *flags, f"-I{FOLDER}", f'-DFAMILY="{variant}.c"', str(PROGRAM), "-o", program, "-lm"],
        check=True, timeout=120,
    )  # fmt: skip
    done = subprocess.run([*runner, program], capture_output=True, text=True, check=False, timeout=60)
    if done.returncode < 0:
        pytest.skip(f"this processor has no {variant}")
    whole, differing = done.stdout.split()
    assert float(whole) == pytest.approx(SUM, abs=2e-3)
    assert differing == "0"
