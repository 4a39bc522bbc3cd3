"""What is imported is declared: pyproject.toml names every package that espeer's own code imports, and no other."""

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any

import espeer

ROOT = Path(espeer.__file__).parents[1]
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def named(requirements: list[str]) -> set[str]:
    return {normal(re.split(r"[^\w.-]", requirement, maxsplit=1)[0]) for requirement in requirements}


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def imported(folder: str) -> Iterator[str]:
    for path in (ROOT / folder).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                yield from (alias.name.partition(".")[0] for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module:
                yield node.module.partition(".")[0]


def distributions(modules: Iterator[str]) -> set[str]:
    known = packages_distributions()
    found = {name: {normal(one) for one in known.get(name, [])} for name in {*modules} - {*sys.stdlib_module_names, "espeer"}}
    return set().union(*found.values())


def test_what_is_imported_is_declared_and_the_other_way_round() -> None:
    extras = PROJECT["optional-dependencies"]
    needed, optional = named(PROJECT["dependencies"]), named(extras["model"] + extras["hub"] + extras["sim"])
    ours = distributions(imported("espeer"))
    assert sorted(ours - needed - optional) == []
    assert sorted(needed - ours) == []
    assert sorted(distributions(imported("tests")) - needed - optional - named(extras["dev"])) == []
