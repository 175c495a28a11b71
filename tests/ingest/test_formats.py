"""What soundfile does not read is read by PyAV, in the same decoder and to the same limits."""

import io

import numpy as np
import pytest
import soundfile
import soxr

import ingest.sniff
from ingest.inputs import inputs_of
from ingest.pool import Decoded, Pool
from ingest.rejection import Rejection
from ingest.scan import scan
from ingest.settings import Settings
from ingest.sniff import sniff

av = pytest.importorskip("av", reason='pip install "wholetone[formats]"')

LOSSLESS = {
    "alac.m4a": ("ipod", "alac"),
    "a.wv": ("wv", "wavpack"),
    "a.mka": ("matroska", "flac"),
    "a.tta": ("tta", "tta"),
    "a.caf": ("caf", "pcm_s16le"),
    "alac.caf": ("caf", "alac"),
    "a.au": ("au", "pcm_s16be"),
    "a.w64": ("w64", "pcm_s16le"),
    "stream.flac": ("flac", "flac"),
}
LOSSY = {
    "a.m4a": ("ipod", "aac"),
    "a.aac": ("adts", "aac"),
    "a.wma": ("asf", "wmav2"),
    "a.webm": ("webm", "libopus"),
    "a.ac3": ("ac3", "ac3"),
}
SIXTEEN_BITS = {"wavpack": "s16p", "tta": "s16"}
RATE_HZ = 48_000


class Pipe(io.RawIOBase):
    """Takes bytes and never goes back, so that lengths in headers stay unknown."""

    def __init__(self):
        self.data = bytearray()

    def writable(self):
        return True

    def seekable(self):
        return False

    def write(self, part):
        self.data += bytes(part)
        return len(part)


def music(seconds=2.0) -> np.ndarray:
    """Two tones, one on each channel, float32 [n, 2] in steps of 16 bits."""
    t = np.arange(int(RATE_HZ * seconds)) / RATE_HZ
    waves = np.stack([np.sin(2 * np.pi * 440 * t), np.sin(2 * np.pi * 660 * t)], axis=1)
    return np.round(waves * 10_000).astype(np.float32) / 32_768


def write_av(path, audio, form, codec):
    """Encode audio [n, 2] with PyAV."""
    target = Pipe() if path.name.startswith("stream") else io.BytesIO()
    with av.open(target, "w", format=form) as container:
        stream = container.add_stream(codec, rate=RATE_HZ)
        stream.layout = "stereo"
        if codec in ("wavpack", "tta"):  # else 8 bits
            stream.codec_context.format = SIXTEEN_BITS[codec]
        stream.bit_rate = 128_000
        for at in range(0, len(audio), 1_024):
            block = np.ascontiguousarray(audio[at : at + 1_024].T)
            frame = av.AudioFrame.from_ndarray(block, format="fltp", layout="stereo")
            frame.sample_rate, frame.pts = RATE_HZ, at
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(target.data if isinstance(target, Pipe) else target.getvalue())


def expected(audio) -> np.ndarray:
    mono = soxr.resample((audio[:, 0] + audio[:, 1]) / 2, RATE_HZ, 16_000, quality="HQ")
    return np.clip(np.floor(mono.astype(np.float64) * 32_768 + 0.5), -32_768, 32_767)


@pytest.mark.parametrize("name", LOSSLESS)
def test_a_lossless_format_gives_every_sample(name, tmp_path, decode_file):
    write_av(tmp_path / name, music(), *LOSSLESS[name])
    packed, samples = decode_file(tmp_path / name)
    want = expected(music())[: len(samples)]
    assert len(samples) == len(want) >= (0.97 if name == "alac.caf" else 1) * 32_000
    np.testing.assert_array_equal(samples, want)
    assert (packed.facts["source_rate"], packed.facts["source_channels"]) == (RATE_HZ, 2)
    assert packed.facts["truncated"] is False


@pytest.mark.parametrize("name", LOSSY)
def test_a_lossy_format_gives_the_music(name, tmp_path, decode_file):
    write_av(tmp_path / name, music(), *LOSSY[name])
    _, samples = decode_file(tmp_path / name)
    assert len(samples) == pytest.approx(32_000, abs=1_500)
    spectrum = np.abs(np.fft.rfft(samples[8_000:24_000] * np.hanning(16_000)))
    assert set(np.argsort(spectrum)[-2:]) == {440, 660}


def test_they_are_found_and_packed_by_decoders_of_the_pool(tmp_path, decode_file):
    for name, form in {**LOSSLESS, **LOSSY}.items():
        write_av(tmp_path / "in" / name, music(1.0), *form)
    with Pool(inputs_of(tmp_path / "in"), tmp_path, Settings(), num_workers=2) as pool:
        outcomes = list(pool.decode(scan(tmp_path / "in").sources))
    assert len(outcomes) == len(LOSSLESS) + len(LOSSY)
    for outcome in outcomes:
        assert isinstance(outcome, Decoded), outcome
        packed, _ = decode_file(tmp_path / "in" / outcome.source.raw.decode())
        assert outcome.facts == packed.facts
        outcome.payload.close()


def test_without_pyav_the_message_says_what_to_install(tmp_path, monkeypatch, decode_file):
    write_av(tmp_path / "in/a.m4a", music(0.5), *LOSSY["a.m4a"])
    monkeypatch.setattr("ingest.scan.is_installed", lambda: False)
    monkeypatch.setattr("ingest.sounds.is_installed", lambda: False)
    (rejected,) = scan(tmp_path / "in").rejected
    assert rejected.code == "unsupported"
    assert rejected.message.endswith('which pip install "wholetone[formats]" lets us read')
    with pytest.raises(Rejection, match=r"wholetone\[formats\]"):
        decode_file(tmp_path / "in/a.m4a")


def test_looking_for_pyav_does_not_load_it():
    assert ingest.sniff.is_installed()


def test_limits_hold_for_what_pyav_decodes(tmp_path, decode_file):
    write_av(tmp_path / "a.m4a", music(), *LOSSY["a.m4a"])
    with pytest.raises(Rejection) as rejection:
        decode_file(tmp_path / "a.m4a", Settings(max_seconds=1.0))
    assert rejection.value.code == "too_long"


@pytest.mark.parametrize("name", ["a.m4a", "a.mka", "a.wma"])
def test_cuts_are_refused_or_told(name, tmp_path, decode_file):
    write_av(tmp_path / name, music(), *{**LOSSLESS, **LOSSY}[name])
    data = (tmp_path / name).read_bytes()
    for part in range(1, 20):
        (tmp_path / name).write_bytes(data[: len(data) * part // 20])
        try:
            packed, samples = decode_file(tmp_path / name)
        except Rejection:
            continue
        assert len(samples) <= 33_500
        assert packed.facts["truncated"] or name != "a.m4a"


def test_other_files_cannot_be_reached_from_within_one(tmp_path, decode_file):
    soundfile.write(tmp_path / "other.wav", music()[:, 0], RATE_HZ)
    for name, text in {
        "a.m3u8": "#EXTM3U\n#EXTINF:2,\nother.wav\n#EXT-X-ENDLIST\n",
        "a.ffconcat": "ffconcat version 1.0\nfile other.wav\n",
    }.items():
        (tmp_path / name).write_text(text)
        with pytest.raises(Rejection):
            decode_file(tmp_path / name)


def test_text_is_no_adts():
    assert sniff(b"\xff\xf1" + b"hello " * 900, 5_402) == ""
