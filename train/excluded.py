"""excluded.csv: every track of the archives that a run does not draw from, and why."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
from pyarrow import csv

from shards.files import publishing, shown
from shards.filters import parse
from shards.plan import TrainPlan
from shards.verdicts import verdicts
from train.config import Run

NAME = "excluded.csv"
SCHEMA = pa.schema(dict.fromkeys(("archive", "key", "source", "reason"), pa.string()))


def write_excluded(run: Run, plan: TrainPlan) -> Path:
    """The list of a run, none on it but the header where all tracks are used."""
    path = run.out / NAME
    conditions = [parse(text) for text in run.where]
    with publishing(path) as file, csv.CSVWriter(file, SCHEMA) as lines:
        for index in plan.selection.indexes:
            verdict, reasons = verdicts(index, plan.view, conditions, duplicates=run.duplicates)
            rows = np.flatnonzero(verdict)
            facts = index.read(["key", "source"]).take(rows)
            why = pa.array(reasons).take(pa.array(verdict[rows]))
            archive = pa.repeat(shown(index.path), len(rows))
            lines.write_table(pa.table([archive, *facts.columns, why], schema=SCHEMA))
    return path
