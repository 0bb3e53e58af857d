"""Build of the ament_python package; pip and colcon both come through here."""

import re
from glob import glob
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.develop import develop

NAME = "vla_entropy_ros"
ROOT = Path(__file__).resolve().parent
VERSION = re.search(r'__version__ = "(.+)"', (ROOT / NAME / "__init__.py").read_text())[1]


class Develop(develop):
    """As setuptools', for `colcon build --symlink-install`: there setup.cfg's interpreter for commands is not asked."""

    def write_script(self, name, contents, *options):
        """Write a command that runs in the environment at hand, as those of a build without links do."""
        if Path(self.script_dir).parts[-2:] == ("lib", NAME):
            contents = "#!/usr/bin/env python3\n" + contents.partition("\n")[2]
        super().write_script(name, contents, *options)


setup(
    name=NAME,
    cmdclass={"develop": Develop},
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
    package_data={NAME: ["models/*/*", "sim/*.xml", "bags/report/page/*", "py.typed"]},
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
    },
    zip_safe=True,
    entry_points={"console_scripts": [f"vla-entropy = {NAME}.cli:main"]},
)
