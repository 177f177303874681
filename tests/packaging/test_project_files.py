"""What the project's own files promise each other."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tomllib
from importlib.metadata import PackageNotFoundError, metadata
from pathlib import Path

import pytest
from packaging.specifiers import SpecifierSet

import labqdl

TOP = Path(__file__).resolve().parents[2]
PROJECT = (TOP / "pyproject.toml").read_text(encoding="utf-8")
MAKEFILE = (TOP / "Makefile").read_text(encoding="utf-8")
TARGETS = set(re.findall(r"^([a-z]+):", MAKEFILE, re.MULTILINE))
# Single letters stand in brackets, so that this file does not find itself.
FORBIDDEN = {
    "an absolute path": re.compile(r"(?<![\w.~$)}/-])/(?:[w]ork|[r]oot|[o]pt/pypi|[h]ome/\w+)/"),
    "a package index": re.compile(r"(?<!emit-)(?:index-ur[l]|find-link[s]|trusted-hos[t])|pypi\.or[g]|pythonhoste[d]"),
}


def _requirements() -> list[str]:
    table = tomllib.loads(PROJECT)
    extras = table["project"]["optional-dependencies"].values()
    return [*table["build-system"]["requires"], *table["project"]["dependencies"], *(r for e in extras for r in e)]


def _committed() -> list[Path]:
    if shutil.which("git") is None or not (TOP / ".git").exists():
        pytest.skip("not a git checkout")
    done = subprocess.run(["git", "ls-files", "-z"], cwd=TOP, capture_output=True, check=True)
    return [TOP / name for name in done.stdout.decode().split("\0") if name]


@pytest.mark.parametrize("requirement", _requirements())
def test_every_dependency_has_its_reason(requirement: str) -> None:
    lines = [line for line in PROJECT.splitlines() if f'"{requirement}"' in line]
    assert lines
    for line in lines:
        assert len(line.partition("#")[2].strip()) > 10


def test_constraints_are_plain_pins() -> None:
    lines = (TOP / "constraints.txt").read_text(encoding="utf-8").splitlines()
    assert lines == sorted(lines, key=str.lower)
    for line in lines:
        assert re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9.+!]+( ; .+)?", line)


def test_constraints_cover_every_dependency() -> None:
    pinned = {
        re.sub(r"[-_.]+", "-", line.partition("==")[0]).lower()
        for line in (TOP / "constraints.txt").read_text(encoding="utf-8").splitlines()
    }
    build = tomllib.loads(PROJECT)["build-system"]["requires"]
    needed = {re.split(r"[\[<>=!~ ]", r)[0].lower() for r in _requirements() if r not in build}
    assert needed - pinned == {"labqdl"}


def test_no_file_knows_a_machine() -> None:
    found = []
    for path in _committed():
        try:
            text = path.read_text(encoding="utf-8")
        except (UnicodeDecodeError, FileNotFoundError, IsADirectoryError):
            continue  # data, or a file that is being moved
        for number, line in enumerate(text.splitlines(), 1):
            found += [f"{path}:{number}: {what}" for what, pattern in FORBIDDEN.items() if pattern.search(line)]
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    "line", ["see /@work/notes", "cd '/@root/x'", "--extra-index-@url=x", "-i https://pypi.@org/x", "/@home/me/labqdl"]
)
def test_what_a_machine_leaves_behind_is_found(line: str) -> None:
    assert any(pattern.search(line.replace("@", "")) for pattern in FORBIDDEN.values())


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md", "docs/install.md", "docs/tutorial.md"])
def test_every_make_command_is_a_target(page: str) -> None:
    text = (TOP / page).read_text(encoding="utf-8")
    commands = re.findall(r"(?:^|`)make ([^`#\n]*)", text, re.MULTILINE)
    targets = {word for command in commands for word in command.split() if "=" not in word}
    assert targets <= TARGETS


def test_the_readme_shows_both_commands() -> None:
    text = (TOP / "README.md").read_text(encoding="utf-8")
    assert re.search(r"^make demo\b", text, re.MULTILINE)
    assert re.search(r"^make test\b", text, re.MULTILINE)


def test_all_targets_are_declared_and_explained() -> None:
    phony = re.search(r"^\.PHONY: (.*)$", MAKEFILE, re.MULTILINE)
    assert phony
    assert set(phony.group(1).split()) == TARGETS
    for target in TARGETS:
        assert re.search(rf"^{target}:.*## \S", MAKEFILE, re.MULTILINE)


@pytest.mark.skipif(shutil.which("bash") is None or sys.platform == "win32", reason="continuous integration has bash")
def test_continuous_integration_runs_what_the_readme_says(tmp_path: Path) -> None:
    (tmp_path / ".ci").mkdir()
    shutil.copy(TOP / ".ci" / "run", tmp_path / ".ci")
    decoy = "```sh\necho wrong\n```\n"
    readme = f"# x\n\n{decoy}\n## Run the tests\n\nwords\n\n```sh\necho right\nfalse\n```\n\n{decoy}"
    (tmp_path / "README.md").write_text(readme, encoding="utf-8")
    done = subprocess.run(["bash", str(tmp_path / ".ci/run")], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stdout.splitlines()[-1] == "right"
    (tmp_path / "README.md").write_text("# x\n", encoding="utf-8")
    done = subprocess.run(["bash", str(tmp_path / ".ci/run")], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "no fenced command" in done.stderr


def test_the_readme_has_a_test_command() -> None:
    section = (TOP / "README.md").read_text(encoding="utf-8").partition("\n## Run the tests\n")[2]
    lines = iter(section.splitlines())
    assert next(line for line in lines if line.startswith(("```", "#"))) == "```sh"
    assert next(lines) == "make test"
    assert next(lines) == "```"


def test_the_citation_names_this_version() -> None:
    assert f"\nversion: {labqdl.__version__}\n" in (TOP / "CITATION.cff").read_text(encoding="utf-8")


def test_pins_install_on_the_oldest_python() -> None:
    """`make test` must install on 3.11.0 as well, not only on the 3.11 that made the pins."""
    pinned = re.findall(
        r"^([A-Za-z0-9._-]+)==([^\s;]+)", (TOP / "constraints.txt").read_text(encoding="utf-8"), re.MULTILINE
    )
    asked = 0
    for name, version in pinned:
        try:
            found = metadata(name)
        except PackageNotFoundError:  # of another platform, or of an extra that is not installed
            continue
        if found["Version"] == version and (needs := found["Requires-Python"]):
            asked += 1
            assert SpecifierSet(str(needs)).contains("3.11.0"), f"{name} {version} needs Python {needs}"
    assert asked > 20
