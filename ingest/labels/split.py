"""Train, valid and test: about 60, 20 and 20 % of every class, groups never parted.

The default split is the coarsest of artist, album, folder and track under which every class with at
least 3 groups occurs in all three; classes with fewer are left out. A level is passed over if it is
unknown of half of the tracks, determines the label (every class has one group), leaves fewer than
two classes, loses more than a fifth of the labels that the finest level keeps, or has groups too
unequal to be balanced.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from dataclasses import dataclass

from ingest.labels.groups import LEVELS, Level
from ingest.labels.kinds import NoLabels
from shards.labels import SPLITS

SHARES = {"train": 0.6, "valid": 0.2, "test": 0.2}
LEAST = {"train": 0.4, "valid": 0.05, "test": 0.05}
"""Shares of the tracks below which a level counts as too coarse."""

MIN_GROUPS = 3
MIN_KEPT = 0.8
MIN_KNOWN = 0.5
ATTEMPTS = 32

SYNONYMS = {
    **dict.fromkeys(("train", "training", "tr"), "train"),
    **dict.fromkeys(("valid", "val", "validation", "dev", "va"), "valid"),
    **dict.fromkeys(("test", "testing", "eval", "evaluation", "te"), "test"),
}


@dataclass(frozen=True)
class Split:
    """A split of tracks.

    Args:
        by: Level whose groups were kept whole, or "given".
        splits: Of each track; "" for one that is left out.
        groups: Of each track.
        dropped: Class → why it is left out.
        note: Why no coarser level was taken.
    """

    by: str
    splits: list[str]
    groups: list[str]
    dropped: dict[str, str]
    note: str


@dataclass(frozen=True)
class Strata:
    """What must be spread over the splits.

    Args:
        of: Classes (or tags, or bins of what is no class) of each track.
        kind: Of the labels. A track without a kept class is left out; one without a kept tag or
            segment still says what it is not.
    """

    of: list[list[str]]
    kind: str

    @property
    def drops(self) -> bool:
        """Whether what is too rare to be learnt is left out; bins never are."""
        return self.kind in ("class", "tags", "segments")


def choose_split(strata: Strata, levels: dict[str, Level], *, by: str, seed: int) -> Split:
    """The split by a level, or by the coarsest that works if `by` is empty."""
    finest = _num_kept(strata, levels["track"].groups)
    passed_over: list[str] = []
    for name in (by,) if by else LEVELS:
        level = levels[name]
        least = 0 if by or name == "track" else MIN_KEPT * finest
        try:
            if name != "track":
                _check_level(strata, level)
            split_of, dropped = _deal_groups(strata, level.groups, least, seed)
            if name != "track":
                _check_shares(split_of, level.groups)
        except NoLabels as error:
            passed_over.append(f"not by {name}: {error}")
            if by or name == "track":
                raise NoLabels(f"it has no split by {name}: {error}") from None
            continue
        splits = [
            "" if strata.kind == "class" and names[0] in dropped else split_of[group]
            for names, group in zip(strata.of, level.groups, strict=True)
        ]
        return Split(name, splits, level.groups, dropped, "; ".join(passed_over))
    raise AssertionError("the finest level either splits or raises")


def _check_level(strata: Strata, level: Level) -> None:
    """Refuse a level of which too little is known, or whose names tell the label."""
    known = sum(map(bool, level.names))
    if known < MIN_KNOWN * len(level.names):
        raise NoLabels(f"known of {known} of {len(level.names)} tracks")
    names_of: dict[str, set[str]] = defaultdict(set)
    for classes, name in zip(strata.of, level.names, strict=True):
        for each in classes:
            names_of[each].add(name)
    one_group = all(n == 1 for n in groups_of_classes(strata, level.groups).values())
    one_name = all(len(names - {""}) <= 1 for names in names_of.values())
    if strata.drops and (one_group or one_name):
        raise NoLabels("it determines the label")


def _deal_groups(
    strata: Strata, groups: list[str], least: float, seed: int
) -> tuple[dict[str, str], dict[str, str]]:
    """Split of each group, and the classes that have too few groups, with the reason."""
    dropped: dict[str, str] = {}
    if strata.drops:
        num_groups = groups_of_classes(strata, groups)
        few = {name: n for name, n in sorted(num_groups.items()) if n < MIN_GROUPS}
        dropped = {name: f"{n} groups, want {MIN_GROUPS}" for name, n in few.items()}
        if len(num_groups) - len(dropped) < (2 if strata.kind == "class" else 1):
            raise NoLabels(f"{len(dropped)} of {len(num_groups)} classes have too few groups")
        if (num_kept := _num_kept(strata, groups)) < least:
            num_labels = sum(map(len, strata.of))
            raise NoLabels(f"it would lose {num_labels - num_kept} of {num_labels} labels")
    members: dict[str, Counter[str]] = defaultdict(Counter)
    sizes: Counter[str] = Counter()
    for names, group in zip(strata.of, groups, strict=True):
        kept = [name for name in names if name not in dropped]
        if kept or strata.kind != "class":
            members[group].update(kept)
            sizes[group] += 1
    if len(members) < MIN_GROUPS:
        raise NoLabels(f"it has {len(members)} groups, want {MIN_GROUPS}")
    split_of = balance(members, sizes, seed=seed, strict=strata.drops)
    if len(set(split_of.values())) < len(SPLITS):  # bins of so few groups that a split is empty
        one_bin = {group: Counter({"": size}) for group, size in sizes.items()}
        split_of = balance(one_bin, sizes, seed=seed, strict=True)
    return split_of, dropped


def _check_shares(split_of: dict[str, str], groups: list[str]) -> None:
    """Refuse groups so unequal that a split is next to empty."""
    tracks = Counter(split_of[group] for group in groups if group in split_of)
    if any(tracks[split] < LEAST[split] * tracks.total() for split in SPLITS):
        raise NoLabels("its groups are too unequal")


def groups_of_classes(strata: Strata, groups: list[str]) -> dict[str, int]:
    """Class → number of different groups in which it occurs."""
    found: dict[str, set[str]] = defaultdict(set)
    for names, group in zip(strata.of, groups, strict=True):
        for name in names:
            found[name].add(group)
    return {name: len(members) for name, members in found.items()}


def _num_kept(strata: Strata, groups: list[str]) -> int:
    """Labels of all tracks that are of a class with enough groups."""
    num_groups = groups_of_classes(strata, groups)
    return sum(num_groups[name] >= MIN_GROUPS for names in strata.of for name in names)


def balance(
    members: dict[str, Counter[str]], sizes: Counter[str], *, seed: int, strict: bool
) -> dict[str, str]:
    """Group → split, the rarest class first; every class in every split, or `NoLabels`.

    Greedy stratification as for multi-label data (Sechidis et al., 2011), in whole groups. Groups
    of several classes can block each other: then the order of equal groups is drawn again.
    """
    missing: list[str] = []
    for attempt in range(ATTEMPTS):
        split_of = _balance_once(members, sizes, f"{seed} {attempt}")
        present: dict[str, set[str]] = defaultdict(set)
        for group, names in members.items():
            for name in names:
                present[name].add(split_of[group])
        missing = sorted(name for name, splits in present.items() if len(splits) < len(SPLITS))
        if not missing or not strict:
            return split_of
    raise NoLabels(f"its groups cannot be dealt so that {missing[0][:40]!r} is in every split")


def _balance_once(
    members: dict[str, Counter[str]], sizes: Counter[str], seed: str
) -> dict[str, str]:
    """One greedy deal: large groups first, equal ones in an order drawn from the seed."""
    split_of: dict[str, str] = {}
    order = sorted(members, key=lambda group: _draw(seed, group))
    groups_of: dict[str, list[str]] = defaultdict(list)
    for group in order:
        for name in members[group]:
            groups_of[name].append(group)
    for name in sorted(groups_of, key=lambda name: (len(groups_of[name]), name)):
        _deal(groups_of[name], {g: members[g][name] for g in groups_of[name]}, split_of)
    _deal(order, sizes, split_of)  # whoever has no class that counts
    return split_of


def _deal(groups: list[str], weight: dict[str, int], split_of: dict[str, str]) -> None:
    """Give the groups of one class that have no split yet to whichever split lacks most."""
    total = sum(weight[group] for group in groups)
    lacks = {split: share * total for split, share in SHARES.items()}
    absent = set(SPLITS)
    for group in groups:
        if group in split_of:
            lacks[split_of[group]] -= weight[group]
            absent.discard(split_of[group])
    left = [group for group in groups if group not in split_of]
    left.sort(key=lambda group: -weight[group])  # stable: the draw decides among equals
    for position, group in enumerate(left):
        few = len(left) - position <= len(absent)
        split = max(absent if few else SPLITS, key=lambda s: (lacks[s], -SPLITS.index(s)))
        split_of[group] = split
        lacks[split] -= weight[group]
        absent.discard(split)


def _draw(seed: str, group: str) -> bytes:
    return hashlib.sha256(f"{seed} {group}".encode()).digest()


def given_split(strata: Strata, groups: list[str], cells: list[str]) -> Split:
    """A split that came with the labels, as it is; classes that train lacks cannot be learned."""
    unknown = sorted({cell for cell in cells if cell and cell.lower() not in SYNONYMS})
    if unknown:
        raise NoLabels(f"its split is {unknown[0][:40]!r}, want train, valid or test")
    splits = [SYNONYMS.get(cell.lower(), "") for cell in cells]
    pieces = strata.kind == "group"  # need no training: all of them may be test
    wanted = ("test",) if pieces else SPLITS
    absent = [split for split in wanted if split not in splits]
    if absent:
        raise NoLabels(f"its split has no tracks in {', '.join(absent)}")
    dropped: dict[str, str] = {}
    if strata.drops:
        learned = {
            n for names, s in zip(strata.of, splits, strict=True) if s == "train" for n in names
        }
        every = {name for names in strata.of for name in names}
        dropped = dict.fromkeys(sorted(every - learned), "none in train")
    if strata.kind == "class":
        splits = [s if n[0] not in dropped else "" for n, s in zip(strata.of, splits, strict=True)]
    where: dict[str, set[str]] = defaultdict(set)
    for group, split in zip(groups, splits, strict=True):
        if split:
            where[group].add(split)
    parted = sum(len(found) > 1 for found in where.values())
    note = f"parts {parted} groups of duplicates or versions" if parted else ""
    if pieces and parted:
        last = {group: max(found, key=SPLITS.index) for group, found in where.items()}
        splits = [s if s == last.get(g) else "" for s, g in zip(splits, groups, strict=True)]
        note = f"parts {parted} pieces, of which the last split alone keeps its tracks"
    return Split("given", splits, groups, dropped, note)
