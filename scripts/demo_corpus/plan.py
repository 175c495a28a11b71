"""Who plays what: every label and every nuisance of the corpus, drawn apart from one another.

Styles, keys, tempi and artists are dealt out evenly by separate shuffles of the pieces.
Instruments, gain, equalisation, room, kit and file format come from generators of the rendering
alone. Nothing but its own sound can therefore tell a label.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import permutations

import numpy as np

from scripts.demo_corpus.instruments import INSTRUMENTS, NUM_MAKES
from scripts.demo_corpus.styles import STYLES
from scripts.demo_corpus.theory import MODES

TEMPO_BPM = (64.0, 170.0)
TEMPO_SPREAD = 0.055  # each arrangement's own share: two of them differ by at most 12 %
NOTE_RANGE = (36, 84)
ROLES = {
    "melody": ("brass", "epiano", "flute", "guitar", "organ", "strings", "vibes"),
    "chords": ("brass", "epiano", "guitar", "organ", "strings", "vibes"),
    "bass": ("bass", "brass", "epiano", "guitar", "organ", "strings"),
}
BANDS = [
    band
    for band in permutations(INSTRUMENTS, 3)
    if all(player in role for player, role in zip(band, ROLES.values(), strict=True))
]
# Three pieces each of 120: a test split by artist then has some eight groups to draw from.
ARTISTS = tuple(
    f"{forename} {surname}"
    for forename in ("Ada", "Bram", "Calla", "Dorian", "Edda", "Finch", "Greta", "Hollis")
    for surname in ("Lanternist", "Marlow", "Orchard", "Quill", "Vance")
)
ALBUMS = ("First Light", "Second Wind")
FIRST_WORDS = (
    "Amber", "Brass", "Cedar", "Distant", "Ember", "Fallow", "Glass", "Hollow",
    "Ivory", "June", "Kindled", "Linen", "Maple", "Northern", "Ochre", "Pale",
)  # fmt: skip
LAST_WORDS = (
    "Avenue", "Bridge", "Canal", "Dial", "Echo", "Field", "Garden", "Harbour",
    "Island", "Jetty", "Kite", "Lantern", "Meadow", "Needle", "Orbit", "Pavilion",
)  # fmt: skip
VERSIONS = ("", " (Reprise)")


@dataclass(frozen=True)
class Container:
    """How a rendering is stored."""

    format: str
    subtype: str
    sample_rate: int
    channels: int


@dataclass(frozen=True)
class Piece:
    """A cover group: what both arrangements share."""

    seed: int
    number: int
    title: str
    artist: str
    album: str
    style: str
    tonic: int
    mode: str
    tempo_bpm: float

    @property
    def name(self) -> str:
        """The cover group's name."""
        return f"piece-{self.number:04d}"

    def rng(self, *purpose: int) -> np.random.Generator:
        """A generator of its own for each purpose, whoever runs it and when."""
        entropy = (self.seed, self.number, *purpose)
        return np.random.Generator(np.random.Philox(np.random.SeedSequence(entropy)))


@dataclass(frozen=True)
class Rendering:
    """One arrangement of a piece: its own key, tempo, band and sound."""

    piece: Piece
    arrangement: int
    tonic: int
    tempo_bpm: float
    band: dict[str, str]  # role -> instrument
    makes: dict[str, int]  # role -> build of the instrument
    intro_bars: int
    container: Container

    @property
    def name(self) -> str:
        """`piece-0003-b`, unique in the corpus."""
        return f"{self.piece.name}-{'ab'[self.arrangement]}"

    @property
    def title(self) -> str:
        """The piece's title and which version this is."""
        return self.piece.title + VERSIONS[self.arrangement]

    def rng(self, purpose: int) -> np.random.Generator:
        """A generator for one purpose of this rendering."""
        return self.piece.rng(self.arrangement, purpose)


@dataclass(frozen=True)
class SingleNote:
    """One note of one instrument."""

    seed: int
    number: int
    instrument: str
    midi: int
    touch: float
    dynamic: str

    @property
    def title(self) -> str:
        """`flute 60 mf 017`: the number keeps it unique."""
        return f"{self.instrument} {self.midi} {self.dynamic} {self.number:03d}"

    def rng(self) -> np.random.Generator:
        """A generator of this note alone, apart from those of the pieces."""
        entropy = (self.seed, self.number, 2**31)
        return np.random.Generator(np.random.Philox(np.random.SeedSequence(entropy)))


def plan_pieces(num_pieces: int, seed: int) -> list[Piece]:
    """The cover groups, styles × keys as even as their number allows."""
    rng = np.random.Generator(np.random.Philox(np.random.SeedSequence((seed, num_pieces))))
    titles = [f"{a} {b}" for a in FIRST_WORDS for b in LAST_WORDS]
    if num_pieces > len(titles):
        raise ValueError(f"Want at most {len(titles)} pieces (one title each), got {num_pieces}.")
    keys = [(tonic, mode) for tonic in range(12) for mode in MODES]
    deal = rng.permutation(num_pieces)
    key_deal = rng.permutation(len(keys))
    tempo_rank = (rng.permutation(num_pieces) + rng.uniform(size=num_pieces)) / num_pieces
    artists = rng.permutation(num_pieces) % len(ARTISTS)
    albums = rng.permutation(num_pieces) % len(ALBUMS)
    titles = rng.permutation(titles).tolist()
    slow_bpm, fast_bpm = TEMPO_BPM
    pieces = []
    for i, cell in enumerate(deal):
        style, turn = cell % len(STYLES), cell // len(STYLES)
        # Each style starts elsewhere in the keys: 120 pieces fill 24 keys with 5 styles each.
        tonic, mode = keys[key_deal[(turn + 4 * style) % len(keys)]]
        pieces.append(
            Piece(
                seed=seed,
                number=i,
                title=titles[i],
                artist=ARTISTS[artists[i]],
                album=ALBUMS[albums[i]],
                style=sorted(STYLES)[style],
                tonic=tonic,
                mode=mode,
                tempo_bpm=slow_bpm * (fast_bpm / slow_bpm) ** float(tempo_rank[i]),
            )
        )
    return pieces


def plan_renderings(piece: Piece) -> list[Rendering]:
    """Two arrangements: no instrument in common, another tempo, mostly another key."""
    rng = piece.rng(2)
    bands = [BANDS[rng.integers(len(BANDS))]]
    others = [band for band in BANDS if not set(band) & set(bands[0])]
    bands.append(others[rng.integers(len(others))])
    shift = rng.choice([0, 0, -5, -4, -3, -2, -1, 1, 2, 3, 4, 5])
    factors = 1 + rng.uniform(-TEMPO_SPREAD, TEMPO_SPREAD, size=2)
    renderings = []
    for i, band in enumerate(bands):
        tempo_bpm = round(piece.tempo_bpm * float(factors[i]), 2)
        beats = STYLES[piece.style].beats
        most = min(2, int(5.0 * tempo_bpm / 60 / beats))  # at most 5 s: the clips' length and a bit
        renderings.append(
            Rendering(
                piece=piece,
                arrangement=i,
                tonic=int(piece.tonic + i * shift) % 12,
                tempo_bpm=tempo_bpm,
                band=dict(zip(ROLES, band, strict=True)),
                makes={role: int(rng.integers(NUM_MAKES)) for role in ROLES},
                intro_bars=int(rng.integers(most + 1)),
                container=draw_container(rng),
            )
        )
    return renderings


def draw_container(rng: np.random.Generator) -> Container:
    """Formats and rates as in a folder of many years; the slow encoders are rarer."""
    formats = (("FLAC", "PCM_16"), ("WAV", "PCM_16"), ("OGG", "VORBIS"), ("MP3", "MPEG_LAYER_III"))
    audio_format, subtype = formats[rng.choice(4, p=(0.47, 0.3, 0.17, 0.06))]
    return Container(
        format=audio_format,
        subtype=subtype,
        sample_rate=int(rng.choice([16000, 22050, 44100], p=(0.4, 0.4, 0.2))),
        channels=1 + int(rng.uniform() < 0.35),
    )


def plan_notes(num_notes: int, seed: int) -> list[SingleNote]:
    """Single notes: every instrument over the whole range, each pitch by several instruments."""
    rng = np.random.Generator(np.random.Philox(np.random.SeedSequence((seed, num_notes, 1))))
    low, high = NOTE_RANGE
    names = sorted(INSTRUMENTS)
    dynamics = (("pp", 0.1), ("mf", 0.5), ("ff", 0.95))
    order = rng.permutation(high - low + 1)
    notes = []
    for i in range(num_notes):
        # The instrument turns once in each round of pitches, so that no pitch keeps its players.
        turn, place = divmod(i, len(order))
        dynamic, touch = dynamics[rng.integers(3)]
        name = names[(place + 3 * turn) % len(names)]
        notes.append(SingleNote(seed, i, name, low + int(order[place]), touch, dynamic))
    return notes
