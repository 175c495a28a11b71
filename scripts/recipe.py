"""The quickstart's recipe, in one place: what `scripts/quickstart` trains and demo_gain measures.

Short enough for two cores and two minutes, so it is no recipe of a paper. Four blocks instead of
sixteen, because the deep network, hardly trained, knows less than the same one untrained.
BatchNorm ends the projector, without which BYOL settles within a hundred steps on what all clips
share. Momentum scaled to the run (0.99) gained nothing on one seed of three; 0.996, as published,
over a run of about as many steps as it remembers, stands. Decoding is inline, in a thread: the
scheduler of Ray Data alone takes most of a core, half of such a machine, and the batches are the
same. The experiments behind this stand in scripts/bench/log.md.
"""

STEPS = 300
TRAIN = {
    "--method": "byol",
    "--steps": str(STEPS),
    "--batch-size": "32",
    "--lr": "0.001",
    "--warmup-steps": "15",
    "--method.projector": "1024 512",
    "--method.projector-end": "norm",
    "--encoder.layers": "1 1 1 1",
    "--encoder.dim": "256",
    "--save-every": "100",
    "--backend": "inline",
    "--num-workers": "1",
}


def train_flags(**changes: str) -> list[str]:
    """Flags of `train/run.py`, with changes by name: batch_size="8"."""
    flags = TRAIN | {f"--{name.replace('_', '-')}": value for name, value in changes.items()}
    return [part for flag, value in flags.items() for part in (flag, *value.split())]
