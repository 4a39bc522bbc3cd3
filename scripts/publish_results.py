"""Put what experiments came to into docs/experiments.md: `python scripts/publish_results.py results/generalised ...`.

Each folder is one that `espeer sim run` left. Its table goes between the lines ``<!-- NAME -->`` and ``<!-- /NAME -->``, its
plots go to docs/images/experiments, and its result.json to simulations/results, for `espeer sim compare`.
"""

import re
import shutil
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "experiments.md"
IMAGES = ROOT / "docs" / "images" / "experiments"
RESULTS = ROOT / "simulations" / "results"


def publish(folder: Path) -> None:
    """Publish one result, under the folder's name."""
    name = folder.name
    page = PAGE.read_text(encoding="utf-8")
    block = re.compile(rf"(?<=<!-- {name} -->\n).*?(?=<!-- /{name} -->)", re.DOTALL)
    if not block.search(page):
        sys.exit(f"{PAGE} has no place for {name}: lines <!-- {name} --> and <!-- /{name} -->")
    IMAGES.mkdir(parents=True, exist_ok=True)
    RESULTS.mkdir(parents=True, exist_ok=True)
    shutil.copy(folder / "result.json", RESULTS / f"{name}.json")
    plots = [shutil.copy(plot, IMAGES / f"{plot.stem}{plot.suffix}") for plot in sorted(folder.glob("*.svg"))]
    shown = [f"![{plot.stem.replace('-', ' ')}](images/experiments/{plot.name})\n\n" for plot in map(Path, plots)]
    table = (folder / "result.md").read_text(encoding="utf-8")
    PAGE.write_text(block.sub(lambda _: f"\n{table}\n{''.join(shown)}", page), encoding="utf-8")


if __name__ == "__main__":
    for given in sys.argv[1:]:
        publish(Path(given))
