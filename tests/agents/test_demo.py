"""The demo: table, report and films; or all but the films."""

import imageio.v3 as imageio
import pytest

from undrift.agents import demo as demo_module
from undrift.agents.film import FilmUnavailable
from undrift.envs import Payload


@pytest.fixture(autouse=True)
def small(monkeypatch):
    monkeypatch.setattr(demo_module, "SEEDS", range(20_000, 20_002))
    monkeypatch.setattr(demo_module, "SHIFTS", (Payload(fraction=0.6),))


def test_the_demo_prints_a_table_and_writes_report_and_film(tmp_path, capsys):
    try:
        demo_module.demo(tmp_path / "demo")
    except FilmUnavailable:
        pytest.fail("the demo must finish where films cannot be drawn")
    printed = capsys.readouterr().out
    for word in ("frozen", "integral", "auto", "payload", "report.html", "next"):
        assert word in printed
    page = (tmp_path / "demo" / "report.html").read_text()
    films = list((tmp_path / "demo").glob("*.mp4"))
    if films:
        assert films[0].name in page
        assert imageio.improps(films[0], plugin="FFMPEG").shape[1:3] == (540, 960)
    else:
        assert "no film" in printed


def test_without_opengl_the_demo_finishes_and_says_what_to_install(tmp_path, capsys, monkeypatch):
    def unavailable(*args, **kwargs):
        raise FilmUnavailable("no EGL library: apt-get install libegl1")

    monkeypatch.setattr(demo_module, "render_pair", unavailable)
    demo_module.demo(tmp_path / "demo")
    assert "apt-get install libegl1" in capsys.readouterr().out
    assert (tmp_path / "demo" / "report.html").exists()
