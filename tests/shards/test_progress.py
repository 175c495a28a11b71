"""Progress away from a terminal: a line now and then, with what is left."""

import re

from shards import progress
from shards.progress import Progress


def test_lines_count_say_facts_and_what_is_left(monkeypatch, capsys):
    monkeypatch.setattr(progress, "LINE_EVERY_S", 0)
    with Progress("packing", total=10, unit="tracks") as bar:
        bar.skip(4)
        bar.update(2, hours="0.5")
    line = capsys.readouterr().err
    assert re.fullmatch(r"packing: 6 of 10 tracks, hours 0\.5, \d+ s left\n", line)


def test_no_line_comes_before_its_time(capsys):
    with Progress("packing", total=10, unit="tracks") as bar:
        bar.update()
    assert capsys.readouterr().err == ""
