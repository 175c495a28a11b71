"""The data card: whole, inert, the user's own words kept, and a folder that other tools load."""

import json
import re
import shutil

import pytest
import soundfile
import yaml
from markdown_it import MarkdownIt

from ingest.build import build_shards
from ingest.card import BEGIN, CARD, END, write_card
from ingest.inert import markdown
from ingest.inert import yaml as quoted
from ingest.labels.add import Options, add_labels
from ingest.settings import Settings
from shards.files import read_json, write_json
from shards.index import Index

HOSTILE = [
    "<script>alert(1)</script>",
    "[a](javascript:alert(1))",
    "](javascript:alert(1))",
    "![x](http://example.org/x.png)",
    "<img src=x onerror=alert(1)>",
    "<http://example.org>",
    "a | b || c",
    "line\nbreak\r\n\r\n# heading",
    "---",
    "--- \nlicense: mit",
    "```\nfence\n```",
    "`code`",
    "*stars* __bars__ _one_ ~~gone~~",
    "&lt;b&gt; &amp; &#60;",
    'quote " and \\ back \\n slash',
    "key: value # comment",
    "!!python/object:os.system ls",
    "{a: [b, *c, &d]}",
    "<!-- wholetone: end --> # wholetone: begin",
    "🎵 Ω é \u202e bidi \u2028 \x1b[31m \x00 \x85 \U000e0001",
    "| --- |\n| x |",
    "https://example.org www.example.org",
    "",
]


def front_matter(page: bytes) -> dict:
    start, head, _body = page.decode().split("---\n", 2)
    assert start == ""
    return yaml.safe_load(head)


def body(page: bytes) -> str:
    return page.decode().split("---\n", 2)[2]


@pytest.fixture
def manifest(own):
    return read_json(own.out / "manifest.json")


def test_the_card_says_what_the_archive_holds(built):
    page = (built.out / CARD).read_text()
    said = dict(re.findall(r"^\| ([^|]+) \| ([^|]+) \|$", page, re.MULTILINE))
    index = Index.open(built.out)
    assert said["tracks"] == "15"
    assert said["sample rate"] == "16000 Hz, mono, 16 bits"
    assert said["codec"] == "flac"
    size = sum(path.stat().st_size for path in (built.out / "data").iterdir())
    assert said["shards"] == f"{len(index.shards)}, {size:,} bytes"
    assert said["sources"] == ("3 flac, 3 wav, 2 aiff, 2 mp3, 2 ogg, 2 opus, 1 without an ending")
    assert said["exact duplicates"] == "3"
    codes = [row["code"] for row in built.rejected]
    assert {code: int(said[code]) for code in set(codes)} == {c: codes.count(c) for c in codes}
    assert "- CC0-1.0: 15 tracks" in page
    assert index.fingerprint in page
    assert f"libsndfile {soundfile.__libsndfile_version__}" in page


def test_the_front_matter_is_what_hugging_face_expects(built):
    said = front_matter((built.out / CARD).read_bytes())
    assert said["license"] == ["cc0-1.0"]
    assert said["size_categories"] == ["n<1K"]
    assert said["configs"][0]["data_files"] == [{"split": "train", "path": "data/*.tar"}]


@pytest.mark.parametrize(
    ("licence", "expected"),
    [
        ("", {"license": "unknown"}),
        ("CC-BY-4.0", {"license": ["cc-by-4.0"]}),
        ("ask Ann: 1 € a play", {"license": "other", "license_name": "ask Ann: 1 € a play"}),
    ],
)
def test_a_licence_is_named_as_it_is(tmp_path, make_chord, licence, expected):
    make_chord(tmp_path / "in/a.wav", 0)
    settings = Settings(licence=licence)
    page = build_shards(tmp_path / "in", tmp_path / "out", settings=settings).out / CARD
    said = front_matter(page.read_bytes())
    assert {name: said.get(name) for name in expected} == expected
    assert ("not stated" in page.read_text()) == (not licence)


@pytest.mark.filterwarnings(  # closing tars are left to the collector
    "ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"
)
@pytest.mark.parametrize("streaming", [False, True])
def test_hugging_face_loads_the_folder_offline_as_the_card_says(
    built, tmp_path, monkeypatch, streaming
):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_DATASETS_DISABLE_PROGRESS_BARS", "1")
    import datasets

    found = datasets.load_dataset(
        str(built.out), split="train", cache_dir=str(tmp_path), streaming=streaming
    )
    rows = {row["__key__"]: row for row in found}
    index = Index.open(built.out)
    assert sorted(rows) == sorted(index.column("key"))
    for row in range(len(index)):
        track = index[row]
        assert rows[track.key]["flac"][:4] == b"fLaC"
        assert len(rows[track.key]["flac"]) == track.size
        assert rows[track.key]["json"]["source"] == track.source
        assert rows[track.key]["json"]["frames"] == track.frames


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_is_the_same_string_in_yaml(text):
    line = f"name: {quoted(text)}\n"
    assert yaml.safe_load(line) == {"name": text}
    assert line.isascii()
    assert "#" not in line
    assert "<" not in line


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_is_plain_text_in_markdown(text):
    page = (
        f"| a |\n|---|\n| {markdown(text)} |\n\nBefore {markdown(text)}\n\n- {markdown(text)} x\n"
    )
    html = MarkdownIt("commonmark").enable("table").enable("strikethrough").render(page)
    names = {tag.split(">")[0] for tag in html.replace("</", "<").split("<")[1:]}
    assert names <= {"table", "thead", "tbody", "tr", "th", "td", "p", "ul", "li"}
    assert html.count("<td>") == 1
    assert not {char for char in page if not char.isprintable()} - {"\n"}


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_labels_and_versions_leave_the_card_as_it_is_built(own, manifest, text):
    assert structure(card_with(own.out, manifest, text)) == structure(
        card_with(own.out, manifest, "harmless")
    )


def card_with(out, manifest, text) -> bytes:
    (out / "labels").mkdir(exist_ok=True)
    info = {
        "kind": "class",
        "classes": [text, "b"],
        "counts": {"train": 1, "valid": 1, "test": 1},
        "split": {"by": text, "given": False, "note": text, "seed": 0},
    }
    write_json(out / "labels/evil.json", info)
    write_card(out, {**manifest, "created_by": {"tool": text}, "wholetone": text})
    page = (out / CARD).read_bytes()
    assert page.count(BEGIN) == page.count(END) == 1
    return page


def test_hostile_licences_and_file_names_leave_the_card_as_it_is_built(tmp_path, make_chord):
    pages = {}
    text = " ".join(HOSTILE)
    for licence, ending in ((text, ".<i>|[x](y)\n"), ("harmless", ".ending")):
        folder = tmp_path / ending[1:3]
        make_chord(folder / "in/a.wav", 0)
        (folder / "in/a.wav").rename(folder / f"in/a{ending}")
        settings = Settings(licence=licence)
        out = build_shards(folder / "in", folder / "out", settings=settings, num_workers=1).out
        pages[licence] = (out / CARD).read_bytes()
    assert structure(pages[text]) == structure(pages["harmless"])
    assert front_matter(pages[text])["license_name"] == text
    assert "1 &#60;i&#62;&#124;&#91;x&#93;(y)&#92;n" in pages[text].decode()


def structure(page: bytes) -> list[str]:
    """The tags of the rendered card."""
    html = MarkdownIt("commonmark").enable("table").render(body(page))
    return [part.split(">")[0] for part in html.split("<")[1:]]


def test_what_the_user_writes_outside_our_part_is_kept_byte_for_byte(own, manifest):
    card = own.out / CARD
    ours = card.read_bytes()
    mine = ours.replace(b"---\n", b"---\nlanguage: de  # mine\n", 1) + b"\r\n\xff My words\r\n"
    card.write_bytes(mine.replace(b"15 tracks of music", b"no tracks of music"))
    write_card(own.out, manifest)
    assert card.read_bytes() == mine


@pytest.mark.parametrize("fence", [BEGIN, END])
def test_a_card_without_a_comment_is_the_users_and_left_alone(own, manifest, caplog, fence):
    card = own.out / CARD
    mine = card.read_bytes().replace(fence, b"")
    card.write_bytes(mine)
    caplog.set_level("INFO", "ingest")
    write_card(own.out, manifest)
    assert card.read_bytes() == mine
    assert len(caplog.records) == 1


def test_a_card_that_links_elsewhere_is_left_alone(own, manifest, tmp_path):
    card = own.out / CARD
    elsewhere = tmp_path / "elsewhere.md"
    shutil.copy(card, elsewhere)
    elsewhere.write_bytes(elsewhere.read_bytes().replace(b"15", b"16"))
    before = elsewhere.read_bytes()
    card.unlink()
    card.symlink_to(elsewhere)
    write_card(own.out, manifest)
    assert card.is_symlink()
    assert elsewhere.read_bytes() == before


def test_a_finished_build_heals_a_missing_or_stale_card_and_touches_nothing_else(
    tmp_path, make_chord
):
    for number in range(3):
        make_chord(tmp_path / f"in/{number}.wav", number)
    out = build_shards(tmp_path / "in", tmp_path / "out").out
    card = out / CARD
    whole = card.read_bytes()
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*") if path.is_file()}
    del before[card]
    for damage in (card.unlink, lambda: card.write_bytes(whole.replace(b"3 tracks", b"2 tracks"))):
        damage()
        build_shards(tmp_path / "in", out)
        assert card.read_bytes() == whole
        assert {path: path.stat().st_mtime_ns for path in before} == before
    healed = card.stat().st_mtime_ns
    build_shards(tmp_path / "in", out)
    assert card.stat().st_mtime_ns == healed


def test_the_manifest_does_not_vouch_for_the_card(built):
    assert CARD not in json.dumps(built.manifest)


def test_labels_enter_the_card(own, tmp_path):
    index = Index.open(own.out)
    lines = [f"{key},{['calm', 'wild'][row % 2]}" for row, key in enumerate(index.column("key"))]
    (tmp_path / "moods.csv").write_text("\n".join(["key,mood", *lines]))
    list(add_labels(own.out, tmp_path / "moods.csv", Options(column="mood")))
    info = read_json(own.out / "labels/mood.json")
    page = (own.out / CARD).read_text()
    counts = " | ".join(str(info["counts"][part]) for part in ("train", "valid", "test"))
    assert f"| mood | class | 2 | {counts} | by {info['split']['by']}" in page
    assert "- classes of mood: calm, wild" in page
    assert "audio-classification" in front_matter(page.encode())["task_categories"]
