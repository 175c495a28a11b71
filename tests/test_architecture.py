"""What must stay true of the tree: imports run one way, light packages, one reader of labels."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("ingest", "shards", "train", "evaluate")
MAY_IMPORT = {
    "shards": set(),
    "ingest": {"shards"},
    "train": {"shards"},
    "evaluate": {"shards", "train"},
}
FILES = [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]


def imports(path):
    """Modules a file imports, inside functions too."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield node.module


def package_of(path):
    return path.relative_to(ROOT).parts[0]


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_run_one_way(path):
    ours = {name.split(".")[0] for name in imports(path)} & {*PACKAGES, "tests", "scripts"}
    assert ours <= MAY_IMPORT[package_of(path)] | {package_of(path)}


def files_that_import(module):
    return {
        str(p.relative_to(ROOT)) for p in FILES if module in {n.split(".")[0] for n in imports(p)}
    }


def test_ray_is_imported_in_one_package():
    assert all(name.startswith("shards/ray_backend/") for name in files_that_import("ray"))


def test_accelerate_is_imported_in_the_loop():
    """Elsewhere only the name of its type, for a checker."""
    runtime = {
        name
        for name in files_that_import("accelerate")
        if "if TYPE_CHECKING:\n    from accelerate" not in (ROOT / name).read_text()
    }
    assert runtime == {"train/loop.py"}


def test_labels_have_one_reader():
    for path in FILES:
        if package_of(path) not in ("train", "evaluate"):
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            constant = node.value if isinstance(node, ast.Constant) else None
            assert not (
                isinstance(constant, str) and "labels/" in constant and "\n" not in constant
            ), path
        assert "schema import LABELS" not in path.read_text()


JUDGES = {"probe", "retrieval", "beats_probe", "segments_probe"}
"""Modules of evaluate that write a choice and then open test; `predictions` opens it again."""


def judging_files():
    return [path for path in FILES if package_of(path) in ("train", "evaluate")]


def test_test_targets_open_in_the_judges_alone_and_after_the_choice_is_written():
    openers = set()
    for path in judging_files():
        for function in ast.walk(ast.parse(path.read_text())):
            if not isinstance(function, ast.FunctionDef):
                continue
            calls = {
                getattr(node.func, "attr", getattr(node.func, "id", "")): node.lineno
                for node in ast.walk(function)
                if isinstance(node, ast.Call)
            }
            if "test_targets" in calls:
                openers.add(path)
                if path.stem in JUDGES:
                    assert calls["write_json"] < calls["test_targets"], path
    assert openers == {ROOT / f"evaluate/{name}.py" for name in {*JUDGES, "predictions"}}


def test_nobody_reaches_behind_the_reader_of_labels():
    private = {"_values", "_of", "_table", "_splits"}
    for path in judging_files():
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and node.module == "shards.labels":
                names = {alias.name for alias in node.names}
                assert names <= {"Labels", "SPLITS", "KINDS", "METRICS", "label_names"}, path
            if isinstance(node, ast.ImportFrom) and node.module == "shards.targets":
                assert "targets_of" not in {alias.name for alias in node.names}, path
            if isinstance(node, ast.Attribute) and node.attr in private:
                assert isinstance(node.value, ast.Name), path
                assert node.value.id in ("self", "cls"), path


def test_no_module_is_named_like_the_standard_librarys():
    """A script's own folder is first on the path: train/queue.py would break torch."""
    own = {path.stem for path in (ROOT / "train").iterdir() if path.suffix == ".py"}
    assert not own & (set(sys.stdlib_module_names) - {"__init__"})


def test_files_are_one_idea_long():
    for path in FILES:
        assert len(path.read_text().splitlines()) <= 300, path


def test_packages_are_ours():
    for package in PACKAGES:
        module = __import__(package)
        assert Path(module.__file__).parent == ROOT / package
        for name in module.__all__:
            assert getattr(module, name) is not None
        with pytest.raises(AttributeError):
            module.no_such_name  # noqa: B018


@pytest.mark.parametrize("package", PACKAGES)
def test_importing_a_package_loads_neither_torch_nor_ray(package):
    """`import shards` as the architecture says; the others so that help comes at once."""
    extra = "; shards.Index, shards.Batch, shards.TrainPlan" if package == "shards" else ""
    code = f"import sys, {package}{extra}; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split()
    assert not {"torch", "ray", "webdataset"} & set(loaded)


def test_nothing_tracked_speaks_of_a_machine():
    listed = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False
    ).stdout.split("\n")
    homes = ["/ro" + "ot/", "/wo" + "rk/", os.path.expanduser("~") + "/"]
    for name in filter(None, listed):
        path = ROOT / name
        if path.suffix in {".py", ".md", ".toml", ".txt", ".sh", ""} and path.is_file():
            text = path.read_text(errors="replace")
            assert not any(home in text for home in homes), name
