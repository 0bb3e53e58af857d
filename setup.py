"""Build of the ament_python package; pip and colcon both come through here."""

import re
import tempfile
from glob import glob
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

from setuptools import Extension, find_packages, setup
from setuptools.command.build_ext import build_ext
from setuptools.command.develop import develop

NAME = "vla_entropy_ros"
ROOT = Path(__file__).resolve().parent
COMPILED = f"{NAME}/engine/model/compiled"
_spec = spec_from_file_location("build_of_the_stack", ROOT / COMPILED / "build.py")
stack = module_from_spec(_spec)
_spec.loader.exec_module(stack)
VERSION = re.search(r'__version__ = "(.+)"', (ROOT / NAME / "__init__.py").read_text())[1]


class Develop(develop):
    """As setuptools', for `colcon build --symlink-install`: there setup.cfg's interpreter for commands is not asked."""

    def write_script(self, name, contents, *options):
        """Write a command that runs in the environment at hand, as those of a build without links do."""
        if Path(self.script_dir).parts[-2:] == ("lib", NAME):
            contents = "#!/usr/bin/env python3\n" + contents.partition("\n")[2]
        super().write_script(name, contents, *options)


class BuildStack(build_ext):
    """Builds the compiled stack: a file per processor family, each with flags of its own, and one that chooses.

    Where it fails, that is a line, and the package does without: see `Extension`'s `optional`.
    """

    def build_extension(self, ext):
        """Compile and link; CompileError and LinkError are caught for what is optional."""
        flags, threads = [*stack.FLAGS], [stack.THREADS] if self._has(stack.THREADS) else []
        objects = []
        for source in ext.sources:
            own = stack.variants().get(Path(source).stem, [f'-DSOURCES="{stack.digest()}"'])
            told = {"output_dir": self.build_temp, "extra_postargs": [*flags, *threads, *own], "depends": ext.depends}
            objects += self.compiler.compile([source], **told)
        self.compiler.link_shared_object(
            objects, self.get_ext_fullpath(ext.name), libraries=["m"], extra_postargs=threads
        )

    def _has(self, flag):
        """Whether the compiler takes a flag; one that can't be run says so when it is used."""
        with tempfile.TemporaryDirectory() as folder:
            source = Path(folder) / "empty.c"
            source.write_text("int main(void) { return 0; }\n")
            try:
                made = self.compiler.compile([str(source)], output_dir=folder, extra_postargs=[flag])
                self.compiler.link_executable(made, "empty", output_dir=folder, extra_postargs=[flag])
            except Exception:  # noqa: BLE001 - of setuptools, whose errors have moved between its versions
                return False
        return True


SOURCES = [f"{COMPILED}/{name}.c" for name in (*stack.variants(), "dispatch")]

setup(
    name=NAME,
    cmdclass={"build_ext": BuildStack, "develop": Develop},
    ext_modules=[
        Extension(
            f"{NAME}.engine.model.compiled.{stack.NAME}",
            SOURCES,
            depends=sorted(glob(f"{COMPILED}/*.h")),
            optional=True,
        )
    ],
    version=VERSION,
    description="Entropy-accelerated vision-language-action policies for ROS 2",
    long_description=(ROOT / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    author="vla_entropy_ros maintainers",
    author_email="maintainers@vla-entropy-ros.invalid",
    url="https://vla-entropy-ros.invalid",  # as in package.xml: no public home yet
    license="Apache-2.0",
    python_requires=">=3.10",
    packages=find_packages(include=[NAME, f"{NAME}.*"]),
    package_data={NAME: ["models/*/*", "sim/*.xml", "bags/report/page/*", "engine/model/compiled/*.[ch]", "py.typed"]},
    data_files=[
        ("share/ament_index/resource_index/packages", [f"resource/{NAME}"]),
        (f"share/{NAME}", ["package.xml", "plugin.xml"]),
        (f"share/{NAME}/launch", sorted(glob("launch/*.py"))),
        (f"share/{NAME}/config", sorted(glob("config/*"))),
        (f"share/{NAME}/examples", sorted(glob("examples/*.py"))),
        (f"share/{NAME}/bags/pick_red", sorted(glob("bags/pick_red/*"))),
        (f"lib/{NAME}", sorted(glob("scripts/*"))),
    ],
    install_requires=[
        "backports.zstd>=1.0",
        "click>=8.1",
        "dask>=2024.8",
        "distributed>=2024.8",
        "huggingface-hub>=1.0",
        "imageio>=2.31",
        "imageio-ffmpeg>=0.5",
        "jinja2>=3.1",
        "lz4>=4.3",
        "matplotlib>=3.8",
        "mujoco>=3.2",
        "numpy>=1.26",
        "opencv-python-headless>=4.9",
        "pillow>=10",
        "protobuf>=4.25",
        "PyOpenGL>=3.1.7",
        "PyYAML>=6",
        "rich>=13",
        "rosbags>=0.11.9",
        "safetensors>=0.4",
        "scipy>=1.11",
        "sentencepiece>=0.2",
        "tokenizers>=0.19",
        "torch>=2.4",
        "transformers>=5.0",
    ],
    extras_require={
        "panel": ["pyqtgraph>=0.12", 'PyQt5>=5.15; platform_machine == "x86_64"'],  # elsewhere the system's PyQt5
        "peers": ["onnx>=1.16", "onnxruntime>=1.20", "openvino>=2025.0"],  # of `vla-entropy bench --peers`
    },
    zip_safe=True,
    entry_points={"console_scripts": [f"vla-entropy = {NAME}.cli:main"]},
)
