"""Nothing below reaches up: what calls itself pure imports neither trio nor libp2p nor sqlite3, nor what does."""

import ast
import subprocess
import sys
from pathlib import Path

import espeer

ROOT = Path(espeer.__file__).parents[1]

IMPORT = """
import importlib, sys
for name in sys.argv[1:]:
    importlib.import_module(name)
    if found := {"trio", "libp2p", "sqlite3"} & sys.modules.keys():
        sys.exit(f"{name} imports {', '.join(found)}")
"""


def test_what_is_pure_imports_no_trio_no_libp2p_and_no_sqlite() -> None:
    pure = [
        ".".join(path.relative_to(ROOT).with_suffix("").parts)
        for path in sorted((ROOT / "espeer").rglob("*.py"))
        if "(pure" in (ast.get_docstring(ast.parse(path.read_text())) or "")
    ]
    assert {"espeer.records", "espeer.lifecycle.refine", "espeer.p2p.reconcile", "espeer.sim.scenario"} <= set(pure)
    done = subprocess.run([sys.executable, "-c", IMPORT, *pure], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_map_names_every_module() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text()
    folders = [
        ROOT / "espeer",
        *(
            ROOT / "espeer" / name
            for name in (
                "api",
                "api/http",
                "demo",
                "doctor",
                "lifecycle",
                "llm",
                "p2p",
                "sim",
                "sim/experiments",
                "sim/virtual",
            )
        ),
    ]
    names = {path.name for folder in folders for path in folder.glob("*.py")} - {"__main__.py"}
    assert len(names) > 100
    assert {name for name in names if name not in page} == set()
