"""repair brings back what was damaged with the bytes it had, and never loses a whole track."""

import json
import os
import random
import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest

from ingest.build import build_shards
from ingest.cli import main
from ingest.labels.add import Options as LabelOptions
from ingest.labels.add import add_labels
from ingest.lock import locked
from ingest.payload import FORMS
from ingest.plan import read_plans
from ingest.repair import Options, repair_archive
from ingest.salvage import encoded, make_again, shard_of
from ingest.settings import Settings
from ingest.verify import verify_archive
from shards.errors import InputError
from shards.files import sha256_file
from shards.index import Index
from shards.labels import Labels
from shards.member import MappedShards
from shards.reader import read_track

SETTINGS = Settings(shard_mib=0.03)


def tree(folder: Path) -> dict[str, str]:
    """Relative path → hash of every file."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): sha256_file(path) for path in files}


def times(folder: Path) -> dict[str, int]:
    files = (path for path in folder.rglob("*") if path.is_file() and path.name != ".lock")
    return {str(path.relative_to(folder)): path.stat().st_mtime_ns for path in files}


@dataclass(frozen=True)
class Case:
    """An archive of two generations with labels, and everything that it came from."""

    music: Path
    out: Path
    labels: Path

    def repair(self, **options):
        return repair_archive(self.out, self.music, Options(labels=(self.labels,), **options))


@pytest.fixture(scope="module")
def grown(tmp_path_factory, make_chord) -> Case:
    root = tmp_path_factory.mktemp("grown")
    music, labels = root / "in", root / "mood.csv"
    for number in range(9):
        make_chord(music / f"{number}.{'flac' if number % 2 else 'wav'}", number)
    (music / "bad.flac").write_bytes(b"fLaC" + bytes(100))
    (music / "text.mp3").write_text("no music")
    build_shards(music, root / "out", settings=SETTINGS, num_workers=1)
    for number in range(9, 12):
        make_chord(music / f"new/{number}.wav", number)
    build_shards(music, root / "out", settings=SETTINGS, num_workers=1)
    sources = Index.open(root / "out").column("source")
    rows = [f"{source},{'ab'[i % 2]}" for i, source in enumerate(sources)]
    labels.write_text("\n".join(["path,mood", *rows]))
    list(add_labels(root / "out", labels, LabelOptions(column="mood")))
    return Case(music, root / "out", labels)


@pytest.fixture
def case(grown, tmp_path) -> Case:
    shutil.copytree(grown.music, tmp_path / "in")
    shutil.copytree(grown.out, tmp_path / "out")
    shutil.copy(grown.labels, tmp_path / "mood.csv")
    return Case(tmp_path / "in", tmp_path / "out", tmp_path / "mood.csv")


def damage(path: Path, rng: random.Random, *, cut: bool) -> None:
    data = bytearray(path.read_bytes())
    at = rng.randrange(len(data))
    if cut:
        del data[at:]
    else:
        data[at] ^= 1 << rng.randrange(8)
    path.write_bytes(data)


def kinds(out: Path) -> dict[str, list[Path]]:
    """Files of an archive, by what they are."""
    found: dict[str, list[Path]] = {}
    for path in sorted(out.rglob("*")):
        if path.is_file() and path.name not in (".lock", "README.md"):  # people may edit the card
            kind = str(path.relative_to(out).with_name(path.name.split("-")[0].split(".")[0]))
            found.setdefault(kind + path.suffix, []).append(path)
    return found


def check_damage(case: Case, trials: int, *, repair: bool) -> None:
    """Half flips, half cuts, every kind of file in turn; each found, named, and brought back."""
    before, rng = tree(case.out), random.Random(5)
    turns = list(kinds(case.out).values())
    assert len(turns) == 11
    for trial in range(trials):
        path = rng.choice(turns[trial // 2 % len(turns)])
        whole = path.read_bytes()
        damage(path, rng, cut=trial % 2 == 1)
        (fault,) = verify_archive(case.out).faults
        assert fault.file == str(path.relative_to(case.out))
        assert f"ingest repair {case.out} AUDIO_DIR" in fault.remedy
        if trial % 2 == 1 or path.name == "manifest.json" or path.parent.name == "labels":
            assert verify_archive(case.out, level="size").faults
        if repair:
            done = case.repair()
            assert done.restored == [fault.file]
        else:
            path.write_bytes(whole)
        assert tree(case.out) == before


def test_every_flipped_bit_and_every_cut_is_found(case):
    check_damage(case, 176, repair=False)


@pytest.mark.slow
def test_300_flips_and_300_cuts_are_found_and_repaired(case):
    check_damage(case, 600, repair=True)


@pytest.mark.parametrize("cut", [False, True], ids=["flipped", "cut"])
def test_damage_in_many_places_is_repaired_at_once_and_what_is_whole_is_not_touched(case, cut):
    before, mtimes = tree(case.out), times(case.out)
    rng = random.Random(2)
    names = [
        *("data/shard-000000.tar", "seek/shard-000001.npy", "receipts/shard-000002.json"),
        *("data/shard-000003.tar", "seek/shard-000003.npy", "receipts/shard-000003.json"),
        *("index.parquet", "rejected-000001.parquet", "fingerprints.parquet"),
        *("labels/mood.parquet", "plan.json"),
    ]
    for name in names:
        damage(case.out / name, rng, cut=cut)
    assert {fault.file for fault in verify_archive(case.out).faults} == set(names)
    done = case.repair()
    assert done.left == []
    assert tree(case.out) == before
    same = {name: time for name, time in times(case.out).items() if name not in names}
    assert same.items() <= mtimes.items()
    assert case.repair().restored == []


@pytest.mark.parametrize(
    "lost",
    [
        ["manifest.json"],
        ["manifest.json", "receipts/shard-000001.json"],
        ["manifest.json", "data/shard-000001.tar"],
        ["manifest.json", "index.parquet", "labels/mood.json"],
        ["plan.parquet", "data/shard-000000.tar"],
        ["index.parquet", "receipts/shard-000000.json", "seek/shard-000000.npy"],
    ],
    ids="+".join,
)
def test_what_is_lost_together_comes_back_together(case, lost):
    before = tree(case.out)
    for name in lost:
        (case.out / name).unlink()
    report = verify_archive(case.out)
    assert "manifest.json" in lost or [fault.file for fault in report.missing] == sorted(lost)
    done = case.repair()
    assert done.left == []
    assert tree(case.out) == before


@pytest.mark.parametrize(
    "name", ["receipts/shard-000000.json", "seek/shard-000001.npy", "index.parquet", "plan.json"]
)
def test_what_can_be_made_from_the_archive_itself_needs_no_source(case, name):
    before = tree(case.out)
    (case.out / name).unlink()
    shutil.rmtree(case.music)
    case.music.mkdir()
    assert case.repair().restored == [name]
    assert tree(case.out) == before


def test_a_damaged_track_needs_its_own_source_only_and_its_time_does_not_matter(case):
    before = tree(case.out)
    track = spoil(case, 4)
    for path in [path for path in case.music.rglob("*") if path.is_file()]:
        if path.name != Path(track.source).name:
            path.unlink()
    os.utime(case.music / track.source, (1, 1))  # as after a copy from a backup
    assert case.repair().left == []
    assert tree(case.out) == before


def spoil(case: Case, row: int):
    """Make a track unreadable."""
    track = Index.open(case.out)[row]
    with open(track.shard, "r+b") as file:
        file.seek(track.offset + track.size // 3)
        file.write(bytes(200))
    return track


@pytest.mark.parametrize("how", ["gone", "changed"])
def test_a_shard_with_a_track_that_nothing_can_restore_stays_as_it_is(case, how, capsys):
    track = spoil(case, 4)
    source = case.music / track.source
    if how == "gone":
        source.unlink()
    else:
        source.write_bytes(next(case.music.glob("*.wav")).read_bytes() + b"\0")
    before = times(case.out)
    assert main(["repair", str(case.out), str(case.music)]) == 3
    text = capsys.readouterr().out
    assert f"lost: {track.source}" in text
    assert "1 of its tracks cannot be restored" in text
    assert "--drop-lost" in text
    assert times(case.out) == before


def test_lost_tracks_are_dropped_when_asked_and_all_others_are_kept(case, monkeypatch):
    index = Index.open(case.out)
    samples = {index[row].key: read_track(index, row) for row in range(len(index)) if row != 4}
    track = spoil(case, 4)
    shutil.move(case.music, case.music.parent / "away")
    case.music.mkdir()
    done = case.repair(drop_lost=True)
    assert [row.path for row in done.lost] == [track.source]
    assert verify_archive(case.out, level="decode").faults == []
    monkeypatch.setattr("shards.member._SHARDS", MappedShards())  # another process, later
    after = Index.open(case.out)
    assert {*samples} == {*after.column("key")}
    assert "11 tracks" in (case.out / "README.md").read_text()
    for row in range(len(after)):
        assert (read_track(after, row) == samples[after[row].key]).all()
    assert len(Labels.open(after, "mood").rows("train")) > 0
    shutil.rmtree(case.music)
    shutil.move(case.music.parent / "away", case.music)
    again = build_shards(case.music, case.out, settings=SETTINGS, num_workers=1)
    assert again.new_tracks == 1  # it is there again, and so a new track
    assert track.key in Index.open(case.out).row_of_key


class Killed(BaseException):
    """Stands for SIGKILL: nothing is tidied up behind it."""


def kill_after(calls: int, monkeypatch) -> None:
    """From the n-th rename on, nothing in the file system changes any more."""
    left = [calls]

    def guarded(real):
        def call(*args, **kwargs):
            left[0] -= 1
            if left[0] < 0:
                raise Killed
            return real(*args, **kwargs)

        return call

    def only_alive(real):
        return lambda *args, **kwargs: None if left[0] < 0 else real(*args, **kwargs)

    for name in ("replace", "rename"):
        monkeypatch.setattr(os, name, guarded(getattr(os, name)))
    monkeypatch.setattr(shutil, "rmtree", only_alive(shutil.rmtree))


@pytest.mark.parametrize(
    "drop",
    [pytest.param(False, marks=pytest.mark.slow, id="restored"), pytest.param(True, id="dropped")],
)
def test_a_repair_killed_at_any_rename_ends_as_an_undisturbed_one(case, drop, monkeypatch):
    """Where tracks are dropped and all sources are gone, nothing but the archive has the others."""
    track = spoil(case, 4)
    (case.out / "index-000001.parquet").unlink()
    if drop:
        shutil.rmtree(case.music)
        case.music.mkdir()
    damaged = case.out.with_name("damaged")
    shutil.copytree(case.out, damaged)
    case.repair(drop_lost=drop)
    wanted, calls = tree(case.out), 0
    while True:
        shutil.rmtree(case.out)
        shutil.copytree(damaged, case.out)
        with monkeypatch.context() as patched:
            kill_after(calls, patched)
            try:
                case.repair(drop_lost=drop)
                break
            except Killed:
                calls += 1
        case.repair(drop_lost=drop)
        assert tree(case.out) == wanted, calls
    assert verify_archive(case.out, level="decode").faults == []
    assert calls > (8 if drop else 4)
    assert (track.key in Index.open(case.out).row_of_key) != drop


def test_a_build_waits_for_a_repair_that_was_interrupted(case):
    (case.out / ".repaired-shard").mkdir()
    with pytest.raises(InputError, match="was interrupted"):
        build_shards(case.music, case.out, settings=SETTINGS)


def test_a_build_neither_trusts_a_damaged_receipt_nor_drops_shards_whose_plan_is_lost(case):
    before = tree(case.out)
    receipt = case.out / "receipts/shard-000001.json"
    receipt.write_text(receipt.read_text().replace('"frames": 1', '"frames": 2', 1))
    build_shards(case.music, case.out, settings=SETTINGS, num_workers=1)
    assert tree(case.out) == before
    for name in ("plan-000001.json", "plan.json"):
        (case.out / name).rename(case.out / "aside")
        with pytest.raises(InputError, match=f"{name} is missing"):
            build_shards(case.music, case.out, settings=SETTINGS)
        (case.out / "aside").rename(case.out / name)
    assert tree(case.out) == before


def test_a_plan_whose_sources_have_changed_stays_lost_and_everything_still_reads(case):
    (case.out / "plan.parquet").unlink()
    (case.music / "0.wav").unlink()
    (fault,) = case.repair().left
    assert fault.file == "plan.parquet"
    assert "sources are missing" in fault.why
    assert "cannot grow" in fault.means
    assert len(Index.open(case.out)) == 12


def test_an_archive_of_another_encoder_keeps_its_samples_and_says_so(case, monkeypatch):
    """A newer libFLAC may write other bytes of the same samples."""
    monkeypatch.setitem(FORMS["flac"], "compression_level", 1.0)
    plan = read_plans(case.out)[0]
    for folder in ("data", "seek", "receipts"):
        (case.out.parent / "old" / folder).mkdir(parents=True)
    make_again(shard_of(case.out, plan, 0), case.music, case.out.parent / "old", encoded)
    monkeypatch.undo()
    for path in (case.out.parent / "old").rglob("shard-*"):
        os.replace(path, case.out / path.relative_to(case.out.parent / "old"))
    (case.out / "manifest.json").unlink()
    case.repair()
    assert verify_archive(case.out, level="decode").faults == []
    before = Index.open(case.out)
    row = [int(shard) for shard in before.column("shard")].index(0)
    spoil(case, row)
    done = case.repair()
    assert done.left == []
    assert done.changed["data/shard-000000.tar"] == "the same samples, encoded anew"
    assert verify_archive(case.out, level="decode").faults == []
    assert Index.open(case.out).fingerprint == before.fingerprint


def test_a_dry_run_tells_and_writes_nothing(case, capsys):
    for name in ("data/shard-000000.tar", "plan.parquet", "index.parquet", "labels/mood.json"):
        (case.out / name).unlink()
    before = times(case.out)
    assert main(["repair", str(case.out), str(case.music), "--dry-run", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["dry_run"]
    assert len(told["restored"]) == 4
    assert told["left"] == []
    assert times(case.out) == before


def test_a_limit_repairs_so_many_shards(case, capsys):
    for number in range(3):
        (case.out / f"data/shard-{number:06d}.tar").unlink()
    assert main(["repair", str(case.out), str(case.music), "--limit", "1"]) == 3
    assert "files restored as they were: 1; still damaged: 2" in capsys.readouterr().out
    assert main(["repair", str(case.out), str(case.music)]) == 0


def test_labels_come_back_only_from_the_very_table_they_came_from(case):
    path = case.out / "labels/mood.parquet"
    path.write_bytes(b"")
    table = case.labels.read_text()
    for other in ("", table.replace(",a", ",b", 1)):
        case.labels.write_text(other)
        (fault,) = case.repair().left
        assert "the table that it came from was not given" in fault.why
        assert "--labels mood.csv" in fault.remedy
    case.labels.write_text(table)
    assert case.repair().left == []


def test_a_folder_in_use_is_left_alone_and_a_wrong_one_is_named(case, capsys):
    with locked(case.out):
        assert main(["repair", str(case.out), str(case.music)]) == 75
    assert main(["repair", str(case.out), str(case.out / "nowhere")]) == 2
    assert "is not a folder" in capsys.readouterr().err


def test_a_shard_of_wav_is_repaired_too(case, tmp_path):
    settings = Settings(codec="wav", shard_mib=0.1)
    out = build_shards(case.music, tmp_path / "wav", settings=settings, num_workers=1).out
    before = tree(out)
    wav = Case(case.music, out, case.labels)
    spoil(wav, 1)
    assert wav.repair().left == []
    assert tree(out) == before
