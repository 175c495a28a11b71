"""The demo corpus sounds like its labels, and no label tells another."""

from __future__ import annotations

import csv
import hashlib
import subprocess
import sys
from collections import Counter
from pathlib import Path

import mir_eval
import numpy as np
import pytest
import soundfile

from scripts.demo_corpus.arrange import arrange
from scripts.demo_corpus.compose import compose
from scripts.demo_corpus.corpus import build_corpus
from scripts.demo_corpus.files import TARGET_S, render
from scripts.demo_corpus.instruments import INSTRUMENTS, NUM_MAKES, RATE, held_note
from scripts.demo_corpus.plan import Rendering, plan_notes, plan_pieces, plan_renderings
from scripts.demo_corpus.styles import STYLES, read_pattern
from scripts.demo_corpus.theory import MODES, PITCH_NAMES, SCALES, chord_tones, read_progression

Rows = list[dict[str, str]]
SIZE = {"seed": 3, "pieces": 6, "notes": 16}
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("demo") / "corpus"
    build_corpus(out, **SIZE, workers=1)
    return out


@pytest.fixture(scope="module")
def rows(corpus: Path) -> Rows:
    with (corpus / "labels.csv").open() as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def pieces(rows: Rows) -> Rows:
    return [row for row in rows if row["style"]]


@pytest.fixture(scope="module")
def planned() -> list[Rendering]:
    return [r for piece in plan_pieces(120, 0) for r in plan_renderings(piece)]


def read_events(corpus: Path, row: dict[str, str]) -> Rows:
    with (corpus / row["events_file"]).open() as file:
        return list(csv.DictReader(file))


def contents(root: Path) -> dict[str, str]:
    # libsndfile gives each Ogg stream a random serial number: compare its samples instead.
    return {
        path.relative_to(root).as_posix(): hashlib.sha256(
            soundfile.read(path)[0].tobytes() if path.suffix == ".ogg" else path.read_bytes()
        ).hexdigest()
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }


def onset_strength(
    sound: np.ndarray, hop: int, low_hz: float, high_hz: float, rate: int
) -> np.ndarray:
    """Positive change of the log level of a band, one value a hop."""
    frames = np.lib.stride_tricks.sliding_window_view(sound, 1024)[::hop]
    magnitude = np.abs(np.fft.rfft(frames * np.hanning(1024)))
    hz = np.fft.rfftfreq(1024, 1 / rate)
    level = np.log(magnitude[:, (hz >= low_hz) & (hz < high_hz)].sum(axis=1) + 1e-3)
    return np.asarray(np.maximum(np.diff(level), 0))


def chroma(sound: np.ndarray, rate: int) -> np.ndarray:
    """Energy of each pitch class between 60 Hz and 1 kHz, [12]."""
    size = 8192
    frames = np.lib.stride_tricks.sliding_window_view(sound, size)[:: size // 2]
    power = (np.abs(np.fft.rfft(frames * np.hanning(size))) ** 2).sum(axis=0)
    hz = np.fft.rfftfreq(size, 1 / rate)
    heard = (hz > 60) & (hz < 1000)
    classes = np.round(12 * np.log2(hz[heard] / 440) + 9).astype(int) % 12
    return np.bincount(classes, np.sqrt(power[heard]), minlength=12)


def pitch_by_autocorrelation(sound: np.ndarray, rate: int) -> float:
    """MIDI pitch of a note: the first peak of the autocorrelation that comes near its highest."""
    correlation = np.fft.irfft(np.abs(np.fft.rfft(sound, 2 * len(sound))) ** 2)[: len(sound) // 4]
    inner = correlation[1:-1]
    peaks = 1 + np.flatnonzero((inner > correlation[:-2]) & (inner >= correlation[2:]))
    peaks = peaks[peaks > rate / 1400]
    peak = peaks[correlation[peaks] > 0.9 * correlation[peaks].max()][0]
    before, at, after = correlation[peak - 1 : peak + 2]
    lag = peak + 0.5 * (before - after) / (before - 2 * at + after)
    return float(69 + 12 * np.log2(rate / lag / 440))


def mono(path: Path) -> tuple[np.ndarray, int]:
    sound, rate = soundfile.read(path, always_2d=True)
    return sound.mean(axis=1), rate


def test_the_corpus_is_the_same_whoever_renders_it(corpus: Path, tmp_path: Path) -> None:
    build_corpus(tmp_path / "again", **SIZE, workers=2)
    assert contents(tmp_path / "again") == contents(corpus)


def test_every_file_reads_whole_tagged_unclipped_at_its_own_level(corpus: Path, rows: Rows) -> None:
    peaks = []
    for row in rows:
        with soundfile.SoundFile(corpus / row["path"]) as file:
            sound = file.read(always_2d=True)
            assert file.frames / file.samplerate >= (8 if row["style"] else 1.9)
            if not row["path"].endswith(".mp3"):  # libsndfile writes ID3 tags, but reads none
                assert file.title == row["title"]
        peaks.append(np.abs(sound).max())
        assert 0.005 < peaks[-1] < 0.99
    pieces_db = 20 * np.log10(peaks[: 2 * SIZE["pieces"]])
    assert max(pieces_db) - min(pieces_db) > 10


def test_chroma_fits_the_key_better_than_other_keys(corpus: Path, pieces: Rows) -> None:
    best = []
    for row in pieces:
        sound, rate = mono(corpus / row["path"])
        notes = [e for e in read_events(corpus, row) if e["kind"] == "note"]
        expected = np.zeros(12)
        for note in notes:
            midi = int(note["value"].split(":")[0])
            expected[midi % 12] += float(note["end_s"]) - float(note["start_s"])
        heard = chroma(sound, rate)
        fits = [np.corrcoef(np.roll(expected, turn), heard)[0, 1] for turn in range(12)]
        best.append(int(np.argmax(fits)))
    assert np.mean(np.equal(best, 0)) > 0.8


def test_notes_and_chords_lie_in_the_labelled_key(corpus: Path, pieces: Rows) -> None:
    for row in pieces:
        tonic, mode = row["key"].split()
        events = read_events(corpus, row)
        roots = {e["value"].split(":")[0] for e in events if e["kind"] == "chord"}
        assert tonic in roots
        classes = [int(e["value"].split(":")[0]) % 12 for e in events if e["kind"] == "note"]
        inside = np.isin(np.subtract(classes, PITCH_NAMES.index(tonic)) % 12, SCALES[mode])
        assert inside.mean() > 0.75


@pytest.mark.parametrize("tempo_bpm", [70, 110, 160])
def test_the_kick_repeats_at_the_labelled_tempo(planned: list[Rendering], tempo_bpm: float) -> None:
    house = [r for r in planned if r.piece.style == "house"]
    rendering = min(house, key=lambda r: abs(r.tempo_bpm - tempo_bpm))
    sound, _ = render(rendering)
    rate, hop = rendering.container.sample_rate, 64
    strength = onset_strength(sound.mean(axis=1), hop, 40, 200, rate)
    strength -= strength.mean()
    lags = np.arange(round(0.3 * rate / hop), round(1.2 * rate / hop))
    correlation = np.array([strength[:-lag] @ strength[lag:] for lag in lags])
    beat = 60 / rendering.tempo_bpm * rate / hop
    near = np.abs(lags - beat) < 4
    twice = np.abs(lags - 2 * beat) < 8  # a bar or two beats repeat as well
    assert correlation[near].max() > 0.8 * correlation[~twice].max()
    assert correlation[near].max() > 2 * np.median(np.abs(correlation))


@pytest.mark.parametrize("make", range(NUM_MAKES))
@pytest.mark.parametrize("instrument", sorted(INSTRUMENTS))
def test_a_held_note_has_its_pitch(instrument: str, make: int) -> None:
    for midi in (36, 53, 69, 84):
        note = held_note(instrument, make, midi, 0.5)[RATE // 20 : RATE // 2]
        assert pitch_by_autocorrelation(note, RATE) == pytest.approx(midi, abs=0.3)


def test_single_notes_have_their_labelled_pitch(corpus: Path, rows: Rows) -> None:
    notes = [row for row in rows if row["pitch"]]
    assert {row["instrument"] for row in notes} == set(INSTRUMENTS)
    for row in notes:
        sound, rate = mono(corpus / row["path"])
        start = int(np.argmax(np.abs(sound) > 0.1 * np.abs(sound).max())) + rate // 20
        heard = pitch_by_autocorrelation(sound[start : start + rate // 2], rate)
        assert heard == pytest.approx(int(row["pitch"]), abs=0.5), row["title"]


def test_covers_share_the_melody_but_no_instrument(planned: list[Rendering]) -> None:
    for first, second in zip(planned[:40:2], planned[1:40:2], strict=True):
        assert not set(first.band.values()) & set(second.band.values())
        tunes = []
        for rendering in (first, second):
            piece = rendering.piece
            composition = compose(piece.style, piece.mode, piece.tempo_bpm, TARGET_S, piece.rng(3))
            track = arrange(composition, rendering)
            tune = [note for note in track.notes if note.role == "melody"]
            tunes.append(np.diff([note.midi for note in tune]))
        np.testing.assert_array_equal(tunes[0], tunes[1])


def test_covers_differ_in_key_and_up_to_12_percent_in_tempo(planned: list[Rendering]) -> None:
    ratios = [b.tempo_bpm / a.tempo_bpm for a, b in zip(planned[::2], planned[1::2], strict=True)]
    assert 1 / 1.12 <= min(ratios) < max(ratios) <= 1.12
    assert np.std(ratios) > 0.02
    tempi = [r.tempo_bpm for r in planned]
    assert min(tempi) >= 60
    assert max(tempi) <= 180
    moved = [a.tonic != b.tonic for a, b in zip(planned[::2], planned[1::2], strict=True)]
    assert 0.6 < np.mean(moved) < 1


def test_events_are_sorted_and_cover_the_track(corpus: Path, pieces: Rows) -> None:
    for row in pieces:
        events = read_events(corpus, row)
        starts = [float(event["start_s"]) for event in events]
        assert starts == sorted(starts)
        duration_s = soundfile.info(corpus / row["path"]).duration
        for kind in ("section", "chord", "beat"):
            spans = [(float(e["start_s"]), float(e["end_s"])) for e in events if e["kind"] == kind]
            assert spans[0][0] == 0
            assert spans[-1][1] == pytest.approx(duration_s, abs=0.01)
            assert [a[1] for a in spans[:-1]] == [b[0] for b in spans[1:]]
        letters = {e["value"] for e in events if e["kind"] == "section"}
        assert {"A", "B"} <= letters <= {"intro", "A", "B"}
        instruments = {e["value"].split(":")[1] for e in events if e["kind"] == "note"}
        assert instruments == set(row["instruments"].split(";"))


def test_chords_and_keys_are_spelled_as_mir_eval_reads_them(corpus: Path, pieces: Rows) -> None:
    for row in pieces:
        mir_eval.key.validate_key(row["key"])
        for event in read_events(corpus, row):
            if event["kind"] == "chord":
                mir_eval.chord.validate_chord_label(event["value"])


def test_beats_count_the_bars_of_the_style_at_the_labelled_tempo(
    corpus: Path, pieces: Rows
) -> None:
    for row in pieces:
        beats = [e for e in read_events(corpus, row) if e["kind"] == "beat"]
        assert {int(e["value"]) for e in beats} == set(range(1, STYLES[row["style"]].beats + 1))
        gaps_s = np.diff([float(e["start_s"]) for e in beats])
        np.testing.assert_allclose(gaps_s, 60 / float(row["tempo"]), atol=2e-4)


def test_every_instrument_plays_in_every_style(planned: list[Rendering]) -> None:
    seen = {(r.piece.style, instrument) for r in planned for instrument in r.band.values()}
    assert len(seen) == len(STYLES) * len(INSTRUMENTS)


def test_every_class_has_groups_enough_and_no_artist_of_its_own() -> None:
    pieces = plan_pieces(120, 0)
    assert set(Counter(p.style for p in pieces).values()) == {20}
    assert set(Counter((p.tonic, p.mode) for p in pieces).values()) == {5}
    assert max(Counter((p.style, p.tonic, p.mode) for p in pieces).values()) == 1
    assert set(Counter(p.artist for p in pieces).values()) == {3}
    assert len({(p.style, p.artist) for p in pieces}) > 0.8 * len(pieces)
    assert len({p.title for p in pieces}) == 120


def test_no_class_tells_the_tempo(planned: list[Rendering]) -> None:
    tempo = np.log([r.tempo_bpm for r in planned])
    for label in ("style", "mode", "artist"):
        values = np.array([getattr(r.piece, label) for r in planned])
        means = np.array([tempo[values == value].mean() for value in values])
        by_chance = len(set(values)) / len({r.piece.number for r in planned})
        assert means.var() / tempo.var() < 0.05 + by_chance


def test_single_notes_spread_over_pitches_and_instruments() -> None:
    notes = plan_notes(160, 0)
    assert {note.instrument for note in notes} == set(INSTRUMENTS)
    assert {note.midi for note in notes} == set(range(36, 85))
    assert min(Counter(note.midi for note in notes).values()) >= 3
    assert len({(note.instrument, note.midi) for note in notes}) == 160


def test_patterns_fill_their_bars_and_progressions_parse() -> None:
    for style in STYLES.values():
        drums = [bar for kit in style.drums for bars in kit.values() for bar in bars]
        for pattern in (*drums, *style.bass, *style.comp, *style.melody):
            notes = read_pattern(pattern, style.beats)
            assert notes, pattern
            assert all(start + length <= style.beats + 1e-9 for start, length, _ in notes)
        for mode in MODES:
            for numerals in getattr(style, mode):
                assert all(chord_tones(chord) for chord in read_progression(numerals))


def test_a_folder_with_something_in_it_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("precious")
    result = subprocess.run(
        [sys.executable, ROOT / "scripts" / "demo_corpus", tmp_path, "--pieces", "1"],
        capture_output=True,
        text=True,
    )
    assert result.returncode == 2
    assert result.stderr.startswith("error: Want a new or empty folder")
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]
