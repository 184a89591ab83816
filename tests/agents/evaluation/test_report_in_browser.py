"""The report in a real browser, headless: nothing is fetched, nothing overflows, every chart is drawn, in light and dark."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from undrift.agents.episode import Episode
from undrift.agents.evaluation.report import write_report
from undrift.agents.film.encode import encoder

Make = Callable[..., Episode]

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
BROWSER = next(filter(None, map(shutil.which, NAMES)), None)
QUIET = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)
WIDTHS = (360, 820, 1280)

pytestmark = pytest.mark.skipif(
    BROWSER is None, reason=f"none of {', '.join(NAMES)} is on the path; Debian: sudo apt-get install chromium"
)

# Opens the page in a frame of each width, unfolds all that is folded, and writes down what it finds.
LOOK = """<!doctype html><meta charset="utf-8"><title>look</title><link rel="icon" href="data:,">
<script>const pages = %s</script>
<script>
const width = element => element.getBoundingClientRect().width, height = element => element.getBoundingClientRect().height;
function look(frame) {
  const inside = frame.contentDocument, root = inside.documentElement, all = query => [...inside.querySelectorAll(query)];
  all("details").forEach(part => part.open = true);
  const shown = all("svg[role=img]").filter(chart => width(chart) > 100 && height(chart) > 50);
  return {
    width: frame.width, overflow: root.scrollWidth - root.clientWidth,
    charts: all("svg[role=img]").length, shown: shown.length,
    painted: all("path.curve, path.marks").filter(path => getComputedStyle(path).stroke != "none").length,
    pictures: all("img").filter(image => image.naturalWidth > 0).length,
    fetched: frame.contentWindow.performance.getEntriesByType("resource").map(entry => entry.name),
    page: getComputedStyle(inside.body).backgroundColor, ink: getComputedStyle(inside.body).color,
    smallest: Math.min(...all("svg[role=img] text").map(height)),
  };
}
onload = () => {
  const found = document.createElement("pre");
  found.id = "found";
  found.textContent = JSON.stringify([...document.querySelectorAll("iframe")].map(look));
  document.body.append(found);
};
</script>
<body></body>
<script>
for (const page of pages) {
  const frame = document.createElement("iframe");
  frame.width = page.width; frame.height = 800; frame.srcdoc = page.text;
  document.body.append(frame);
}
</script>
"""


@dataclass(frozen=True)
class Seen:
    """What the browser found in the page at each width, and all that it wrote on its console."""

    frames: list[dict[str, Any]]
    console: list[str]


def look(text: str, folder: Path, *flags: str) -> Seen:
    assert BROWSER is not None
    pages = json.dumps([{"width": width, "text": text} for width in WIDTHS]).replace("</", "<\\/")
    page = folder / "look.html"
    page.write_text(LOOK.replace("%s", pages, 1), encoding="utf-8")
    command = [BROWSER, *QUIET, *flags, f"--user-data-dir={folder / 'profile'}", "--enable-logging=stderr"]
    done = subprocess.run(
        [*command, "--dump-dom", page.as_uri()], capture_output=True, text=True, timeout=120, check=False
    )
    found = re.search(r'<pre id="found">(.*?)</pre>', done.stdout, re.DOTALL)
    assert found, f"{BROWSER} ended with code {done.returncode}: {done.stderr[-2000:]}"
    console = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    return Seen(json.loads(html.unescape(found[1])), console)


@pytest.fixture(scope="module")
def report(make_flight: Make, tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("report")
    flown = [
        make_flight(scenario, adapter, 10_000 + seed, training_seed, crash_share=0.2 * (scenario == "wind 8 m/s"))
        for scenario in ("no shift", "payload +60 %", "wind 8 m/s", "a shift with quite a long name of its own")
        for adapter in ("frozen", "integral", "l1", "observer", "drone", "auto")
        for training_seed in (0, 1)
        for seed in range(6)
    ]
    film = folder / "wind.mp4"
    with encoder(film, (96, 64), 10.0) as add:
        for grey in range(0, 200, 20):
            add(np.full((64, 96, 3), grey, np.uint8))
    return write_report(flown, folder, "Three shifts", "undrift evaluate reference " * 8, [film])["html"].read_text()


@pytest.fixture(scope="module")
def seen(report: str, tmp_path_factory: pytest.TempPathFactory) -> Seen:
    return look(report, tmp_path_factory.mktemp("light"))


def test_it_fetches_nothing_and_the_console_stays_empty(seen: Seen) -> None:
    assert [frame["fetched"] for frame in seen.frames] == [[]] * len(WIDTHS)
    assert seen.console == []


def test_it_never_scrolls_sideways(seen: Seen) -> None:
    assert {frame["width"]: frame["overflow"] for frame in seen.frames} == {str(width): 0 for width in WIDTHS}


def test_every_chart_and_picture_is_drawn_and_its_text_can_be_read(seen: Seen) -> None:
    for frame in seen.frames:
        assert frame["charts"] == frame["shown"] == 4 + 4 + 4 + 1
        assert frame["painted"] == 4 * 6 + 4 * 6 + 4 * 5 + 6
        assert frame["pictures"] == 4
        assert frame["smallest"] >= 10


def test_it_is_dark_where_the_reader_wants_it_dark(report: str, seen: Seen, tmp_path: Path) -> None:
    dark = look(report, tmp_path, "--blink-settings=preferredColorScheme=0")

    def contrast(frame: dict[str, Any]) -> int:
        page, ink = (sum(map(int, re.findall(r"\d+", frame[what])[:3])) for what in ("page", "ink"))
        return page - ink

    assert all(contrast(frame) > 400 for frame in seen.frames)
    assert all(contrast(frame) < -400 and frame["overflow"] == 0 for frame in dark.frames)


def test_this_browser_would_notice_what_is_wrong(report: str, tmp_path: Path) -> None:
    spoiled = (
        '<img src="http://127.0.0.1:9/a.png"><div style="width:2000px">wide</div><script>console.error("no")</script>'
    )
    found = look(report.replace("</main>", spoiled + "</main>"), tmp_path)
    assert all(frame["overflow"] > 500 for frame in found.frames)
    assert all(frame["fetched"] == ["http://127.0.0.1:9/a.png"] for frame in found.frames)
    assert any('"no"' in line for line in found.console)
