"""What is imported is declared, in package.xml for rosdep and in setup.py for pip, and nothing else is."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import yaml

from vla_entropy_ros import __version__

ROOT = Path(__file__).parents[2]
OWN = ("vla_entropy_ros", "vla_entropy_interfaces", "tools", "test")  # the second is optional, and built from here

# Imports that rosdep knows by another name. Every other import is a ROS package, which is its own key, or stands below.
ROSDEP = {
    "click": "python3-click",
    "cv2": "python3-opencv",
    "hypothesis": "python3-hypothesis",
    "imageio": "python3-imageio",
    "jinja2": "python3-jinja2",
    "lz4": "python3-lz4",
    "matplotlib": "python3-matplotlib",
    "numpy": "python3-numpy",
    "PIL": "python3-pil",
    "pyqtgraph": "python3-pyqtgraph",
    "pytest": "python3-pytest",
    "rich": "python3-rich",
    "scipy": "python3-scipy",
    "yaml": "python3-yaml",
}

# Imports that package.xml cannot list, and why. `make setup` brings them, from requirements/.
NO_ROSDEP = {
    "backports": "no rosdep key",
    "dask": "no rosdep key",
    "distributed": "no rosdep key",
    "huggingface_hub": "no rosdep key",
    "imageio_ffmpeg": "no rosdep key",
    "onnx": "no rosdep key",
    "onnxruntime": "no rosdep key",
    "openvino": "no rosdep key",
    "mujoco": "its key is one of pip's (python3-mujoco-pip), which installs beside the system's packages",
    "rosbags": "its key is one of pip's (python3-rosbags-pip), which installs beside the system's packages",
    "safetensors": "no rosdep key",
    "sentencepiece": "no rosdep key",
    "tokenizers": "no rosdep key",
    "torch": "its key is the distribution's build, which has no CUDA; which build is right depends on the machine",
    "transformers": "no rosdep key",
    "triton": "no rosdep key; comes with torch for CUDA, and is imported only where that is",
}

# Imports that pip knows by another name.
PIP = {
    "backports": "backports.zstd",
    "cv2": "opencv-python-headless",
    "huggingface_hub": "huggingface-hub",
    "imageio_ffmpeg": "imageio-ffmpeg",
    "PIL": "pillow",
    "yaml": "pyyaml",
}
WITH_TORCH = {"triton"}  # not in setup.py: torch for CUDA brings the version that it needs
EXTRAS = {"panel": {"pyqtgraph"}, "peers": {"onnx", "onnxruntime", "openvino"}}  # of setup.py
NOT_IMPORTED_KEYS = {  # in package.xml, and why
    "python3-pyqt5": "pyqtgraph takes the one of Qt's bindings that is there, which under rqt is this",
    "rqt_gui": "it starts the plugin",
}
NOT_IMPORTED = {  # in setup.py, and why
    "imageio-ffmpeg": "imageio writes mp4 through it",
    "protobuf": "transformers reads tokenizer.model with it",
    "pyopengl": "mujoco draws through it",
}


def imports(source: str) -> set[str]:
    """Top-level names of the packages that `source` imports, those of the standard library and our own left out."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            names.add(node.module)
    return {name.partition(".")[0] for name in names} - set(sys.stdlib_module_names) - set(OWN)


def imports_of(*folders: str) -> set[str]:
    """`imports` of every Python file in `folders`, executables without a suffix among them."""
    files = [path for folder in folders for path in (ROOT / folder).rglob("*") if is_python(path)]
    assert files
    return set().union(*(imports(path.read_text(encoding="utf-8")) for path in files))


def is_python(path: Path) -> bool:
    """A module, or an executable of scripts/."""
    return path.is_file() and (path.suffix == ".py" or path.parent.name == "scripts")


def package_keys(imported: Iterable[str]) -> set[str]:
    """Keys that package.xml must list for `imported`."""
    return {ROSDEP.get(name, name) for name in imported if name not in NO_ROSDEP}


def difference(needed: set[str], declared: set[str]) -> list[str]:
    """What is imported and not declared, and the other way round, a line each."""
    missing = [f"{name} is imported, but not declared" for name in sorted(needed - declared)]
    return missing + [f"{name} is declared, but never imported" for name in sorted(declared - needed)]


def declared(kind: str) -> set[str]:
    """Dependencies of one kind in package.xml."""
    return {element.text or "" for element in package().iter(kind)}


def package() -> ElementTree.Element:
    """The root of package.xml."""
    return ElementTree.parse(ROOT / "package.xml").getroot()


def names(requirements: Iterable[str]) -> set[str]:
    """Names of pip's packages in lower case, without versions."""
    return {re.split(r"[<>=!~;\[ ]", line.strip())[0].lower() for line in requirements if line.strip()}


def asked_of_pip(argument: str) -> Any:
    """What an argument of setup() in setup.py lists."""
    for node in ast.walk(ast.parse((ROOT / "setup.py").read_text(encoding="utf-8"))):
        if isinstance(node, ast.keyword) and node.arg == argument:
            return ast.literal_eval(node.value)
    raise AssertionError(f"setup.py has no {argument}")


def install_requires() -> set[str]:
    """What setup.py asks pip for."""
    return names(asked_of_pip("install_requires"))


def requirement_files(*stems: str) -> set[str]:
    """What files in requirements/ ask pip for."""
    texts = [(ROOT / "requirements" / f"{stem}.txt").read_text(encoding="utf-8") for stem in stems]
    return names(line.partition("#")[0] for text in texts for line in text.splitlines())


SHIPPED = imports_of("vla_entropy_ros", "launch", "scripts")


def test_package_xml_lists_what_is_imported() -> None:
    assert difference(package_keys(SHIPPED) | set(NOT_IMPORTED_KEYS), declared("exec_depend")) == []


def test_package_xml_lists_what_the_tests_import_beyond_that() -> None:
    beyond = package_keys(imports_of("test", "tools")) - declared("exec_depend")
    assert difference(beyond, declared("test_depend")) == []


def test_setup_py_lists_what_is_imported() -> None:
    from_pip = {PIP.get(name, name) for name in SHIPPED if name in ROSDEP or name in NO_ROSDEP}
    from_pip -= WITH_TORCH.union(*EXTRAS.values())
    assert difference(from_pip | set(NOT_IMPORTED), install_requires()) == []


def test_make_installs_what_setup_py_asks_for() -> None:
    assert requirement_files("runtime", "torch") == install_requires()


def test_make_installs_what_the_panel_asks_for() -> None:
    assert names(asked_of_pip("extras_require")["panel"]) == requirement_files("panel") == EXTRAS["panel"] | {"pyqt5"}


def test_make_installs_what_the_peers_of_the_benchmark_ask_for() -> None:
    assert names(asked_of_pip("extras_require")["peers"]) == EXTRAS["peers"]
    assert requirement_files("peers") == EXTRAS["peers"] | {"ml-dtypes"}  # onnx imports it; nothing else comes along


def test_the_reasons_are_about_something() -> None:
    everything = SHIPPED | imports_of("test", "tools")
    assert sorted((set(ROSDEP) | set(NO_ROSDEP)) - everything) == []


@pytest.mark.parametrize(
    "line", ["import zmq", "import zmq.asyncio as z", "from zmq import Context", "def f():\n    import zmq"]
)
def test_an_import_that_nobody_declares_is_found(line: str) -> None:
    needed = package_keys(imports(f"import os\nfrom . import near\nfrom sensor_msgs.msg import Image\n{line}"))
    assert difference(needed, {"sensor_msgs"}) == ["zmq is imported, but not declared"]


def test_a_declaration_that_nobody_imports_is_found() -> None:
    needed = package_keys(imports("import cv2, torch\nfrom sensor_msgs.msg import Image"))
    stale = difference(needed, {"sensor_msgs", "python3-opencv", "nav_msgs"})
    assert stale == ["nav_msgs is declared, but never imported"]


def elements() -> Iterator[str]:
    """Tags of package.xml in order, dependencies as one."""
    for element in package():
        yield "depend" if element.tag.endswith("depend") else element.tag


def test_package_xml_is_of_format_3() -> None:
    root = package()
    assert (root.tag, root.get("format")) == ("package", "3")
    order = "name version description maintainer( maintainer)* license( license)*( url)*( author)*( depend)*( export)?"
    assert re.fullmatch(order, " ".join(elements())), list(elements())
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert root.findtext("version") == citation["version"] == __version__
    assert {url.get("type") for url in root.iter("url")} == {"website", "repository", "bugtracker"}
    for person in (*root.iter("maintainer"), *root.iter("author")):
        assert re.fullmatch(r"[\w%+-]+(\.[\w%+-]+)*@[\w%-]+(\.[\w%-]+)*\.[A-Za-z]{2,}", person.get("email", ""))
    listed = [element.text for element in root if element.tag.endswith("depend")]
    assert len(listed) == len(set(listed))
    assert root.findtext("export/build_type") == "ament_python"
