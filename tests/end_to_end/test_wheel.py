"""What is built and installed is what works: the wheel, in an environment with nothing else."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.conftest import Save, module_text
from tests.end_to_end.processes import ROOT, running

KEPT_OUT = shutil.ignore_patterns(
    ".git", ".venv", "build", "dist", "*.egg-info", "__pycache__", ".*_cache", ".hypothesis"
)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from a copy of the tree."""
    directory = tmp_path_factory.mktemp("wheel")
    shutil.copytree(ROOT, directory / "tree", ignore=KEPT_OUT)
    command = [sys.executable, "-m", "build", "--wheel", "--outdir", str(directory), str(directory / "tree")]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    (built,) = directory.glob("*.whl")
    return built


def test_the_wheel_holds_the_plugin_and_no_package_of_twisted(wheel: Path) -> None:
    """The plugin is there; an ``__init__.py`` in ``twisted/`` would break Twisted itself."""
    names = zipfile.ZipFile(wheel).namelist()
    assert "twisted/plugins/dspyreload_plugin.py" in names
    assert "dspyreload/py.typed" in names
    assert [name for name in names if name.startswith("twisted/")] == ["twisted/plugins/dspyreload_plugin.py"]
    assert not any(name.startswith(("tests/", "examples/", "benchmarks/")) for name in names)


def test_installed_in_an_empty_environment_it_gives_the_twistd_command(wheel: Path, modules: Path, save: Save) -> None:
    """``pip install`` of the wheel alone, without DSPy, and ``twistd dspyreload`` serves and reloads."""
    save("npc/smith.json", module_text())
    environment = modules.parent / "environment"
    subprocess.run([sys.executable, "-m", "venv", str(environment)], check=True)
    python = environment / "bin" / "python"
    subprocess.run([str(python), "-m", "pip", "install", "--quiet", str(wheel)], check=True, stderr=subprocess.DEVNULL)
    command = (str(environment / "bin" / "twistd"), "-n", "dspyreload", "--modules", "modules")
    with running(*command, cwd=modules.parent) as server:
        server.wait_for("watching .*; 1 module live")
        save("npc/smith.json", module_text(instruction="Be kind."))
        server.wait_for("npc.smith is live: version")
        server.end()
    (modules / "npc" / "smith.json").write_text("{")
    check = subprocess.run(
        [str(environment / "bin" / "dspyreload"), "check", "modules"],
        cwd=modules.parent,
        capture_output=True,
        text=True,
        check=False,
    )
    assert check.returncode == 1
    assert check.stdout.startswith("npc/smith.json:1:2: ")
