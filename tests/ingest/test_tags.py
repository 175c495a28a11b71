"""Tags of hostile files: short, printable, and cleaning them twice changes nothing."""

import random
import unicodedata

import pytest

from ingest.tags import MAX_BYTES, clean


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        ("  Blue\tin \n Green ", "Blue in Green"),
        ("\x1b[2J\x1b[31mred", "[2J[31mred"),
        ("safe\u202etxt.exe", "safetxt.exe"),
        ("a \u200b b", "a b"),
        ("e\u0301", "é"),
        ("\ud800lone", "lone"),
        ("\uffff\U0010ffff", ""),
        (None, ""),
        (["list"], ""),
    ],
)
def test_what_is_kept_of_a_tag(said, kept):
    assert clean(said) == kept


def test_cleaning_twice_changes_nothing_and_nothing_is_long_or_hidden():
    rng = random.Random(0)
    odd = "\t\n\r \u00a0\u2000\u2028\u202e\u200b\u0301\u1fef\ud800\U0001f3b5\x00\x1b\x9b夏éa"
    for _ in range(2_000):
        text = "".join(rng.choices(odd, k=rng.choice([3, 40, 1_500])))
        once = clean(text)
        assert clean(once) == once
        assert len(once.encode()) <= MAX_BYTES
        assert not any(unicodedata.category(c)[0] == "C" for c in once)
