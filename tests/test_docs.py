"""The code on the documentation's pages runs."""

import re
from pathlib import Path

import numpy as np

from asymtrack_jax.benchmark.network import random_variables
from asymtrack_jax.models import checkpoint
from asymtrack_jax.tracking import track
from asymtrack_jax.video import sources
from tests.models.sharded_search import CONFIG

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "api.md"


def test_the_page_of_the_api_runs(tmp_path, monkeypatch):
    """With a small network and a short clip in the place of the package's."""
    small = checkpoint.Checkpoint(CONFIG, random_variables(CONFIG), {})
    monkeypatch.setattr(checkpoint, "read", lambda directory: small)
    clip = sources.render_clip(3, (120, 160), 3)
    monkeypatch.setattr(sources, "render_clip", lambda *_: clip)
    monkeypatch.chdir(tmp_path)
    track._packaged_model.cache_clear()
    snippets = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    page: dict = {}
    for snippet in snippets:
        exec(compile(snippet, str(PAGE), "exec"), page)
    track._packaged_model.cache_clear()
    assert {path.name for path in tmp_path.iterdir()} == {"boxes.csv", "tracked.gif"}
    assert page["scores"].shape == (2,)
    assert page["boxes"].shape == (2, 4)
    assert page["gradient"].shape == page["template"].shape
    assert np.isfinite(page["gradient"]).all()


def test_files_and_modules_that_the_pages_name_exist():
    pages = [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), ROOT / "asymtrack_jax/weights/README.md"]
    text = "\n".join(page.read_text() for page in pages)
    files = set(re.findall(r"\b(?:tests|benchmarks|examples|recipes|docs)/[\w./]*\w", text))
    modules = set(re.findall(r"python -m\s+((?:benchmarks|recipes|asymtrack_jax)\.[\w.]*\w)", text))
    assert files
    assert modules
    assert not [name for name in files if not (ROOT / name).exists()]
    for module in modules:
        path = ROOT / module.replace(".", "/")
        assert path.with_suffix(".py").is_file() or (path / "__main__.py").is_file(), module
