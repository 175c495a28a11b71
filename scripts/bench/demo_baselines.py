"""What simple statistics tell about a demo corpus: `demo_baselines.py OUT_DIR`.

Mean and deviation over time of the log-mel (128 bands at 16 kHz), and as a curiosity of 20 MFCCs
and of 12 chroma, go into linear probes; every figure is the mean of five folds that keep each cover
group whole. The corpus is fair if log-mel stays under 0.7 on key and no row comes near its ceiling.
"""

from __future__ import annotations

import argparse
import csv
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # probes this small lose time to threads

import numpy as np
import soundfile
import soxr
from scipy.fft import dct, rfft
from sklearn.linear_model import LogisticRegression, RidgeCV
from sklearn.metrics import accuracy_score, r2_score, roc_auc_score
from sklearn.model_selection import GroupKFold
from sklearn.multiclass import OneVsRestClassifier
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import MultiLabelBinarizer, StandardScaler
from tqdm import tqdm

RATE, N_FFT, HOP = 16000, 1024, 320
PENALTIES = (0.001, 0.01, 0.1, 1.0)
KINDS = {
    "style": "class",
    "key": "class",
    "tempo": "number",
    "instruments": "tags",
    "instrument": "class",
    "pitch": "number",
}
METRICS = {"class": "accuracy", "number": "R2", "tags": "ROC-AUC"}


def spectrogram(path: Path) -> np.ndarray:
    """Magnitudes [frames, N_FFT // 2 + 1] at 16 kHz, mixed down."""
    sound, rate = soundfile.read(path, dtype="float32", always_2d=True)
    sound = soxr.resample(sound.mean(axis=1), rate, RATE)
    frames = np.lib.stride_tricks.sliding_window_view(sound, N_FFT)[::HOP]
    return np.asarray(np.abs(rfft(frames * np.hanning(N_FFT).astype(np.float32))))


def mel_filters(num_mels: int) -> np.ndarray:
    """Triangles [N_FFT // 2 + 1, num_mels] on the HTK mel scale, 30 Hz to Nyquist."""
    low, high = 2595 * np.log10(1 + np.array([30, RATE / 2]) / 700)
    mels = np.linspace(low, high, num_mels + 2)
    edges = 700 * (10 ** (mels / 2595) - 1)
    hz = np.fft.rfftfreq(N_FFT, 1 / RATE)[:, None]
    rise = (hz - edges[:-2]) / (edges[1:-1] - edges[:-2])
    fall = (edges[2:] - hz) / (edges[2:] - edges[1:-1])
    return np.asarray(np.maximum(0, np.minimum(rise, fall)), dtype=np.float32)


def chroma_filters() -> np.ndarray:
    """Each bin from 60 Hz to 2 kHz to its pitch class, [N_FFT // 2 + 1, 12]."""
    hz = np.fft.rfftfreq(N_FFT, 1 / RATE)
    heard = np.flatnonzero((hz > 60) & (hz < 2000))
    filters = np.zeros((len(hz), 12), np.float32)
    filters[heard, np.round(12 * np.log2(hz[heard] / 440) + 9).astype(int) % 12] = 1
    return filters


MEL, CHROMA = mel_filters(128), chroma_filters()


def statistics(path: Path) -> dict[str, np.ndarray]:
    """Mean and deviation over time of each representation of a file."""
    magnitude = spectrogram(path)
    log_mel = np.log(magnitude @ MEL + 1e-5)
    chroma = magnitude @ CHROMA
    features = {
        "log-mel": log_mel,
        "MFCC": dct(log_mel, norm="ortho")[:, :20],
        "chroma": chroma / (np.linalg.norm(chroma, axis=1, keepdims=True) + 1e-9),
    }
    return {name: np.concatenate([x.mean(0), x.std(0)]) for name, x in features.items()}


def probe_scores(x: np.ndarray, y: np.ndarray, groups: np.ndarray, kind: str) -> float:
    """Mean over five grouped folds; the best penalty of the grid, which flatters the baseline."""
    if kind == "number":
        ridge = make_pipeline(StandardScaler(), RidgeCV(np.logspace(-1, 4, 11)))
        return fold_mean(ridge, x, y, groups, kind)
    models = [LogisticRegression(C=c, max_iter=2000) for c in PENALTIES]
    if kind == "tags":
        models = [OneVsRestClassifier(model) for model in models]
    return max(fold_mean(make_pipeline(StandardScaler(), m), x, y, groups, kind) for m in models)


def fold_mean(
    model: Pipeline, x: np.ndarray, y: np.ndarray, groups: np.ndarray, kind: str
) -> float:
    """The kind's metric, averaged over folds of whole groups."""
    scores = []
    for train, test in GroupKFold(5, shuffle=True, random_state=0).split(x, y, groups):
        model.fit(x[train], y[train])
        if kind == "tags":
            scores.append(roc_auc_score(y[test], model.predict_proba(x[test]), average="macro"))
        else:
            metric = accuracy_score if kind == "class" else r2_score
            scores.append(metric(y[test], model.predict(x[test])))
    return float(np.mean(scores))


def label_targets(rows: list[dict[str, str]], label: str) -> tuple[np.ndarray, np.ndarray]:
    """Rows that bear the label, and its values there."""
    kept = np.array([i for i, row in enumerate(rows) if row[label]])
    texts = [rows[i][label] for i in kept]
    if KINDS[label] == "number":
        return kept, np.array(texts, float)
    if KINDS[label] == "tags":
        return kept, MultiLabelBinarizer().fit_transform([text.split(";") for text in texts])
    return kept, np.array(texts)


def score_table(root: Path) -> list[tuple[str, ...]]:
    """One row a label: its metric, chance, and each representation's score."""
    with (root / "labels.csv").open() as file:
        rows = list(csv.DictReader(file))
    with ThreadPoolExecutor(2) as pool:
        features = list(
            tqdm(pool.map(lambda row: statistics(root / row["path"]), rows), total=len(rows))
        )
    table = []
    for label, kind in KINDS.items():
        kept, y = label_targets(rows, label)
        if len(kept) == 0:
            continue
        # A single note stands alone: its path is its group.
        groups = np.array([rows[i]["cover_group"] or rows[i]["path"] for i in kept])
        scores = [
            probe_scores(np.stack([features[i][name] for i in kept]), y, groups, kind)
            for name in features[0]
        ]
        cells = (f"{score:.3f}" for score in (chance(y, kind), *scores))
        table.append((label, METRICS[kind], *cells))
    return [("label", "metric", "chance", *features[0]), *table]


def chance(y: np.ndarray, kind: str) -> float:
    """What a model scores that has not looked: the largest class, the mean, a coin."""
    if kind == "class":
        return float(np.unique(y, return_counts=True)[1].max() / len(y))
    return {"number": 0.0, "tags": 0.5}[kind]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description="Baselines of a demo corpus.")
    parser.add_argument("root", type=Path, metavar="OUT_DIR")
    for row in score_table(parser.parse_args().root):
        print("  ".join(f"{cell:>11}" for cell in row))


if __name__ == "__main__":
    main()
