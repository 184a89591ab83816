"""The layers: agents import policies and envs, those two not each other, nothing goes in circles, deployment is light."""

from __future__ import annotations

import ast
import subprocess
import sys
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LAYERS = ("agents", "envs", "policies")
ALLOWED = {"agents": {"agents", "envs", "policies"}, "envs": {"envs"}, "policies": {"policies"}}

LIGHT = """
import sys, importlib, pkgutil
training_only = {
    "undrift.agents.adaptation.distillation",
    "undrift.agents.adaptation.identification",
    "undrift.agents.evaluation.oracle",
}
for name in sys.argv[1:]:
    module = importlib.import_module(name)
    for child in pkgutil.walk_packages(getattr(module, "__path__", []), name + "."):
        if child.name not in training_only:
            importlib.import_module(child.name)
heavy = sorted({"torch", "stable_baselines3", "sb3_contrib"} & set(sys.modules))
print(",".join(heavy))
"""


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(path): path for layer in LAYERS for path in (ROOT / layer).rglob("*.py")}


def imported_modules(name: str, *, at_import: bool) -> set[str]:
    """Modules of ours that `name` imports: anywhere in it, or only those that run at its own import."""
    tree = ast.parse(MODULES[name].read_text())
    package = name if MODULES[name].name == "__init__.py" else name.rpartition(".")[0]
    found = set()
    for node in statements(tree, at_import):
        if isinstance(node, ast.ImportFrom) and node.level:
            parents = ["undrift", *package.split(".")]
            base = parents[: len(parents) - node.level + 1]
            stem = ".".join([*base, node.module] if node.module else base)
            candidates = [f"{stem}.{alias.name}" for alias in node.names]
            found |= {full if own(full) in MODULES else stem for full in candidates}
        elif isinstance(node, ast.ImportFrom):
            found.add(node.module or "")
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return {own(target) for target in found if own(target).split(".")[0] in LAYERS and target.startswith("undrift.")}


def own(target: str) -> str:
    return target.removeprefix("undrift.")


def statements(tree: ast.AST, at_import: bool) -> list[ast.AST]:
    """Every node, or only those that run at import: no function bodies, nothing under TYPE_CHECKING."""
    if not at_import:
        return list(ast.walk(tree))
    nodes: list[ast.AST] = []
    for child in ast.iter_child_nodes(tree):
        skipped = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda) or (
            isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test)
        )
        if not skipped:
            nodes += [child, *statements(child, True)]
    return nodes


@pytest.mark.parametrize("layer", LAYERS)
def test_a_layer_imports_only_the_layers_below_it(layer: str) -> None:
    wrong = {
        f"{name} -> {target}"
        for name in MODULES
        if name.split(".")[0] == layer
        for target in imported_modules(name, at_import=False)
        if target.split(".")[0] not in ALLOWED[layer]
    }
    assert not wrong


def test_the_parser_sees_the_edges_between_the_layers() -> None:
    edges = {target.split(".")[0] for name in MODULES for target in imported_modules(name, at_import=False)}
    assert edges == set(LAYERS)
    assert "policies.deployed" in imported_modules("agents.run", at_import=True)
    assert "envs" in imported_modules("agents.doctor", at_import=False)


def test_imports_inside_the_library_are_relative() -> None:
    absolute = [
        f"{path}:{node.lineno}"
        for path in MODULES.values()
        for node in ast.walk(ast.parse(path.read_text()))
        if (
            isinstance(node, ast.ImportFrom)
            and not node.level
            and (node.module or "").split(".")[0] in ("undrift", *LAYERS)
        )
        or (isinstance(node, ast.Import) and any(a.name.split(".")[0] in ("undrift", *LAYERS) for a in node.names))
    ]
    assert not absolute


def test_no_module_imports_itself_through_others() -> None:
    graph = {name: imported_modules(name, at_import=True) - {name} for name in MODULES}
    try:
        list(TopologicalSorter(graph).static_order())
    except CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))


@pytest.mark.parametrize(
    "modules",
    [
        ("undrift.envs",),
        ("undrift.policies.kernels", "undrift.policies.deployed"),
        ("undrift.agents.adaptation", "undrift.agents.controller"),
        ("undrift.agents.rollout", "undrift.agents.episode", "undrift.agents.run"),
        ("undrift.agents.evaluation",),
        ("undrift.agents.cli",),
    ],
    ids=lambda modules: modules[0],
)
def test_what_is_deployed_starts_without_torch_and_stable_baselines3(modules: tuple[str, ...]) -> None:
    process = subprocess.run(
        [sys.executable, "-c", LIGHT, *modules], capture_output=True, text=True, timeout=120, check=False
    )
    assert process.returncode == 0, process.stderr
    assert process.stdout.strip() == ""


@pytest.mark.parametrize("layer", LAYERS)
def test_a_layer_imported_by_its_bare_name_fails_at_once(layer: str) -> None:
    process = subprocess.run(
        [sys.executable, "-c", f"import {layer}"], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    assert process.returncode != 0
    assert "relative import" in process.stderr


@pytest.mark.parametrize("layer", LAYERS)
def test_every_name_a_layer_offers_can_be_had(layer: str) -> None:
    check = f"import undrift.{layer} as m; missing = [n for n in m.__all__ if getattr(m, n, None) is None]; assert not missing, missing"
    process = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, timeout=120, check=False)
    assert process.returncode == 0, process.stderr
