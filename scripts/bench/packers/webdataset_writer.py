"""webdataset: processes decode and encode, `ShardWriter` takes what is ready."""

from multiprocessing import Pool

from scripts.bench.packers.audio import RATE_HZ, arguments, flac, mono, tracks

SHARD_BYTES = 256 << 20


def encode(path):
    """A sample for the writer."""
    samples = mono(path)
    facts = {"source": path.name, "frames": len(samples), "sample_rate": RATE_HZ}
    return {"__key__": path.stem, "flac": flac(samples), "json": facts}


if __name__ == "__main__":
    given = arguments()
    with Pool(given.num_workers) as pool:  # before webdataset, so that its import costs nobody else
        encoded = pool.imap_unordered(encode, tracks(given.audio_dir))

        import webdataset

        shards = str(given.out / "shard-%06d.tar")
        with webdataset.ShardWriter(shards, maxsize=SHARD_BYTES, verbose=0) as writer:
            for sample in encoded:
                writer.write(sample)
        pool.close()
        pool.join()
