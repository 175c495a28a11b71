"""Conditions: parsed, never run; each equals the same question asked of every row in Python."""

import pyarrow as pa
import pytest

from shards.errors import InputError
from shards.filters import holds, labels_of, parse
from shards.labels import Labels, label_schema, write_labels
from tests.shards.silent import silent_archive

LICENCES = ["CC0", "CC-BY", "", "CC BY, 4.0", "CC0", "all rights"]
SPLITS = ["train", "test", "valid", "train"]  # of the first four tracks


@pytest.fixture(scope="module")
def index(tmp_path_factory):
    index = silent_archive(
        tmp_path_factory.mktemp("silent") / "a",
        6,
        licence=LICENCES,
        duration_s=[10.0, 30.0, 30.5, 90.0, 5.0, 29.999],
        truncated=[False, True, False, False, True, False],
        near_duplicate_of=["", "x", "", "", "", "y"],
        rms_db=[-20.0, -3.5, -60.0, float("-inf"), -20.0, -10.0],
    )
    for name in ("genre", "mood"):
        write_set(index, name, SPLITS)
    return index


def write_set(index, name, splits):
    count = len(splits)
    columns = [[f"{i:032x}" for i in range(count)], ["rock"] * count, ["g"] * count, splits]
    info = {"kind": "class", "classes": ["rock"]}
    table = pa.table(columns, schema=label_schema("class"))
    write_labels(index.path, name, table, info)


@pytest.mark.parametrize(
    ("text", "naive"),
    [
        ("duration_s >= 30", lambda t: t["duration_s"] >= 30),
        ("duration_s<30", lambda t: t["duration_s"] < 30),
        ("frames > 960002", lambda t: t["frames"] > 960_002),
        ("rms_db <= -2e1", lambda t: t["rms_db"] <= -20),
        ("rms_db in -20, -10", lambda t: t["rms_db"] in (-20, -10)),
        ("licence == CC0", lambda t: t["licence"] == "CC0"),
        ("licence != CC0", lambda t: t["licence"] != "CC0"),
        ("licence in CC0,CC-BY", lambda t: t["licence"] in ("CC0", "CC-BY")),
        ('licence in CC0, "CC BY, 4.0"', lambda t: t["licence"] in ("CC0", "CC BY, 4.0")),
        ("licence == all rights", lambda t: t["licence"] == "all rights"),
        ("licence not  in CC0,CC-BY", lambda t: t["licence"] not in ("CC0", "CC-BY")),
        ('near_duplicate_of == ""', lambda t: t["near_duplicate_of"] == ""),
        ("truncated == false", lambda t: not t["truncated"]),
        ("truncated != false", lambda t: t["truncated"]),
        ("split(genre) == train", lambda t: t["row"] in (0, 3)),
        ("split(genre) != test", lambda t: t["row"] != 1),
        ("split(genre) in valid, test", lambda t: t["row"] in (1, 2)),
        ("split( genre ) == none", lambda t: t["row"] in (4, 5)),
        ("split(genre) not in test, none", lambda t: t["row"] in (0, 2, 3)),
        ("share(genre) <= 1", lambda t: t["row"] in (0, 3)),
        ("share( genre , 7 ) <= 1.0", lambda t: t["row"] in (0, 3)),
    ],
)
def test_a_condition_equals_asking_every_track(index, text, naive):
    rows = index.table.to_pylist()
    assert holds(parse(text), index).tolist() == [bool(naive(row)) for row in rows]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "want a comparison"),
        ("duration_s", "want a comparison"),
        ("duration_s >=", "want a comparison"),
        ("__import__('os').system('id') == 1", "want a comparison"),
        ("duration_s >= 30; 1", "numbers"),
        ("duration >= 30", "did you mean duration_s"),
        ("offset > 5", "no column 'offset'"),
        ("duration_s >= thirty", "numbers"),
        ("duration_s >= 1,2", "takes one value"),
        ("licence < CC0", "is text"),
        ("truncated == yes", "== true or == false"),
        ("split(genre) == dev", "a split is compared"),
        ("split(genre) < test", "a split is compared"),
        ("target(genre) == rock", "want a comparison"),
    ],
)
def test_what_is_no_condition_is_refused_with_what_is_wanted(text, says):
    with pytest.raises(InputError, match=says):
        parse(text)


def test_labels_that_are_not_there_are_named(index):
    with pytest.raises(InputError, match=r"No labels 'tempo'.*there are \['genre', 'mood'\]"):
        holds(parse("split(tempo) == train"), index)


def test_a_condition_on_a_split_touches_no_target(index, monkeypatch):
    def never(*_):
        raise AssertionError("a target was read")

    monkeypatch.setattr(Labels, "_values", never)
    assert holds(parse("split(genre) == test"), index).sum() == 1
    assert list(labels_of([parse("split(genre) == test")], index)) == ["genre"]


def test_a_smaller_share_of_train_is_part_of_a_larger_one_and_draws_differ(tmp_path):
    index = silent_archive(tmp_path / "a", 60)
    write_set(index, "genre", ["train"] * 50 + ["test"] * 10)
    shares = [holds(parse(f"share(genre, 2) <= {share}"), index) for share in (0.1, 0.5, 1)]
    assert [int(share.sum()) for share in shares] == [5, 25, 50]
    assert not (shares[0] & ~shares[1]).any()
    assert not shares[2][50:].any()
    other = holds(parse("share(genre, 3) <= 0.5"), index)
    assert (other != shares[1]).any()


@pytest.mark.parametrize(
    "text",
    ["share(genre) >= 0.5", "share(genre) <= 0", "share(genre) <= 1.5", "share(genre) <= much"],
)
def test_a_share_that_means_nothing_is_refused(text):
    with pytest.raises(InputError, match="share of train"):
        parse(text)
