"""verify finds every fault, names the file, says what it means and what to type."""

import json
import os
import shutil
import tarfile
from pathlib import Path

import numpy as np
import pytest
import soundfile

from ingest.build import build_shards
from ingest.cli import main
from ingest.settings import Settings
from ingest.verify import part_of, verify_archive
from shards.errors import DamagedTrack, InputError
from shards.files import sha256_file
from shards.index import Index, Track
from shards.reader import read_track
from shards.seek import byte_range, decode_frames, seek_table


def flip(path: Path, at: int, bit: int = 0) -> None:
    with open(path, "r+b") as file:
        file.seek(at)
        byte = file.read(1)[0]
        file.seek(at)
        file.write(bytes([byte ^ 1 << bit]))


@pytest.mark.parametrize("level", ["size", "sha256", "decode"])
def test_an_archive_as_it_was_written_has_no_faults(built, level):
    report = verify_archive(built.out, level=level)
    assert report.faults == []
    assert not report.unfinished
    assert (report.read > 0) == (level != "size")
    assert report.decoded_tracks == (built.manifest["tracks"] if level == "decode" else 0)


def test_the_manifest_vouches_for_every_file_but_itself_and_the_card(built):
    files = {str(p.relative_to(built.out)) for p in built.out.rglob("*") if p.is_file()}
    vouched = {shard["name"] for shard in built.manifest["shards"]} | {*built.manifest["files"]}
    assert files - vouched == {"manifest.json", ".lock", "README.md"}


def test_missing_and_damaged_files_are_two_lists(own):
    (own.out / "data/shard-000001.tar").unlink()
    (own.out / "seek/shard-000002.npy").unlink()
    flip(own.out / "receipts/shard-000000.json", 40)
    with open(own.out / "rejected.parquet", "ab") as file:
        file.write(b"\0")
    report = verify_archive(own.out)
    assert [f.file for f in report.missing] == ["data/shard-000001.tar", "seek/shard-000002.npy"]
    assert [f.file for f in report.damaged] == ["receipts/shard-000000.json", "rejected.parquet"]
    for fault in report.faults:
        assert fault.remedy == f"run `ingest repair {own.out} AUDIO_DIR`"
    assert "does not open" in report.missing[0].means
    assert "bytes, want" in report.damaged[1].why


def test_a_damaged_payload_is_named_with_its_track(own):
    index = Index.open(own.out)
    track = index[3]
    flip(track.shard, track.offset + track.size // 2)
    assert verify_archive(own.out, level="size").faults == []
    (fault,) = verify_archive(own.out).damaged
    assert fault.file == str(track.shard.relative_to(own.out))
    assert "1 of its" in fault.why
    assert track.source in fault.why


def test_a_flipped_bit_of_flac_never_gives_other_samples(own):
    """The checksum of each FLAC frame; neither the reader nor a range of bytes is deceived."""
    index = Index.open(own.out)
    track = index[2]
    payload = track.shard.read_bytes()[track.offset : track.offset + track.size]
    before = read_track(index, 2)
    rng = np.random.default_rng(0)
    refused = 0
    for at in rng.integers(0, track.size, 40).tolist():
        flip(track.shard, track.offset + at, at % 8)
        try:
            assert np.array_equal(read_track(index, 2), before)  # the bit meant nothing
        except DamagedTrack:
            refused += 1
        flip(track.shard, track.offset + at, at % 8)
        part = byte_range(seek_table(index, 2), track.size, track.sample_rate, 0, track.frames)
        damaged = bytearray(payload[part])
        damaged[at % len(damaged)] ^= 1 << at % 8
        with pytest.raises((soundfile.LibsndfileError, ValueError)):
            decode_whole(bytes(damaged), track)
    assert refused > 30


def decode_whole(data: bytes, track: Track) -> np.ndarray:
    samples = decode_frames(data, track.sample_rate, 0, track.frames)
    if len(samples) != track.frames:
        raise ValueError("samples are missing")
    return samples


def test_of_wav_only_the_hash_of_the_shard_tells(corpus, tmp_path):
    settings = Settings(codec="wav", limit=3)
    out = build_shards(corpus.folder, tmp_path / "out", settings=settings, num_workers=1).out
    index = Index.open(out)
    flip(index[0].shard, index[0].offset + index[0].size // 2)
    assert len(read_track(index, 0)) == index[0].frames  # other samples, no complaint
    (fault,) = verify_archive(out).damaged
    assert "decodes to other samples" in fault.why


def test_decoding_finds_what_hashes_cannot_for_they_were_taken_too_late(built, tmp_path):
    """As if memory had failed between a shard's encoding and the hash of it."""
    from ingest.shard import receipt_of
    from shards.sealed import read_sealed, write_sealed

    for name, spoil in SPOILT.items():
        out = tmp_path / name
        shutil.copytree(built.out, out)
        row = receipt_of(out, 0)["rows"][0]
        spoil(out, row)
        receipt, manifest = receipt_of(out, 0), read_sealed(out / "manifest.json")
        for path, entry in (
            ("data/shard-000000.tar", manifest["shards"][0]),
            ("seek/shard-000000.npy", manifest["files"]["seek/shard-000000.npy"]),
        ):
            entry |= {"bytes": os.path.getsize(out / path), "sha256": sha256_file(out / path)}
        receipt |= {name: manifest["shards"][0][name] for name in ("bytes", "sha256")}
        write_sealed(out / "receipts/shard-000000.json", receipt)
        manifest["files"]["receipts/shard-000000.json"] = {
            "bytes": os.path.getsize(out / "receipts/shard-000000.json"),
            "sha256": sha256_file(out / "receipts/shard-000000.json"),
        }
        write_sealed(out / "manifest.json", manifest)
        assert verify_archive(out).faults == []
        (fault,) = verify_archive(out, level="decode").faults
        assert name in fault.why, fault


def spoil_samples(out, row):
    flip(out / "data/shard-000000.tar", row["offset"] + row["size"] - 20)


def spoil_facts(out, row):
    tar = out / "data/shard-000000.tar"
    tar.write_bytes(tar.read_bytes().replace(b'"CC0-1.0"', b'"CC1-1.0"', 1))


def spoil_order(out, row):
    """JSON first, then the payload."""
    tar = out / "data/shard-000000.tar"
    data = tar.read_bytes()
    begin, middle = row["offset"] - 512, row["offset"] + -(-row["size"] // 512) * 512
    json_bytes = tarfile.TarInfo.frombuf(data[middle : middle + 512], "utf-8", "strict").size
    end = middle + 512 + -(-json_bytes // 512) * 512
    tar.write_bytes(data[:begin] + data[middle:end] + data[begin:middle] + data[end:])


def spoil_seek(out, row):
    flip(out / "seek/shard-000000.npy", 128, 1)


def spoil_end(out, row):
    with open(out / "data/shard-000000.tar", "ab") as file:
        file.write(bytes(512) + b"\1")


SPOILT = {
    "decode": spoil_samples,
    "facts": spoil_facts,
    "order": spoil_order,
    "fit": spoil_seek,
    "end": spoil_end,
}


def test_what_nobody_wrote_is_a_stray(own):
    (own.out / "data/shard-000999.tar").write_bytes(b"")
    (own.out / "data/.tmp-0123456789abcdef").write_bytes(b"litter of a build")
    (own.out / "notes.txt").write_text("mine")
    (fault,) = verify_archive(own.out).damaged
    assert fault.file == "data/shard-000999.tar"
    assert fault.remedy == "move it out of the archive"


def test_an_addition_that_was_interrupted_is_no_damage(own, corpus, small_shards, make_chord):
    from ingest.plan import make_plan, read_plans, write_plan
    from ingest.scan import Scan, scan

    plans = read_plans(own.out)
    make_chord(own.out.parent / "more/new.wav", 3)
    new = Scan(scan(own.out.parent / "more").sources)
    write_plan(own.out, make_plan(new, small_shards, {}, after=plans))
    report = verify_archive(own.out)
    assert report.faults == []
    assert report.unfinished


def test_every_shard_is_in_one_part_of_the_subset(own):
    numbers = range(len(own.manifest["shards"]))
    for number in numbers:
        flip(own.out / f"data/shard-{number:06d}.tar", 700)
    found = [
        fault.file for part in (1, 2) for fault in verify_archive(own.out, subset=(part, 2)).damaged
    ]
    assert sorted(found) == [f"data/shard-{number:06d}.tar" for number in numbers]


def test_tars_of_others_are_verified_where_they_lie_and_not_repaired(built, tmp_path, capsys):
    shutil.copytree(built.out / "data", tmp_path / "tars")
    tars = [str(path) for path in sorted((tmp_path / "tars").glob("*.tar"))]
    out = str(tmp_path / "out")
    assert main(["index", *tars, "--out", out]) == 0
    assert main(["verify", out]) == 0
    flip(tmp_path / "tars/shard-000001.tar", 700)
    capsys.readouterr()
    assert main(["verify", out, "--json"]) == 3
    (fault,) = json.loads(capsys.readouterr().out)["damaged"]
    assert fault["file"].endswith("tars/shard-000001.tar")
    assert "get the tar again" in fault["remedy"]
    assert main(["repair", out, str(tmp_path)]) == 2
    assert "was not packed here" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["0/10", "11/10", "1", "a/b", "1/0", "-1/2", "１/２"])
def test_a_part_that_is_none_is_refused(text, built):
    with pytest.raises(InputError, match="part"):
        verify_archive(built.out, subset=part_of(text))


def test_the_command_says_all_is_well_or_ends_with_3(own, capsys):
    assert main(["verify", str(own.out)]) == 0
    assert "all is well" in capsys.readouterr().out
    flip(own.out / "data/shard-000001.tar", 700)
    assert main(["verify", str(own.out), "--level", "decode"]) == 3
    text = capsys.readouterr().out
    assert "data/shard-000001.tar" in text
    assert f"ingest repair {own.out} AUDIO_DIR" in text
    assert main(["verify", str(own.out), "--json"]) == 3
    report = json.loads(capsys.readouterr().out)
    assert [fault["file"] for fault in report["damaged"]] == ["data/shard-000001.tar"]
    assert report["missing"] == []


@pytest.mark.parametrize("command", [["verify"], ["repair"]])
def test_a_folder_that_is_no_archive_is_left_as_it_is(command, tmp_path, capsys):
    (tmp_path / "out").mkdir()
    audio = [str(tmp_path)] if command == ["repair"] else []
    assert main([*command, str(tmp_path / "out"), *audio]) == 2
    assert "has no manifest.json" in capsys.readouterr().err
    assert list((tmp_path / "out").iterdir()) == []


def test_info_counts_what_there_is(built, capsys):
    assert main(["info", str(built.out), "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    index = Index.open(built.out)
    assert facts["tracks"] == len(index) == sum(facts["sources"].values())
    assert facts["sources"]["no suffix"] == 1
    assert facts["licences"] == {"CC0-1.0": len(index)}
    assert facts["duplicates"] == 3
    assert facts["duration_s"][1] == pytest.approx(np.median(index.column("duration_s")), abs=1e-3)
    assert sum(facts["rejected_by_code"].values()) == facts["rejected"] == 11
    assert main(["info", str(built.out)]) == 0
    text = capsys.readouterr().out
    assert "copies:    exact 3" in text
    assert f"corrupt {facts['rejected_by_code']['corrupt']}, empty 2" in text


def test_a_track_that_ends_in_a_frame_of_a_few_bytes_is_whole(tmp_path):
    """The last second begins in the last frame, which is silent and shorter than any other."""
    (tmp_path / "in").mkdir()
    for extra in (5, 40, 900, 1_100):
        noise = np.random.default_rng(extra).integers(-9_000, 9_000, 48_000)
        samples = np.append(noise, np.zeros(16_000 + extra)).astype(np.int16)
        soundfile.write(tmp_path / f"in/{extra}.wav", samples, 16_000)
        soundfile.write(tmp_path / f"in/silent{extra}.wav", samples[48_000:], 16_000)
    out = build_shards(tmp_path / "in", tmp_path / "out", num_workers=1).out
    assert verify_archive(out, level="decode").faults == []
