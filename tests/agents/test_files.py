"""Files and folders are whole or absent."""

import pytest

from undrift.agents.files import replace_folder, slug, write_atomically


def test_a_file_is_replaced_whole_and_nothing_is_left_beside_it(tmp_path):
    write_atomically(tmp_path / "deep" / "file", b"old")
    write_atomically(tmp_path / "deep" / "file", b"new")
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["file"]
    assert (tmp_path / "deep" / "file").read_bytes() == b"new"


def test_a_folder_takes_the_place_of_an_earlier_result(tmp_path):
    for content in ("old", "new"):
        with replace_folder(tmp_path / "out", mark="report.html") as partial:
            (partial / "report.html").write_text(content)
    assert (tmp_path / "out" / "report.html").read_text() == "new"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_failure_leaves_the_earlier_result_as_it_was(tmp_path):
    with replace_folder(tmp_path / "out", mark="report.html") as partial:
        (partial / "report.html").write_text("old")
    with pytest.raises(RuntimeError), replace_folder(tmp_path / "out", mark="report.html") as partial:
        (partial / "report.html").write_text("half")
        raise RuntimeError
    assert (tmp_path / "out" / "report.html").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_folder_of_something_else_is_never_overwritten(tmp_path):
    (tmp_path / "thesis.txt").write_text("precious")
    with pytest.raises(FileExistsError, match=r"holds no report\.html"), replace_folder(tmp_path, mark="report.html"):
        pass
    assert (tmp_path / "thesis.txt").read_text() == "precious"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("payload +60%", "payload-plus60"),
        ("all motors -40%", "all-motors-minus40"),
        ("wind 8 m/s", "wind-8-m-s"),
        ("../..", "scenario"),
    ],
)
def test_a_scenarios_name_becomes_a_safe_part_of_a_path(name, expected):
    assert slug(name) == expected
