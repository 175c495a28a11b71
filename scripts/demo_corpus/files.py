"""The corpus on disk: sound files with tags, one events file a piece, one table of labels."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

import soundfile

from scripts.demo_corpus.arrange import Event, arrange
from scripts.demo_corpus.compose import compose
from scripts.demo_corpus.instruments import Array
from scripts.demo_corpus.mix import mix, render_note
from scripts.demo_corpus.plan import Container, Rendering, SingleNote
from scripts.demo_corpus.theory import key_name

TARGET_S = 19.0
# Artist and album stand in the files' tags: they group the splits, no sound tells them.
COLUMNS = (
    "path", "title", "style", "key", "tempo", "instruments",
    "instrument", "pitch", "cover_group", "events_file",
)  # fmt: skip
BLOCK = 65536  # libsndfile's Vorbis encoder keeps a whole call on its stack

Row = dict[str, str]


@dataclass(frozen=True)
class Job:
    """A file to render: a rendering of a piece, or a single note."""

    out: Path
    sound: Rendering | SingleNote


def run(job: Job) -> Row:
    """Write what the job asks for; its row of the labels."""
    if isinstance(job.sound, SingleNote):
        return write_note(job.out, job.sound)
    return write_rendering(job.out, job.sound)


def render(rendering: Rendering) -> tuple[Array, list[Event]]:
    """Samples float32 [frames, channels] and events of one arrangement."""
    piece = rendering.piece
    composition = compose(piece.style, piece.mode, piece.tempo_bpm, TARGET_S, piece.rng(3))
    track = arrange(composition, rendering)
    return mix(track, rendering), track.events


def write_rendering(out: Path, rendering: Rendering) -> Row:
    """Sound and events of a piece."""
    piece = rendering.piece
    sound, events = render(rendering)
    folder = Path(piece.artist) / piece.album
    path = folder / f"{rendering.title}.{rendering.container.format.lower()}"
    tags = {"title": rendering.title, "artist": piece.artist, "album": piece.album}
    write_sound(out / path, sound, rendering.container, tags)
    events_file = Path("events") / f"{rendering.name}.csv"
    write_events(out / events_file, events)
    return {
        "path": path.as_posix(),
        "title": rendering.title,
        "style": piece.style,
        "key": key_name(rendering.tonic, piece.mode),
        "tempo": f"{rendering.tempo_bpm:.2f}",
        "instruments": ";".join(sorted(rendering.band.values())),
        "cover_group": piece.name,
        "events_file": events_file.as_posix(),
    }


def write_note(out: Path, note: SingleNote) -> Row:
    """Sound of a single note."""
    container = Container("WAV", "PCM_16", 22050, 1)
    path = Path("notes") / note.instrument / f"{note.title}.wav"
    write_sound(
        out / path, render_note(note, container.sample_rate), container, {"title": note.title}
    )
    return {
        "path": path.as_posix(),
        "title": note.title,
        "instrument": note.instrument,
        "pitch": str(note.midi),
    }


def write_sound(path: Path, sound: Array, container: Container, tags: dict[str, str]) -> None:
    """A sound file with its tags, [frames, channels]."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with soundfile.SoundFile(
        path,
        "w",
        samplerate=container.sample_rate,
        channels=sound.shape[1],
        format=container.format,
        subtype=container.subtype,
    ) as file:
        for name, value in tags.items():
            setattr(file, name, value)
        for start in range(0, len(sound), BLOCK):
            file.write(sound[start : start + BLOCK])


def write_events(path: Path, events: list[Event]) -> None:
    """Events in long form, seconds."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("start_s", "end_s", "kind", "value"))
        writer.writerows((f"{e.start_s:.4f}", f"{e.end_s:.4f}", e.kind, e.value) for e in events)


def write_labels(path: Path, rows: list[Row]) -> None:
    """The table of labels, an empty cell where a label does not apply."""
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
