"""Splits: groups never part, every class is everywhere, and the coarsest level that works wins."""

import random
from collections import Counter

import pytest

from ingest.forest import Forest
from ingest.labels.groups import Level, normal
from ingest.labels.kinds import NoLabels
from ingest.labels.split import SHARES, Strata, balance, choose_split, given_split
from shards.labels import SPLITS


def level(names: list[str]) -> Level:
    """Groups by name, one for each track without a name."""
    groups = [name or f"#{number}" for number, name in enumerate(names)]
    return Level(groups, names)


def levels(size: int, **given: list[str]) -> dict[str, Level]:
    """Levels by name; those not given are unknown."""
    named = {name: level(given.get(name, [""] * size)) for name in ("artist", "album", "folder")}
    return {**named, "track": level([str(number) for number in range(size)])}


def classes(*names: str) -> Strata:
    return Strata([[name] for name in names], "class")


@pytest.mark.parametrize("trial", range(40))
def test_groups_never_part_and_every_class_is_in_every_split(trial):
    rng = random.Random(trial)
    num_groups = rng.randint(9, 80)
    names = [f"class {n}" for n in range(rng.randint(2, num_groups // 3))]
    members = {}
    for group in range(num_groups):
        chosen = rng.sample(names, k=rng.choice([1, 1, 1, 2]) if len(names) > 2 else 1)
        members[f"g{group}"] = Counter({name: rng.randint(1, 4) for name in chosen})
    for name in names:  # at least three groups each
        for extra in range(3):
            members[f"{name} {extra}"] = Counter({name: rng.randint(1, 4)})
    sizes = Counter({group: counts.total() for group, counts in members.items()})
    split_of = balance(members, sizes, seed=trial, strict=True)
    assert split_of.keys() == members.keys()
    for name in names:
        assert {split_of[g] for g, counts in members.items() if name in counts} == set(SPLITS)
    assert split_of == balance(dict(reversed(members.items())), sizes, seed=trial, strict=True)


def test_shares_are_about_60_20_20_in_every_class_and_depend_on_the_seed():
    strata = classes(*[f"class {n % 4}" for n in range(400)])
    a = choose_split(strata, levels(400), by="", seed=0)
    for name in range(4):
        counts = Counter(a.splits[name::4])
        assert all(abs(counts[s] - share * 100) <= 1 for s, share in SHARES.items())
    assert a.splits == choose_split(strata, levels(400), by="", seed=0).splits
    assert a.splits != choose_split(strata, levels(400), by="", seed=1).splits


@pytest.mark.parametrize("size", range(3, 12))
def test_no_split_is_empty_however_few_tracks_have_a_number(size):
    strata = Strata([[str(5 * n // size)] for n in range(size)], "number")
    for seed in range(5):
        assert set(choose_split(strata, levels(size), by="", seed=seed).splits) == set(SPLITS)


def test_the_coarsest_level_that_works_is_taken():
    genre = [f"genre {n % 3}" for n in range(90)]
    artist = [f"artist {n % 3} {n // 9}" for n in range(90)]  # ten artists a genre
    split = choose_split(classes(*genre), levels(90, artist=artist), by="", seed=0)
    assert split.by == "artist"
    where = {}
    for name, part in zip(artist, split.splits, strict=True):
        assert where.setdefault(name, part) == part


def test_a_level_that_determines_the_label_is_never_taken():
    game = [f"game {n % 5}" for n in range(60)]
    artist = [f"artist {n % 5}" for n in range(60)]
    folder = [f"folder {n % 20}" for n in range(60)]  # four a game
    levels_of = levels(60, artist=artist, album=game, folder=folder)
    split = choose_split(classes(*game), levels_of, by="", seed=0)
    assert split.by == "folder"
    assert "not by artist: it determines the label" in split.note
    assert "not by album: it determines the label" in split.note
    with pytest.raises(NoLabels, match="no split by album: it determines the label"):
        choose_split(classes(*game), levels_of, by="album", seed=0)


def test_a_level_that_is_mostly_unknown_is_passed_over():
    genre = [f"genre {n % 2}" for n in range(40)]
    artist = [f"artist {n}" if n < 15 else "" for n in range(40)]
    split = choose_split(classes(*genre), levels(40, artist=artist), by="", seed=0)
    assert split.by == "track"
    assert "not by artist: known of 15 of 40 tracks" in split.note


def test_a_level_that_costs_many_labels_is_passed_over():
    game = [f"game {n % 10}" for n in range(100)]
    artist = [f"artist {n if n % 10 < 2 else n % 10}" for n in range(100)]
    split = choose_split(classes(*game), levels(100, artist=artist), by="", seed=0)
    assert split.by == "track"
    assert "not by artist: it would lose 80 of 100 labels" in split.note
    forced = choose_split(classes(*game), levels(100, artist=artist), by="artist", seed=0)
    assert (forced.by, len(forced.dropped)) == ("artist", 8)


def test_classes_with_under_three_groups_are_dropped_and_listed():
    split = choose_split(classes(*"aaaaabbbbbcc"), levels(12), by="", seed=0)
    assert split.dropped == {"c": "2 groups, want 3"}
    assert split.splits[-2:] == ["", ""]
    assert all(split.splits[:10])


def test_tags_keep_tracks_whose_tags_were_dropped():
    tags = [["slow"], ["fast"], ["slow", "fast"], ["odd"]] * 3 + [["rare"]]
    split = choose_split(Strata(tags, "tags"), levels(13), by="", seed=0)
    assert set(split.dropped) == {"rare"}
    assert all(split.splits)
    for tag in ("slow", "fast", "odd"):
        parts = {part for part, own in zip(split.splits, tags, strict=True) if tag in own}
        assert parts == set(SPLITS)


def test_a_given_split_is_taken_as_it_is():
    strata = classes(*"ababc")
    words = ["Train", "training", "val", "test", "test"]
    split = given_split(strata, list("vwxyz"), words)
    assert split.splits == ["train", "train", "valid", "test", ""]
    assert split.dropped == {"c": "none in train"}
    parted = given_split(strata, list("vwvyz"), words)
    assert parted.note == "parts 1 groups of duplicates or versions"
    with pytest.raises(NoLabels, match="'fold 3', want train, valid or test"):
        given_split(strata, list("vwxyz"), ["train", "fold 3", "val", "test", "test"])


@pytest.mark.parametrize("name", ["", " Various  Artists", "VA", "Unknown Artist", "n/a"])
def test_names_that_stand_for_nobody_link_nothing(name):
    assert normal(name) == ""


def test_names_link_regardless_of_case_and_spaces():
    assert normal("  The BEATLES ") == normal("the  Beatles")


def test_a_forest_names_each_set_by_its_smallest_member():
    forest = Forest(6)
    for a, b in ((5, 3), (1, 3), (0, 2)):
        forest.unite(a, b)
    assert [forest.root(n) for n in range(6)] == [0, 1, 0, 1, 4, 1]
