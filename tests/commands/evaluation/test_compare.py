"""vqi2i compare: what it prints is what it found, for people and for machines."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from errors import UserError
from run import app
from tests.evaluation.evaluations import make_evaluation


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    made = tmp_path_factory.mktemp("evaluations")
    make_evaluation(made / "paper", name="paper", distance=0.6)
    make_evaluation(made / "plus", name="plus [bold]", distance=0.3)
    return [str(made / "paper"), str(made / "plus")]


def ended(*arguments: str) -> Result:
    done = CliRunner().invoke(app, ["compare", *arguments], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done


def test_a_table_says_which_differences_stand_and_how_many_would_by_chance(folders: list[str]):
    told = ended(*folders).stdout
    lines = told.splitlines()
    row = next(number for number, line in enumerate(lines) if line.startswith("KID-Lite0"))
    assert "better" in lines[row]
    assert " to -" in lines[row + 1]
    assert "Translation, summer → winter, style of an exemplar" in told
    assert "plus [bold]" in lines[row - 1]  # a name is no markup
    assert "no difference stands" in told
    assert "of 9 differences stand at 95 %. About 0.5 of them would stand by chance" in told
    assert max(map(len, lines[:-2])) <= 80  # all but the sentences at the end


def test_machines_get_one_line(folders: list[str]):
    told = json.loads(ended(*folders, "--json").stdout)
    assert told["labels"] == ["paper", "plus [bold]"]
    assert told["differences"]["made"] == 9
    first = told["compared"][0]
    assert first["measure"] == "kid_lite0"
    assert first["differences"][0]["stands"] is True
    assert first["differences"][0]["better"] is True


def test_a_page_is_written_where_it_is_asked_for(folders: list[str], tmp_path: Path):
    told = ended(*folders, "--out", str(tmp_path / "page")).stdout
    assert told.splitlines()[-1] == f"open {tmp_path / 'page' / 'comparison.html'}"
    assert "plus [bold] against paper" in (tmp_path / "page" / "comparison.html").read_text()


def test_a_folder_that_is_not_there_is_told_in_one_sentence(folders: list[str], tmp_path: Path):
    with pytest.raises(UserError, match=r"nowhere holds no metrics\.json: give a folder"):
        ended(folders[0], str(tmp_path / "nowhere"))
    with pytest.raises(UserError, match="two evaluations or more, got 1"):
        ended(folders[0])
