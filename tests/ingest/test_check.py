"""`ingest check`: what stands in two archives or twice in one, in words and in JSON."""

import json
import shutil

import pytest
import soundfile

from ingest.build import build_shards
from ingest.check import check
from ingest.cli import main
from shards.errors import InputError
from shards.index import Index
from tests.ingest.music import RATE_HZ, piece, recoded

HOSTILE = "two\nlines \x1b[31m.flac"


def packed(folder, tracks):
    """An archive of these samples by name."""
    source = folder / "in"
    source.mkdir(parents=True)
    for name, samples in tracks.items():
        soundfile.write(source / name, samples, RATE_HZ, format="FLAC", subtype="PCM_16")
    return build_shards(source, folder / "out", num_workers=1).out


@pytest.fixture(scope="module")
def pieces():
    return [piece(seed, 6.0) for seed in range(4)]


@pytest.fixture(scope="module")
def training(pieces, tmp_path_factory):
    """Three pieces; the second also as MP3, the third also under a hostile name."""
    tracks = {"a.flac": pieces[0], "b.flac": pieces[1], "b-again.flac": recoded(pieces[1])}
    tracks |= {"c.flac": pieces[2], HOSTILE: pieces[2]}
    return packed(tmp_path_factory.mktemp("training"), tracks)


@pytest.fixture(scope="module")
def evaluation(pieces, tmp_path_factory):
    """One piece of the training archive as it is, one recoded, one that is new."""
    tracks = {"x.flac": pieces[2], "y.flac": recoded(pieces[0]), "z.flac": pieces[3]}
    return packed(tmp_path_factory.mktemp("evaluation"), tracks)


def checked(capsys, *args):
    code = main(["check", *map(str, args)])
    return code, capsys.readouterr().out


def test_tracks_that_stand_in_the_other_archive_are_listed(training, evaluation, capsys):
    code, text = checked(capsys, evaluation, "--against", training, "--json")
    found = json.loads(text)
    assert code == 3
    assert found["tracks"] == 3
    assert found["exact"] == {"tracks": 1, "hours": round(6 / 3600, 4)}
    assert found["near"]["tracks"] == 1
    copies = {copy["source"]: copy for copy in found["copies"]}
    assert copies["x.flac"]["kind"] == "exact"
    assert copies["x.flac"]["share"] == 1.0
    assert copies["y.flac"]["kind"] == "near"
    assert copies["y.flac"]["of_source"] == "a.flac"
    assert 0.1 < copies["y.flac"]["share"] <= 1
    assert copies["y.flac"]["of_key"] in Index.open(training).row_of_key


def test_every_training_track_that_leaks_is_counted_the_other_way_round(
    training, evaluation, capsys
):
    code, text = checked(capsys, training, "--against", evaluation, "--json")
    sources = {copy["source"] for copy in json.loads(text)["copies"]}
    assert code == 3
    assert {"a.flac", "c.flac"} < sources
    assert len(sources) == 3  # with the hostile name


def test_repetitions_within_an_archive_name_the_first_of_their_cluster(training, capsys):
    code, text = checked(capsys, training, "--json")
    copies = json.loads(text)["copies"]
    assert code == 3
    assert sorted(copy["kind"] for copy in copies) == ["exact", "near"]
    near = next(copy for copy in copies if copy["kind"] == "near")
    assert {near["source"], near["of_source"]} == {"b.flac", "b-again.flac"}
    assert near["of_key"] < near["key"]


def test_the_words_say_how_many_and_show_no_control_characters(training, evaluation, capsys):
    code, text = checked(capsys, evaluation, "--against", training)
    assert code == 3
    assert "2 of 3 tracks" in text
    assert "exact (the same samples): 1 tracks, 0.00 h" in text
    assert "  y.flac = a.flac (" in text
    checked(capsys, training)
    _, text = checked(capsys, training)
    assert "\x1b" not in text
    assert all(line for line in text.splitlines())


def test_an_archive_of_other_music_ends_with_0(evaluation, pieces, tmp_path, capsys):
    other = packed(tmp_path, {"new.flac": piece(9, 6.0)})
    assert checked(capsys, other, "--against", evaluation)[0] == 0
    assert "0 of 3 tracks" in checked(capsys, evaluation, "--against", other)[1]
    assert checked(capsys, evaluation)[0] == 0


def test_an_archive_against_itself_is_refused(training, capsys):
    assert main(["check", str(training), "--against", str(training)]) == 2
    assert "leave --against out" in capsys.readouterr().err


def test_an_archive_without_all_its_fingerprints_says_what_to_do(training, evaluation, tmp_path):
    shutil.copytree(training, tmp_path / "mixed")
    name = Index.open(training).manifest["generations"][0]["fingerprints"]
    shutil.copy(evaluation / name, tmp_path / "mixed" / name)
    with pytest.raises(
        InputError, match=r"no fingerprints of 5 of its tracks\. Run `ingest repair"
    ):
        check(tmp_path / "mixed")
