"""Imports point down, and the engine knows no problem by name."""

import ast
from pathlib import Path

import evolve

ROOT = Path(evolve.__file__).parent
LAYERS = [
    {"errors", "records"},
    {
        "program",
        "settings",
        "statistics",
        "bandit",
        "folders",
        "openings",
        "data",
        "dependencies",
        "prompts",
        "pace",
    },
    {"spec"},
    {"jail", "problem", "journal", "budget", "genetic", "archives", "htmldiff", "new", "credit", "edits"},
    {"cache", "scoring", "feedback", "racing", "models", "account"},
    {"proposers", "trial", "lineage", "stagnation", "gate", "yields", "profiling"},
    {"evaluate", "effects", "skills", "sharing"},
    {"search"},
    {"workers", "assembly"},
    {"backends"},
    {"apart"},
    {"run"},
    {"table", "doctor", "publish", "compare", "audit", "report", "replay"},
    {"review", "observers", "compare_report"},
    {"cli"},
    {"__main__"},
]


def imports(path: Path) -> set[str]:
    """The parts of evolve that a file imports, also inside functions."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("evolve."):
            found.add(node.module.split(".")[1])
        elif isinstance(node, ast.ImportFrom) and node.module == "evolve":
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.Import):
            found |= {alias.name.split(".")[1] for alias in node.names if alias.name.startswith("evolve.")}
    return found - {"__version__"}


def part(path: Path) -> str:
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def sources() -> list[Path]:
    return [
        path for path in ROOT.rglob("*.py") if "templates" not in path.parts and path != ROOT / "__init__.py"
    ]


def test_imports_point_down() -> None:
    level = {name: height for height, names in enumerate(LAYERS) for name in names}
    upward = []
    for path in sources():
        own = part(path)
        for other in sorted(imports(path) - {own}):
            if level[other] > level[own] or (level[other] == level[own] and level[own] not in (0, 1)):
                upward.append(f"{path.relative_to(ROOT)} imports {other}")
    assert upward == []


def test_the_engine_names_no_problem_evaluator_or_seed() -> None:
    repository = ROOT.parent
    names = {path.name for path in (repository / "problems").iterdir()}
    names |= {path.name for path in (repository / "evaluators").glob("*.py")}
    names |= {path.stem for path in (repository / "seeds").glob("*/*.py")}
    for path in sources():
        if part(path) == "cli":
            continue  # its help has examples
        texts = {
            node.value for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Constant)
        }
        assert not texts & names, f"{path.relative_to(ROOT)} names {texts & names}"
