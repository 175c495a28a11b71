"""Audio is found by what files hold; names decide nothing but what is expected of them."""

import os

import pytest

from ingest.scan import scan, shown_path, track_key
from ingest.sniff import find_mpeg_frame, mpeg_frame_bytes, sniff
from ingest.tags import clean


def test_kinds_are_read_off_the_content_of_real_files(corpus):
    found = scan(corpus.folder)
    kinds = {source.raw: source.kind for source in found.sources}
    assert kinds[b"odd/no-extension"] == "mp3"
    expected = {
        "wav": "wav",
        "flac": "flac",
        "ogg": "ogg",
        "opus": "ogg",
        "mp3": "mp3",
        "aiff": "aiff",
    }
    for name in corpus.good:
        suffix = os.path.splitext(name)[1].decode("latin-1")[1:]
        assert kinds[name] == expected.get(suffix, "mp3")


def test_sources_are_sorted_by_key_and_the_output_is_passed_over(corpus):
    found = scan(corpus.folder, without=corpus.folder / "odd")
    keys = [source.key for source in found.sources]
    assert keys == sorted(keys)
    assert not any(source.raw.startswith(b"odd/") for source in found.sources)
    assert found.sources[0].key == track_key(found.sources[0].raw)


@pytest.mark.parametrize(
    ("header", "length"),
    [
        ("fffb9064", 417),  # MPEG 1 layer III, 128 kbit/s, 44.1 kHz: 144 · 128000 / 44100
        ("fffb9264", 418),  # the same with padding
        ("fff38464", 192),  # MPEG 2 layer III, 64 kbit/s, 24 kHz: 72 · 64000 / 24000
        ("fffd9004", 522),  # MPEG 1 layer II, 160 kbit/s
        ("ffff9004", 312),  # MPEG 1 layer I, 288 kbit/s: 4 · (12 · 288000 / 44100)
        ("fffbf064", 0),  # no such bitrate
        ("fffb9c64", 0),  # no such rate
        ("ffeb9064", 0),  # no such version
        ("fff99064", 0),  # no such layer
        ("49443304", 0),
    ],
)
def test_mpeg_frames_have_the_lengths_of_the_standard(header, length):
    assert mpeg_frame_bytes(bytes.fromhex(header)) == length


def test_frames_behind_junk_are_found_in_a_file_that_claims_them(tmp_path, make_chord):
    make_chord(tmp_path / "a.mp3", 0)
    frames = (tmp_path / "a.mp3").read_bytes()
    assert sniff(frames[:4_096], len(frames)) == "mp3"
    behind = b"\0" * 300 + frames
    assert sniff(behind[:4_096], len(behind)) == ""
    assert find_mpeg_frame(behind, len(behind)) >= 0


@pytest.mark.parametrize("text", ["hello " * 900, "\ufeffutf-16 ÿûÿþ " * 300])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "latin-1"])
def test_text_is_no_audio(text, encoding):
    data = text.encode(encoding, "replace")
    assert sniff(data[:4_096], len(data)) == ""


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        (b"a/b.wav", "a/b.wav"),
        (b"\x1b[31mred.wav", "\\x1b[31mred.wav"),
        ("Björk/Jóga.flac".encode(), "Björk/Jóga.flac"),
        ("\u202egnp.wav".encode(), "\\u202egnp.wav"),
        (b"\xff\n.wav", "\\udcff\\n.wav"),
    ],
)
def test_names_are_shown_safely(raw, shown):
    assert shown_path(raw) == shown


@pytest.mark.parametrize(
    ("tag", "cleaned"),
    [
        ("  two\n lines\t", "two lines"),
        ("evil\x1b[2J\x07", "evil[2J"),
        ("\u202ereversed\u200b", "reversed"),
        ("cafe\u0301", "café"),
        ("half \udcff surrogate", "half surrogate"),
        (None, ""),
        ("ä" * 4_000, "ä" * 512),
    ],
)
def test_tags_are_short_printable_and_normal(tag, cleaned):
    assert clean(tag).replace("  ", " ") == cleaned
