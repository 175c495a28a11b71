"""Hugging Face datasets: `map` on processes decodes and encodes, `save_to_disk` writes Arrow files.

Its own `Audio` feature decodes with torchcodec, which needs FFmpeg's libraries from the system;
soundfile and soxr inside `map` need nothing and are the faster way where both are there.
"""

from pathlib import Path

from datasets import Audio, Dataset, Features, Value, disable_progress_bars

from scripts.bench.packers.audio import RATE_HZ, arguments, flac, mono, tracks

FEATURES = Features({"path": Value("string"), "audio": Audio(sampling_rate=RATE_HZ, decode=False)})


def encode(row):
    """A row with encoded audio."""
    path = Path(row["path"])
    return {"audio": {"bytes": flac(mono(path)), "path": f"{path.stem}.flac"}}


if __name__ == "__main__":
    given = arguments()
    disable_progress_bars()
    paths = [str(path) for path in tracks(given.audio_dir)]
    workers = min(given.num_workers, len(paths))
    table = Dataset.from_dict({"path": paths})
    cache = str(given.out / "map.arrow")
    packed = table.map(encode, features=FEATURES, num_proc=workers, cache_file_name=cache)
    packed.save_to_disk(given.out / "saved", num_proc=workers)
