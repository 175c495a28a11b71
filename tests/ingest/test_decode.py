"""From file to samples: equal to soundfile and soxr called directly, within limits."""

import math

import numpy as np
import pytest
import soundfile
import soxr

from ingest.decode import pack
from ingest.measure import FLOOR_DB, Measure
from ingest.payload import Sink
from ingest.rejection import Rejection
from ingest.settings import Settings
from shards.samples import to_int16


@pytest.mark.parametrize("suffix", ["wav", "flac", "ogg", "opus", "mp3", "aiff"])
@pytest.mark.parametrize("number", [0, 1, 2])
def test_samples_equal_soundfile_and_soxr_called_directly(
    suffix, number, tmp_path, make_chord, decode_file
):
    path = tmp_path / f"chord.{suffix}"
    make_chord(path, number, seconds=13.0)  # two blocks of a stereo file at 44.1 kHz
    with soundfile.SoundFile(path) as file:  # soundfile.read would seek: another MP3 float
        audio, rate_hz = file.read(dtype="float32", always_2d=True), file.samplerate
    mono = audio.mean(axis=1)
    if rate_hz != 16_000:
        mono = soxr.resample(mono, rate_hz, 16_000, quality="HQ")
    want = np.clip(np.floor(mono.astype(np.float64) * 32_768 + 0.5), -32_768, 32_767)
    packed, samples = decode_file(path)
    np.testing.assert_array_equal(samples, want.astype(np.int16))
    assert packed.facts["frames"] == len(want)
    assert packed.facts["source_rate"] == rate_hz
    assert packed.facts["source_channels"] == audio.shape[1]


def test_rounding_is_half_up_and_clips_at_full_scale():
    samples = np.array([-2.0, -1.0, -0.5 / 32_768, 0.0, 0.5 / 32_768, 1.0, 2.0])
    np.testing.assert_array_equal(to_int16(samples), [-32_768, -32_768, 0, 0, 1, 32_767, 32_767])


def test_sixteen_bits_at_the_archives_rate_pass_bit_for_bit(tmp_path, decode_file):
    written = np.random.default_rng(0).integers(-32_768, 32_768, 20_000).astype(np.int16)
    soundfile.write(tmp_path / "noise.wav", written, 16_000, subtype="PCM_16")
    _, samples = decode_file(tmp_path / "noise.wav")
    np.testing.assert_array_equal(samples, written)


@pytest.mark.parametrize("rate_hz", [16_000, 44_100])
@pytest.mark.parametrize("channels", [1, 2, 3])
def test_clipping_is_counted_in_the_source_and_not_in_the_mix(
    rate_hz, channels, tmp_path, decode_file
):
    audio = np.random.default_rng(0).uniform(-0.9, 0.9, (rate_hz, channels)).astype(np.float32)
    audio[100:200, 0] = 1.0
    audio[300:350, -1] = -1.5
    audio[400, 0] = 32_767 / 32_768  # as loud as a sample of 16 bits can be
    audio[500, 0] = 32_766 / 32_768
    soundfile.write(tmp_path / "loud.wav", audio, rate_hz, subtype="FLOAT")
    facts = decode_file(tmp_path / "loud.wav")[0].facts
    assert facts["clipped_ratio"] == pytest.approx(151 / audio.size)


def test_sixteen_bits_at_full_scale_are_clipped(tmp_path, decode_file):
    square = np.tile(np.repeat(np.array([32_767, -32_768], np.int16), 50), 100)
    soundfile.write(tmp_path / "square.flac", square, 16_000)
    soundfile.write(tmp_path / "softer.flac", square // 2, 16_000)
    assert decode_file(tmp_path / "square.flac")[0].facts["clipped_ratio"] == 1.0
    assert decode_file(tmp_path / "softer.flac")[0].facts["clipped_ratio"] == 0.0


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e30])
def test_a_single_sample_that_is_no_sound_refuses_the_track(value, tmp_path, decode_file):
    audio = np.zeros((16_000, 2), np.float32)
    audio[9_999, 1] = value
    soundfile.write(tmp_path / "a.wav", audio, 16_000, subtype="FLOAT")
    with pytest.raises(Rejection, match="finite"):
        decode_file(tmp_path / "a.wav")


def test_a_header_that_lies_about_the_length_is_not_believed(tmp_path, make_chord, decode_file):
    path = tmp_path / "lie.flac"
    make_chord(path, 0)
    written = bytearray(path.read_bytes())
    written[21:26] = bytes([written[21] | 0x0F, 0xFF, 0xFF, 0xFF, 0xFF])  # total samples: 2^36 - 1
    path.write_bytes(written)
    packed, samples = decode_file(path)
    assert packed.facts["frames"] == len(samples) == 16_000


def test_a_stream_of_unknown_length_is_read_to_its_end(tmp_path, make_chord, decode_file):
    path = tmp_path / "stream.flac"
    make_chord(path, 0)
    written = bytearray(path.read_bytes())
    written[21] &= 0xF0
    written[22:26] = bytes(4)  # total samples: 0, unknown
    path.write_bytes(written)
    assert decode_file(path)[0].facts["frames"] == 16_000


@pytest.mark.parametrize(
    ("settings", "code"),
    [(Settings(min_seconds=1.5), "too_short"), (Settings(max_seconds=0.5), "too_long")],
    ids=["short", "long"],
)
def test_limits_of_length_hold_for_what_is_decoded(
    settings, code, tmp_path, make_chord, decode_file
):
    make_chord(tmp_path / "a.ogg", 1)
    with pytest.raises(Rejection) as rejection:
        decode_file(tmp_path / "a.ogg", settings)
    assert rejection.value.args[:2] == ("limit", code)


@pytest.mark.parametrize("seconds", [1.0, 60.0], ids=["on closing", "on the way"])
def test_a_full_disk_is_no_fault_of_the_track(seconds, tmp_path, make_chord):
    make_chord(tmp_path / "a.wav", 0, seconds=seconds)
    with open(tmp_path / "a.wav", "rb") as source, open("/dev/full", "r+b", buffering=0) as full:
        sink = Sink(full.fileno())
        with pytest.raises(OSError, match="No space left"):
            pack(source, sink, name="a.wav", settings=Settings(), beat=lambda: None)


@pytest.mark.parametrize("block", [1, 77, 1_600, 100_000])
def test_measures_do_not_depend_on_the_blocks_and_equal_a_naive_loop(block):
    rng = np.random.default_rng(0)
    samples = rng.normal(0, 3_000, 16_000 * 3 + 123).astype(np.int16)
    samples[16_000:32_000] //= 1_000
    measure = Measure(16_000)
    if block == 1:
        samples = samples[:3_300]
    for start in range(0, len(samples), block):
        measure.add(samples[start : start + block])
    facts = measure.facts()

    x = samples.astype(float) / 32_768
    units = [x[i : i + 1_600] for i in range(0, len(x), 1_600)]
    silent = [math.sqrt(np.mean(unit**2)) < 1e-3 for unit in units]
    assert facts["frames"] == len(samples)
    assert facts["peak_db"] == pytest.approx(20 * math.log10(np.abs(x).max()), abs=1e-3)
    assert facts["rms_db"] == pytest.approx(10 * math.log10(np.mean(x**2)), abs=1e-3)
    assert facts["silence_ratio"] == pytest.approx(np.mean(silent))


def test_silence_has_levels_that_json_can_hold():
    measure = Measure(8_000)
    measure.add(np.zeros(8_000, np.int16))
    facts = measure.facts()
    assert (facts["peak_db"], facts["rms_db"]) == (FLOOR_DB, FLOOR_DB)
    assert facts["silence_ratio"] == 1.0


def test_the_lowest_sample_is_full_scale():
    measure = Measure(8_000)
    measure.add(np.array([-32_768], np.int16))
    assert measure.facts()["peak_db"] == 0.0
