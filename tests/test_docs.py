"""Every Python snippet of the README and of docs/ runs as it stands."""

import re
from functools import partial
from pathlib import Path

import pytest

from undrift.agents import peers, trial
from undrift.agents.adaptation import identification
from undrift.envs.drawing import DrawingUnavailable

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
SNIPPETS = [
    pytest.param(snippet, id=f"{page.relative_to(ROOT)}-{number}")
    for page in PAGES
    for number, snippet in enumerate(re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL))
]


@pytest.fixture(autouse=True)
def _rough_nominal_model(monkeypatch):
    """A snippet runs as it stands, but for how well it learns a nominal model and tries it: that takes half a minute."""
    rough = partial(identification.fit_nominal_model, simulations=16, steps=40, iterations=50)
    monkeypatch.setattr(peers, "fit_nominal_model", rough)
    monkeypatch.setattr(peers, "why_unfit", partial(trial.why_unfit, seeds=trial.SEEDS[:2]))


@pytest.mark.parametrize("snippet", SNIPPETS)
def test_a_snippet_runs(snippet, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    try:
        exec(compile(snippet, "snippet", "exec"), {"__name__": "snippet"})  # noqa: S102 - that is the test
    except DrawingUnavailable as error:
        pytest.skip(str(error))


def test_links_between_the_pages_lead_somewhere():
    dead = [
        f"{page.name}: {target}"
        for page in PAGES
        for target in re.findall(
            r"\]\((?!https?:)([^)#]+)", re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
        )
        if not (page.parent / target).exists()
    ]
    assert not dead
