"""What limits the stream, and what would help: a pure function of what was measured."""

from __future__ import annotations

import math

from shards.bench.found import Found

ENOUGH = 1.1
"""Times the model's rate: a stream that gives so much never lets it wait."""

CLOSE = 0.7
"""Of the lowest limit: a stream below that is held up by what lies between the stages."""


def advise(found: Found) -> list[str]:
    """Sentences, the most important first."""
    stage = bottleneck(found)
    of_stage = {"disk": _disk, "decode": _decode, "copy": _copy, "hand-over": _hand_over}
    lines = of_stage[stage](found) if stage in of_stage else []
    return [*lines, *_model(found), *_workers(found), *_memory(found)]


def bottleneck(found: Found) -> str:
    """The stage that is slowest: model, disk, decode, copy, or hand-over if it is none of these."""
    _, best = found.best
    if found.model is not None and best >= ENOUGH * found.model:
        return "model"
    limits = {
        "disk": found.disk,
        "decode": found.decode * found.cores,
        "copy": math.inf if found.to_device is None else found.to_device,
    }
    stage = min(limits, key=lambda name: limits[name])
    return stage if best >= CLOSE * limits[stage] or stage == "copy" else "hand-over"


def wav_gain(found: Found) -> float:
    """Times as fast as now that the stream would be with a WAV payload, by an estimate.

    A worker then copies instead of decoding; the disk gives more bytes a row.
    """
    workers, best = found.best
    now_s = workers / best
    saved_s = 1 / found.decode - 1 / found.memcpy
    disk = found.disk * found.row_bytes / found.clip_bytes
    return min(workers / max(now_s - saved_s, 1 / found.memcpy), disk) / best


def _model(found: Found) -> list[str]:
    if found.model is None:
        return ["Whether the model would notice, --run RUN tells."]
    workers, best = found.best
    if bottleneck(found) != "model":
        return [f"The model could take {found.model:.0f} rows/s; the stream gives {best:.0f}."]
    fewest = min(n for n, rate in found.inline.items() if rate >= ENOUGH * found.model)
    return [
        f"model-bound: the model takes {found.model:.0f} rows/s, the stream gives {best:.0f} with "
        f"{workers} workers; --num-workers {fewest} is enough, and nothing here makes it faster."
    ]


def _disk(found: Found) -> list[str]:
    where = "store" if found.remote else "disk"
    line = f"{where}-bound: {found.read_cold:.0f} rows/s can be read"
    if found.remote:
        return [f"{line}: --crops-per-visit 2, --order windowed, or a copy of the shards here."]
    less = " FLAC needs fewer bytes than WAV." if found.codec == "wav" else ""
    return [f"{line}: --order windowed reads shards in turn; --crops-per-visit 2 reads half.{less}"]


def _decode(found: Found) -> list[str]:
    if not found.packed:
        return [
            "decode-bound: these tracks are opened as they came; `ingest build-shards` packs them "
            "so that windows are read by themselves."
        ]
    more = found.clip_bytes / found.row_bytes
    return [
        f"decode-bound: {found.codec} decodes at {found.decode:.0f} rows/s a core. Pack with "
        f"--codec wav: about {wav_gain(found):.1f} × here, for {more:.1f} × the bytes read."
    ]


def _copy(found: Found) -> list[str]:
    return [
        f"transfer-bound: {found.device} takes {found.to_device:.0f} rows/s from this machine; "
        "clips travel as int16 already: shorter clips, or a faster bus."
    ]


def _hand_over(found: Found) -> list[str]:
    return [
        "bound by copies and the hand-over: reading and decoding could give more than the stream "
        "does. Is the machine busy with other work? If not: another --batch-size or --num-workers."
    ]


def _workers(found: Found) -> list[str]:
    """How many workers to ask for, unless the model decides it."""
    workers, best = found.best
    if bottleneck(found) == "model":
        return []
    lines = [f"--num-workers {workers} is the fastest inline ({best:.0f} rows/s)."]
    if found.ray is not None:
        lines.append(f"Ray gives {found.ray / best:.2f} of it on this machine.")
    return lines


def _memory(found: Found) -> list[str]:
    gib = found.archive_bytes / 2**30
    if found.fits_memory and found.read_cold < 0.9 * found.read_warm:
        return [f"The archive ({gib:.1f} GiB) fits in memory: only its first pass reads the disk."]
    return []
