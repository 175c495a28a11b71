"""Musical keys: every common spelling is read, and what could mean two things is refused."""

import random
from contextlib import suppress

import pytest

from ingest.labels.keys import NoKey, key_of
from ingest.labels.kinds import NoLabels, infer_kind, read_target
from shards.targets import KEYS


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("C", "C major"),
        ("CM", "C major"),
        ("Cm", "C minor"),
        ("C minor", "C minor"),
        ("c:min", "C minor"),
        ("c_major", "C major"),
        ("C# major", "Db major"),
        ("C♯-min", "Db minor"),
        ("Dbmaj", "Db major"),
        ("A♭ minor", "Ab minor"),
        ("A flat Minor", "Ab minor"),
        ("F-sharp minor", "Gb minor"),
        ("F-Sharp Minor", "Gb minor"),
        ("Bbm", "Bb minor"),
        ("bb minor", "Bb minor"),
        ("Bm", "B minor"),
        ("Cb major", "B major"),
        ("E# minor", "F minor"),
        ("F##:min", "G minor"),
        ("  B major ", "B major"),
    ],
)
def test_a_key_is_read_as_people_write_it(text, key):
    assert key_of(text) == key


def test_the_wheels_of_djs_go_round_in_fifths():
    camelot = "B Gb Db Ab Eb Bb F C G D A E".split()  # 1B … 12B
    relative = "Ab Eb Bb F C G D A E B Gb Db".split()  # 1A … 12A
    open_key = camelot[7:] + camelot[:7]  # 1d is 8B
    for hour in range(12):
        assert key_of(f"{hour + 1}B") == f"{camelot[hour]} major"
        assert key_of(f"{hour + 1:02d}a") == f"{relative[hour]} minor"
        assert key_of(f"{hour + 1}d") == f"{open_key[hour]} major"
    assert key_of("1m") == "A minor"
    assert {key_of(f"{hour}{ring}") for hour in range(1, 13) for ring in "AB"} == set(KEYS)


@pytest.mark.parametrize(
    ("text", "reason", "known"),
    [
        ("F minor / Ab major", "two keys", True),
        ("E / B / A minor", "two keys", True),
        ("A-A# minor", "two keys", True),
        ("G minor/major", "two keys", True),
        ("C major, G major", "two keys", True),
        ("C -> G", "two keys", True),
        ("-", "no key", True),
        ("unknown", "no key", True),
        ("c", "small letter", False),
        ("bb", "small letter", False),
        ("H moll", "German", False),
        ("B dur", "German", False),
        ("D dorian", "'dorian' is neither", False),
        ("13A", "want a key", False),
        ("0B", "want a key", False),
        ("fast", "'ast' is neither", False),
        ("7", "want a key", False),
    ],
)
def test_what_is_no_key_says_why(text, reason, known):
    with pytest.raises(NoKey, match=reason) as raised:
        key_of(text)
    assert raised.value.known == known


def test_any_text_is_a_key_or_says_why_not():
    rng = random.Random(0)
    for _ in range(3000):
        text = "".join(
            rng.choices("ABCDEFGabcdefgmM#♭♯ :-_/0123min ajorflatsharp\0é", k=rng.randint(0, 7))
        )
        with suppress(NoKey):
            assert key_of(text) in KEYS


def test_tracks_of_two_keys_are_left_out_and_counted_and_others_are_errors():
    cells = ["F minor / Ab major", "A major", "", "8A", "Eb:min", "-", "C / G"]
    target = read_target(cells, kind="key", separator=";")
    assert target.places == [1, 3, 4]
    assert target.values == ["A major", "A minor", "Eb minor"]
    assert target.left_out == {"two keys": 2, "no key": 1}
    with pytest.raises(NoLabels, match="'d' is no key: a small letter alone"):
        read_target([*cells, "d"], kind="key", separator=";")


@pytest.mark.parametrize(
    ("name", "cells", "kind"),
    [
        ("key", ["C", "Am", "F# minor", "-"], "key"),
        ("Camelot", ["8A", "8B", "12A"], "key"),
        ("tonality", ["C major", "A minor", "D:min"], "key"),
        ("grade", ["A", "B", "C"], "class"),
        ("seat", ["1A", "2B", "8A"], "class"),
        ("key", ["C", "Am", "blue"], "class"),
        ("size", ["major", "minor", "major"], "class"),
        ("cover_group", ["a", "b", "b"], "group"),
        ("group", ["a", "b", "b"], "class"),
    ],
)
def test_a_key_is_assumed_only_where_it_cannot_be_mistaken(name, cells, kind):
    assert infer_kind(name, cells * 5, separator=";") == kind
