"""Commands that are printed can be typed."""

from undrift.agents import console


def test_undrift_on_the_path_is_called_by_its_name(monkeypatch):
    monkeypatch.setattr(console.shutil, "which", lambda name: "/usr/bin/undrift")
    monkeypatch.setattr(console.sys, "argv", [".venv/bin/undrift", "demo"])
    assert console.command() == "undrift"


def test_undrift_elsewhere_is_called_as_it_was(monkeypatch):
    monkeypatch.setattr(console.shutil, "which", lambda name: None)
    monkeypatch.setattr(console.sys, "argv", [".venv/bin/undrift", "demo"])
    assert console.command() == ".venv/bin/undrift"
    monkeypatch.setattr(console.sys, "argv", ["/usr/bin/pytest"])
    assert console.command() == "undrift"


def test_kernels_are_compiled_behind_a_bar_that_goes_away(capsys):
    console.compile_ahead("cfc")
    assert capsys.readouterr().out == ""
