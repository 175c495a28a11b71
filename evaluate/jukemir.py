"""JukeMIR's grid of probes: 216 configurations (Castellon et al., 2021, arXiv:2107.05677).

As its released code has it: {as given, standardised by train} × {linear, MLP of 512} × batch
{64, 256} × rate {1e-5, 1e-4, 1e-3} × dropout of input and hidden units {.25, .5, .75} × torch
Adam's weight decay {0, 1e-4, 1e-3}.
"""

from __future__ import annotations

from itertools import product

from evaluate.configuration import Configuration, Schedule

GRID = tuple(
    Configuration(
        head,
        weight_decay,
        dropout if head == "mlp" else 0.0,
        rate,
        input_dropout=dropout,
        standardise=standardise,
        batch_size=batch_size,
        bias="penalised",
        start="random",
    )
    for standardise, head, batch_size, rate, dropout, weight_decay in product(
        (False, True),
        ("linear", "mlp"),
        (64, 256),
        (1e-5, 1e-4, 1e-3),
        (0.25, 0.5, 0.75),
        (0.0, 1e-4, 1e-3),
    )
)

SCHEDULE = Schedule(
    max_steps=100_000,
    check_every=8,
    patience=256,
    min_gain=0.0,
    watch="score",
)
"""Valid every 8 steps, an end after 256 looks without a gain. The code has no last step; ours is a
guard, and `Head.cut_short` says of whom it was the end."""
