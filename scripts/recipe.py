"""The quickstart's recipe, in one place: what `scripts/quickstart` trains and demo_gain measures.

Short enough for two cores and two minutes, so it is no recipe of a paper. The teacher's momentum is
scaled to the run: the paper's 0.996 remembers some 250 steps, a run of 150 must forget sooner.
"""

STEPS = 150
TRAIN = {
    "--method": "byol",
    "--steps": str(STEPS),
    "--batch-size": "32",
    "--lr": "0.001",
    "--warmup-steps": "15",
    "--method.momentum": "0.95",
    "--view.clip-s": "4",
    "--save-every": "50",
}


def train_flags(**changes: str) -> list[str]:
    """Flags of `train/run.py`, with changes by name: batch_size="8"."""
    flags = TRAIN | {f"--{name.replace('_', '-')}": value for name, value in changes.items()}
    return [part for flag in flags.items() for part in flag]
