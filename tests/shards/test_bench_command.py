"""python -m shards bench: every stage measured, and advice that follows from the figures."""

import json
import math
import subprocess
import sys
from dataclasses import replace

import pytest

from shards.bench.advice import advise, bottleneck, wav_gain
from shards.bench.found import Found
from shards.bench.measure import model_rate
from shards.cli import main
from shards.errors import InputError

GIB = 2**30
FOUND = Found(
    archive="SHARDS",
    remote=False,
    codec="flac",
    packed=True,
    archive_bytes=100 * GIB,
    memory_bytes=16 * GIB,
    cores=4,
    row_bytes=128_000,
    clip_bytes=256_000,
    read_cold=5_000.0,
    read_warm=20_000.0,
    decode=200.0,
    memcpy=50_000.0,
    inline={1: 195.0, 2: 390.0, 4: 760.0},
    inline_first_s={1: 0.4, 2: 0.3, 4: 0.3},
)


def said(**changes):
    return " ".join(advise(replace(FOUND, **changes)))


def test_an_archive_is_measured_stage_by_stage(archive, capsys):
    words = ["bench", str(archive), "--seconds", "1", "--num-workers", "2", "--batch-size", "8"]
    assert main([*words, "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["codec"] == "flac"
    assert facts["clip_bytes"] == 2 * 4 * 16_000 * 2
    assert 0 < facts["row_bytes"] < 1.5 * facts["clip_bytes"]
    assert set(facts["inline"]) == set(facts["inline_first_s"]) == {"1", "2"}
    for stage in ("read_cold", "read_warm", "decode", "memcpy"):
        assert 1 < facts[stage] < 1e7
    assert facts["bottleneck"] in ("disk", "decode", "hand-over")
    assert facts["model"] is facts["ray"] is None


def test_the_table_has_a_line_a_stage_and_then_advice(archive, tmp_path, capsys):
    metrics = [{"step": 1, "tracks_per_s": 1.0}, {"step": 2, "tracks_per_s": 0.6}]
    (tmp_path / "metrics.jsonl").write_text("\n".join(map(json.dumps, metrics)))
    words = ["--seconds", "0.5", "--num-workers", "1", "--batch-size", "4", "--clip-s", "2"]
    assert main(["bench", str(archive), *words, "--run", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    stages = ("read, disk", "read once more", "decode, one process", "stream, 1 worker", "model")
    for stage in stages:
        assert f"\n{stage} " in out
    assert "model-bound: the model takes 1 rows/s" in out


def test_decoding_is_the_limit_when_the_stream_gives_what_the_cores_can_decode():
    assert bottleneck(FOUND) == "decode"
    assert "--codec wav" in said()
    assert "--num-workers 4 is the fastest" in said()
    assert "2.0 × the bytes" in said()
    assert "ingest build-shards" in said(packed=False)


def test_the_gain_of_wav_ends_where_the_disk_does():
    now_s, decode_s, copy_s = 4 / 760, 1 / 200, 1 / 50_000
    free = replace(FOUND, read_cold=1e9)
    assert wav_gain(free) == pytest.approx(4 / (now_s - decode_s + copy_s) / 760)
    assert wav_gain(FOUND) == pytest.approx(5_000 / 2 / 760)
    assert wav_gain(replace(FOUND, archive_bytes=GIB)) == pytest.approx(wav_gain(free))


def test_the_disk_is_the_limit_only_of_what_does_not_fit_in_memory():
    slow = {"read_cold": 300.0, "inline": {4: 290.0}}
    assert bottleneck(replace(FOUND, **slow)) == "disk"
    assert "--order windowed" in said(**slow)
    assert bottleneck(replace(FOUND, **slow, archive_bytes=GIB)) != "disk"
    assert "only its first pass" in said(**slow, archive_bytes=GIB)
    assert "store-bound" in said(**slow, archive_bytes=GIB, remote=True)
    assert "FLAC needs fewer bytes" in said(**slow, codec="wav", decode=math.inf)


def test_a_model_that_takes_less_than_comes_is_the_limit():
    assert bottleneck(replace(FOUND, model=300.0)) == "model"
    assert "--num-workers 2 is enough" in said(model=300.0)
    assert "--codec wav" not in said(model=300.0)
    assert bottleneck(replace(FOUND, model=750.0)) == "decode"
    assert "could take 750 rows/s; the stream gives 760" in said(model=750.0)


def test_a_slow_bus_is_the_limit():
    assert bottleneck(replace(FOUND, to_device=400.0, device="GPU")) == "copy"
    assert "GPU takes 400 rows/s" in said(to_device=400.0, device="GPU")


def test_a_stream_far_below_every_stage_is_held_up_between_them():
    held_up = {"inline": {1: 150.0, 4: 300.0}}
    assert bottleneck(replace(FOUND, **held_up)) == "hand-over"
    in_memory = {"archive_bytes": GIB, "codec": "wav", "decode": math.inf}
    assert bottleneck(replace(FOUND, **in_memory)) == "hand-over"  # nothing else is left
    assert "batch-size" in said(**held_up)


def test_the_models_rate_is_that_of_the_time_it_did_not_wait(tmp_path):
    lines = [
        {"step": 1, "tracks_per_s": 5.0, "data_wait_share": 0.0},
        *({"step": 2 + i, "tracks_per_s": 100.0, "data_wait_share": 0.5} for i in range(3)),
    ]
    (tmp_path / "metrics.jsonl").write_text("\n".join(map(json.dumps, lines)))
    assert model_rate(tmp_path) == pytest.approx(200)
    with pytest.raises(InputError, match=r"metrics\.jsonl does not exist"):
        model_rate(tmp_path / "nowhere")
    (tmp_path / "metrics.jsonl").write_text('{"step": 1}\n')
    with pytest.raises(InputError, match="no line with a rate"):
        model_rate(tmp_path)


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (["nowhere"], "not a folder"),
        (["nowhere", "--seconds", "0"], "Want --seconds"),
        (["nowhere", "--run", "nowhere"], "metrics.jsonl does not exist"),
    ],
)
def test_what_cannot_be_measured_is_said_in_a_line(words, error, capsys):
    assert main(["bench", *words]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert error in line


def test_help_loads_nothing_heavy():
    code = (
        "import sys, contextlib, shards.cli\n"
        "with contextlib.suppress(SystemExit): shards.cli.main(['bench', '--help'])\n"
        "print('heavy', {'numpy', 'pyarrow', 'torch', 'ray'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "--seconds" in done.stdout
    assert done.stdout.splitlines()[-1] == "heavy set()"
