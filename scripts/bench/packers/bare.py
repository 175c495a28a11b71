"""The limit: decode, resample, encode, write; nothing hashed, checked, synced or kept in order."""

from functools import partial
from multiprocessing import Pool

import soundfile

from scripts.bench.packers.audio import FLAC, RATE_HZ, arguments, mono, tracks


def pack(path, *, out):
    """One FLAC file for one track."""
    soundfile.write(out / f"{path.stem}.flac", mono(path), RATE_HZ, **FLAC)


if __name__ == "__main__":
    given = arguments()
    with Pool(given.num_workers) as pool:
        for _ in pool.imap_unordered(partial(pack, out=given.out), tracks(given.audio_dir)):
            pass
        pool.close()
        pool.join()
