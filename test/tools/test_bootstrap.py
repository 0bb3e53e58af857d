"""Set-up takes the build of torch that suits the machine, and says in one line why it goes on with another."""

from __future__ import annotations

from pathlib import Path

import pytest

from tools import bootstrap

UNREACHABLE = (
    "WARNING: Retrying (Retry(total=0, connect=None)) after connection broken by 'NameResolutionError(\"HTTPSConnection"
    "(host='index', port=443): Failed to resolve 'index' (Name or service not known)\")': /whl/cpu/torch/\n"
    "ERROR: No matching distribution found for torch\n"
)


class Machine:
    """A machine whose indexes offer one build of torch; `python` stands for its environment's and writes down calls."""

    def __init__(self, folder: Path, patch: pytest.MonkeyPatch) -> None:
        self.calls = folder / "calls"
        self.python = folder / "python"
        self.patch = patch
        self.answers(offered="cuda", gpu=False, refused="--index-url")

    def answers(self, offered: str, gpu: bool, refused: str = "nothing", there: str = "") -> None:
        """Offer a build, have a GPU or none, have one build already, and fail calls with the argument `refused`."""
        self.patch.setattr(bootstrap, "offered_build", lambda pip: offered)
        self.patch.setattr(bootstrap, "has_gpu", lambda: gpu)
        script = (
            f'#!/bin/sh\nif [ "$1" = -c ]; then echo {there}; exit {int(not there)}; fi\necho "$@" >> {self.calls}\n'
            f"case \"$*\" in *{refused}*) cat <<'END'\n{UNREACHABLE}END\nexit 1;; esac\n"
        )
        self.python.write_text(script)
        self.python.chmod(0o755)

    def install(self, build: str = "auto") -> list[str]:
        """Install torch; returns the calls of pip."""
        bootstrap.install_torch(bootstrap.Steps(1), str(self.python), build)
        return self.calls.read_text().splitlines() if self.calls.exists() else []


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    return Machine(tmp_path, monkeypatch)


def test_where_pytorchs_index_is_not_reachable_set_up_says_so_and_goes_on(
    machine: Machine, capsys: pytest.CaptureFixture[str]
) -> None:
    calls = machine.install()
    assert len(calls) == 2
    assert "--index-url" not in calls[1]
    (line,) = [line for line in capsys.readouterr().out.splitlines() if "can't be had" in line]
    assert "no connection: HTTPSConnection(host='index', port=443): Failed to resolve 'index'" in line
    assert "going on with the CUDA build, 5.8 GB in all" in line
    assert "PIP_EXTRA_INDEX_URL" in line


def test_where_the_other_build_has_no_room_set_up_ends_with_what_to_do(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = type("Usage", (), {"free": 2.1e9})
    monkeypatch.setattr(bootstrap.shutil, "disk_usage", lambda place: usage)
    with pytest.raises(bootstrap.SetupError, match=r"5.8 GB in all, 2.1 GB are too little: .*PIP_EXTRA_INDEX_URL"):
        machine.install()


def test_without_a_gpu_the_cpu_build_comes_from_pytorchs_index_and_the_rest_from_the_machines(machine: Machine) -> None:
    machine.answers(offered="cuda", gpu=False)
    cpu, rest = machine.install()
    assert f"--no-deps --index-url {bootstrap.CPU_INDEX}" in cpu
    assert bootstrap.torch_pin() in cpu
    assert "--index-url" not in rest


@pytest.mark.parametrize(("offered", "gpu"), [("cpu", False), ("cuda", True)])
def test_what_the_machines_own_index_offers_is_taken_where_it_suits(machine: Machine, offered: str, gpu: bool) -> None:
    machine.answers(offered, gpu)
    (call,) = machine.install()
    assert "--index-url" not in call


def test_with_a_gpu_a_cpu_build_on_the_machines_index_is_passed_over(machine: Machine) -> None:
    machine.answers(offered="cpu", gpu=True)
    assert bootstrap.torch_pin().replace("==", "===") in machine.install()[0]


@pytest.mark.parametrize(("build", "offered"), [("cpu", "cuda"), ("cuda", "cpu")])
def test_a_build_that_was_asked_for_is_never_replaced(machine: Machine, build: str, offered: str) -> None:
    machine.answers(offered, gpu=False, refused="--no-deps")
    with pytest.raises(
        bootstrap.SetupError, match=rf"Installing torch \({build.upper()} build\) failed: no connection"
    ):
        machine.install(build)


@pytest.mark.parametrize(("there", "gpu"), [("cpu", False), ("cuda", True), ("cuda", False)])
def test_a_build_that_serves_the_machine_stays(machine: Machine, there: str, gpu: bool) -> None:
    machine.answers("cpu", gpu, there=there)
    assert machine.install() == []


@pytest.mark.parametrize("offered", ["cpu", "cuda"])
def test_a_cpu_build_is_replaced_where_there_is_a_gpu(machine: Machine, offered: str) -> None:
    machine.answers(offered, gpu=True, there="cpu")
    replaced, rest = machine.install()
    assert replaced.endswith("--no-deps --force-reinstall")
    assert bootstrap.torch_pin().replace("==", "===" if offered == "cpu" else "==") in replaced.split()
    assert "--force-reinstall" not in rest


def test_a_cpu_build_goes_on_where_the_one_for_the_gpu_cannot_be_had(
    machine: Machine, capsys: pytest.CaptureFixture[str]
) -> None:
    machine.answers("cuda", gpu=True, there="cpu", refused="--force-reinstall")
    machine.install()
    assert "torch's CUDA build can't be had (no connection" in (said := capsys.readouterr().out)
    assert "going on with the CPU build;" in said


@pytest.mark.parametrize(("build", "there"), [("cpu", "cuda"), ("cuda", "cpu")])
def test_another_build_than_the_one_asked_for_is_replaced(machine: Machine, build: str, there: str) -> None:
    machine.answers(build, gpu=there == "cuda", there=there)
    assert "--force-reinstall" in machine.install(build)[0]


def test_a_gpu_that_comes_has_torch_replaced_and_one_that_goes_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[tuple[str, bool]] = []

    def make(folder: Path, ros: str, build: str) -> None:
        made.append((build, (folder / "kept").exists()))
        (folder / "bin").mkdir(parents=True, exist_ok=True)
        (folder / "kept").touch()

    def main(gpu: bool, *options: str) -> int:
        monkeypatch.setattr(bootstrap, "has_gpu", lambda: gpu)
        monkeypatch.setattr("sys.argv", ["bootstrap", str(tmp_path / "env"), *options])
        assert bootstrap.main() == 0
        return len(made)

    monkeypatch.setattr(bootstrap, "make", make)
    monkeypatch.setattr(bootstrap, "ros_source", lambda: "wheels")
    assert [main(False), main(False), main(True), main(True), main(False), main(True)] == [1, 1, 2, 2, 2, 2]
    assert made == [("auto", False), ("auto", True)]
    assert [main(True, "--torch=cpu"), main(True), main(False)] == [3, 3, 3]
    assert made[-1] == ("cpu", False)


@pytest.mark.parametrize(("there", "done"), [("OSMesa", "libosmesa6 is there"), ("EGL", "OSMesa is not here, EGL is")])
def test_a_gl_library_that_is_here_serves(
    there: str, done: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("MUJOCO_GL", raising=False)
    monkeypatch.setattr("ctypes.util.find_library", lambda name: name if name == there else None)
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    bootstrap.install_gl(bootstrap.Steps(1))
    assert done in capsys.readouterr().out


def test_without_any_gl_library_set_up_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MUJOCO_GL", raising=False)
    monkeypatch.setattr("ctypes.util.find_library", lambda name: None)
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    with pytest.raises(bootstrap.SetupError, match=r"the library OSMesa: sudo apt-get install"):
        bootstrap.install_gl(bootstrap.Steps(1))


@pytest.mark.parametrize("root", [True, False])
def test_what_qt_lacks_is_installed_or_named_and_stops_nothing(
    root: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[list[str]] = []
    monkeypatch.setattr("ctypes.util.find_library", lambda name: None if name in ("GL", "xcb-image") else name)
    monkeypatch.setattr("os.geteuid", lambda: 0 if root else 1000)
    monkeypatch.setattr("shutil.which", lambda name: f"/usr/bin/{name}")
    monkeypatch.setattr(bootstrap.Steps, "run", lambda self, title, command: asked.append(command))
    bootstrap.install_qt(bootstrap.Steps(1))
    if root:
        ((shell, _, script),) = asked
        assert shell == "sh"
        assert script.endswith("apt-get install -y --no-install-recommends libgl1 libxcb-image0")
    else:
        assert asked == []
        assert "sudo apt-get install -y --no-install-recommends libgl1 libxcb-image0" in capsys.readouterr().out


def test_what_pip_says_last_stands_where_the_index_answered_after_all() -> None:
    assert bootstrap.last_error(f"{UNREACHABLE}ERROR: No space left on device") == "ERROR: No space left on device"


def test_the_build_once_chosen_stays_until_another_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    built: list[str] = []

    def make(folder: Path, ros: str, build: str) -> None:
        folder.mkdir()
        (folder / "bin").mkdir()
        built.append(build)

    def main(*options: str) -> None:
        monkeypatch.setattr("sys.argv", ["bootstrap", str(tmp_path / "env"), *options])
        assert bootstrap.main() == 0

    monkeypatch.setattr(bootstrap, "make", make)
    monkeypatch.setattr(bootstrap, "ros_source", lambda: "wheels")
    main("--torch=cuda")
    main()
    main("--torch=cuda")
    assert built == ["cuda"]
    monkeypatch.setattr(bootstrap, "fingerprint", lambda ros, gpu: f"another requirement, {gpu}")
    main()
    main("--torch=cpu")
    assert built == ["cuda", "cuda", "cpu"]


@pytest.fixture
def built(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An environment whose compiled stack was built from what is there."""
    sources = tmp_path / "compiled"
    sources.mkdir()
    (sources / "build.py").write_text((bootstrap.COMPILED / "build.py").read_text())
    (sources / "stack.c").write_text("int one;")
    (sources / "_stack.so").touch()
    monkeypatch.setattr(bootstrap, "COMPILED", sources)
    monkeypatch.setattr(bootstrap, "compiler", lambda: "/usr/bin/gcc")
    python = tmp_path / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.touch()
    (tmp_path / ".venv" / bootstrap.STAMP).write_text(f"{bootstrap.stack_sources()} {bootstrap.BUILT}")
    return tmp_path


def test_the_stack_is_built_again_where_its_sources_changed_or_it_is_gone(built: Path) -> None:
    venv, stamp = built / ".venv", built / ".venv" / bootstrap.STAMP
    assert not bootstrap.package_is_stale(venv)
    (built / "compiled" / "_stack.so").unlink()
    assert bootstrap.package_is_stale(venv)
    (built / "compiled" / "_stack.so").touch()
    for name in ("stack.c", "build.py"):
        file = built / "compiled" / name
        kept = file.read_text()
        file.write_text(kept + "\n")
        assert bootstrap.package_is_stale(venv)
        file.write_text(kept)
    stamp.unlink()  # what a user is told to do
    assert bootstrap.package_is_stale(venv)


def test_a_compiler_that_comes_is_used_and_one_that_failed_is_not_asked_at_every_call(
    built: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    venv, stamp = built / ".venv", built / ".venv" / bootstrap.STAMP
    (built / "compiled" / "_stack.so").unlink()
    stamp.write_text(f"{bootstrap.stack_sources()} {bootstrap.FAILED}")
    assert not bootstrap.package_is_stale(venv)
    stamp.write_text(f"{bootstrap.stack_sources()} {bootstrap.WITHOUT}")
    assert bootstrap.package_is_stale(venv)
    monkeypatch.setattr(bootstrap, "compiler", lambda: None)
    assert not bootstrap.package_is_stale(venv)


@pytest.mark.parametrize(
    ("found", "made", "told"),
    [
        ("/usr/bin/gcc", True, ""),
        ("/usr/bin/gcc", False, "since /usr/bin/gcc failed"),
        (None, False, "since there is no C compiler"),
    ],
)
def test_a_stack_that_was_not_built_is_told_with_what_helps(
    built: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], found: str | None, made: bool,
    told: str,
) -> None:  # fmt: skip
    def run(self: object, title: str, command: list[str]) -> None:
        if made:
            (built / "compiled" / "_stack.so").touch()

    monkeypatch.setattr(bootstrap, "compiler", lambda: found)
    monkeypatch.setattr(bootstrap.Steps, "run", run)
    bootstrap.install_package(bootstrap.Steps(1), str(built / ".venv" / "bin" / "python"))
    said = capsys.readouterr().out
    assert told in said
    assert bool(told) == ("make setup" in said)
    assert not bootstrap.package_is_stale(built / ".venv")
