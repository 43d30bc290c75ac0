"""Shoes from folders, tables and Kaggle: what is read is checked and counted, every fault is one clear line."""

from __future__ import annotations

import base64
from collections import Counter
from itertools import islice
from pathlib import Path

import pytest
from datasets import Dataset, Features, Value
from datasets import Image as ImageFeature
from zappos_cases import KINDS, META, TASK, everything, labelled, load, picture, release

from helpers.errors import DataError
from helpers.tasks.zappos import generator as zappos_generator
from helpers.tasks.zappos.rows import picture_file
from helpers.tasks.zappos.words import COLOURS, DRAWN, MATERIALS, caption
from tools.shoe_folder import write_folder


# ---------- the release
def test_the_release_is_read_with_its_materials(tmp_path: Path) -> None:
    release(tmp_path)
    for source in (tmp_path, tmp_path / "ut-zap50k-images"):
        splits = load(source, None)
        assert splits.report.rows_read == splits.report.usable == 60 and not splits.report.dropped
        assert "Yu and Grauman" in splits.report.licence
        for row in everything(splits):
            i = int(row["id"].split("-")[0]) - 100000
            assert row["id"] == f"{100000 + i}-{i + 7}" and row["image"].getpixel((0, 0))[0] == i
            assert (row["category"], row["subcategory"], row["brand"]) == (*KINDS[i % 4], f"Brand {i % 3}")
            assert row["type"] == ("oxfords", "knee high boots", "flat sandals", "boot slippers")[i % 4]
            expected = ("leather", "leather", "fabric", "", "", "rubber", "", "synthetic")[i % 8]
            assert row["material"] == expected and row["colour"] == ""
            assert row["materials"].count(";") == (i % 8 in (1, 3))


def test_rows_of_folders_name_their_file_and_hold_no_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    release(tmp_path)
    monkeypatch.chdir(tmp_path)
    splits = load("ut-zap50k-images", 20)
    monkeypatch.chdir("/")  # a path that was relative then is none now
    held = splits["train"].cast_column("image", ImageFeature(decode=False))
    examples = TASK.examples(splits["train"]).cast_column("image", ImageFeature(decode=False))
    for row in (*held, *examples):
        assert row["image"]["bytes"] is None and Path(row["image"]["path"]).is_absolute()
    assert splits["train"][0]["image"].size == (12, 10)


def test_one_category_and_a_release_without_metadata(tmp_path: Path) -> None:
    release(tmp_path)
    boots = load(tmp_path / "ut-zap50k-images" / "Boots", 2, 3)
    assert boots.report.rows_read == 15 and {row["type"] for row in everything(boots)} == {"knee high boots"}
    assert {row["material"] for row in everything(boots)} <= {"leather", "rubber", ""}
    release(tmp_path / "bare", meta=False)
    bare = load(tmp_path / "bare")
    assert any("no meta-data.csv found" in note for note in bare.report.notes)
    assert {row["material"] for row in everything(bare)} == {""}


def test_what_metadata_lacks_or_lists_in_vain_is_said(tmp_path: Path) -> None:
    lines = release(tmp_path)
    table = tmp_path / "ut-zap50k-data" / "meta-data.csv"
    table.write_text(
        "\n".join([META, *lines[5:], "999-1,Shoes,Oxfords,,,,Men,Leather,", "999-2,Boots,Ankle,,,,,Wool,"])
    )
    splits = load(tmp_path)
    assert splits.report.dropped == {"image file missing": 2} and splits.report.rows_read == 62
    assert any("5 pictures are not in meta-data.csv" in note for note in splits.report.notes)
    table.write_text("\n".join([META, "1-1,Shoes,Oxfords,,,,Men,Leather,"]))
    with pytest.raises(DataError, match="has no row for any of the 60 pictures.*100627-72 is 100627.72.jpg"):
        load(tmp_path)
    table.write_text("Number,Stuff\n1,Leather\n")
    with pytest.raises(DataError, match="no column 'cid' .found: Number, Stuff"):
        load(tmp_path)


def test_pictures_beside_the_categories_and_second_copies_of_the_release(tmp_path: Path) -> None:
    release(tmp_path)
    extra = tmp_path / "ut-zap50k-images" / "Hats" / "Caps" / "x.jpg"
    extra.parent.mkdir(parents=True)
    extra.write_bytes(picture(500))
    other = tmp_path / "ut-zap50k-images-square" / "Shoes" / "Oxfords" / "B" / "1.1.jpg"
    other.parent.mkdir(parents=True)
    other.write_bytes(picture(501))
    splits = load(tmp_path)
    assert splits.report.dropped == {"outside the categories": 1} and splits.report.rows_read == 61
    assert "left out ut-zap50k-images-square" in splits.report.notes[0]


def test_damaged_missing_and_repeated_pictures_are_counted(tmp_path: Path) -> None:
    table = labelled(tmp_path)
    whole = picture(3)
    (tmp_path / "pics" / "0.png").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "pics" / "1.png").write_text("not a picture")
    (tmp_path / "pics" / "2.png").unlink()
    (tmp_path / "pics" / "4.png").write_bytes(picture(5))
    (tmp_path / "pics" / "6.png").write_bytes(b"")
    with table.open("a") as file:
        file.write(f"\n,Oxfords,red,leather,x\npics/7.png,,red,leather,x\n{'x' * 5000}.png,Oxfords,red,leather,x")
    splits = load(tmp_path, None)
    dropped = {"image unreadable": 4, "image file missing": 1, "no image": 1, "no type": 1}
    assert splits.report.dropped == dropped and splits.report.duplicates_removed == 1
    assert (splits.report.rows_read, splits.report.usable) == (43, 35)


# ---------- tables and folders


# ---------- tables and folders
def test_a_table_names_pictures_types_colours_and_materials(tmp_path: Path) -> None:
    table = labelled(tmp_path)
    for source in (tmp_path, table):
        splits = load(source, None)
        assert splits.report.usable == 40
        for row in everything(splits):
            i = int(row["id"])
            assert row["image"].getpixel((0, 0))[0] == i and row["brand"] == f"b{i}"
            assert row["type"] == ("oxfords", "ankle boots")[i % 2]
            assert (row["colour"], row["material"]) == (COLOURS[i % 4], MATERIALS[i % 3])


def test_what_the_generator_wrote_is_read_back(tmp_path: Path) -> None:
    root = write_folder(tmp_path / "shoes", 60, seed=2)
    splits = load(root, None)
    truth = {row["id"]: row for row, _ in zip(zappos_generator.rows(2), range(60), strict=False)}
    for row in everything(splits):
        for name in ("category", "subcategory", "type", "colour", "material"):
            assert row[name] == truth[row["id"]][name]
    sizes = {name: Counter(splits[name]["type"]) for name in splits}
    assert max(sizes["test"].values()) - min(sizes["test"].get(kind, 0) for kind in DRAWN) <= 2


def test_parquet_with_pictures_inside(tmp_path: Path) -> None:
    columns = {
        "image": [{"bytes": picture(i), "path": None} for i in range(30)],
        "category": ["Boots"] * 30,
        "subcategory": ["Ankle", "Mid-Calf"] * 15,
    }
    types = Features(image=ImageFeature(), category=Value("string"), subcategory=Value("string"))
    Dataset.from_dict(columns, features=types).to_parquet(str(tmp_path / "d.parquet"))
    for row in everything(load(tmp_path / "d.parquet")):
        assert row["image"].getpixel((0, 0))[0] == int(row["id"])
        assert row["type"] == ("ankle boots", "mid-calf boots")[int(row["id"]) % 2]


def test_folders_are_labels_where_there_is_no_table(tmp_path: Path) -> None:
    for i in range(40):
        folder = tmp_path / ("train", "more")[i % 2] / ("Ankle_Boots", "flip flops", "clogs")[i % 3]
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{i}.png").write_bytes(picture(i))
    (tmp_path / "loose.png").write_bytes(picture(300))
    (tmp_path / ".hidden").mkdir()
    (tmp_path / ".hidden" / "h.png").write_bytes(picture(301))
    splits = load(tmp_path, None)
    assert splits.report.dropped == {"no type": 1} and (splits.report.rows_read, splits.report.usable) == (41, 40)
    for row in everything(splits):
        i = row["image"].getpixel((0, 0))[0]
        assert row["type"] == ("ankle boots", "flip flops", "clogs")[i % 3] and row["id"].endswith(f"/{i}.png")


def test_a_kind_called_boots_is_no_category_and_backslashes_separate_folders(tmp_path: Path) -> None:
    rows = []
    for i in range(40):
        kind = ("boots", "heels")[i % 2]
        (tmp_path / "all" / kind).mkdir(parents=True, exist_ok=True)
        (tmp_path / "all" / kind / f"{i}.png").write_bytes(picture(i))
        rows.append(f"all\\{kind}\\{i}.png,{kind}")
    (tmp_path / "shoes.csv").write_text("image,type\n" + "\n".join(rows))
    for source in (tmp_path / "all", tmp_path / "shoes.csv"):
        splits = load(source, None)
        assert splits.report.usable == 40 and not splits.report.dropped
        for row in everything(splits):
            assert row["type"] == ("boots", "heels")[row["image"].getpixel((0, 0))[0] % 2]


def test_pictures_in_base64_are_read_and_addresses_on_the_web_are_named(tmp_path: Path) -> None:
    spelt = [base64.b64encode(picture(i)).decode() for i in range(40)]
    rows = [
        f'"{"data:image/png;base64," * (i % 2)}{text}",{("boots", "heels")[i % 3 > 0]}' for i, text in enumerate(spelt)
    ]
    (tmp_path / "a.csv").write_text("image,type\n" + "\n".join(rows))
    for row in everything(load(tmp_path / "a.csv", None)):
        assert row["type"] == ("boots", "heels")[row["image"].getpixel((0, 0))[0] % 3 > 0]
    (tmp_path / "b.csv").write_text("image,type\n" + "".join(f"https://x.org/{i}.png,boots\n" for i in range(40)))
    with pytest.raises(DataError, match="40 image that is an address on the Web .*such as 'https://x.org/0.png'"):
        load(tmp_path / "b.csv")
    (tmp_path / "c.csv").write_text("image,type\n" + "".join(f"gone/{i}.png,boots\n" for i in range(40)))
    with pytest.raises(DataError, match="40 image file missing, such as '.*gone/"):
        load(tmp_path / "c.csv")


def test_folders_without_labels_pictures_or_existence(tmp_path: Path) -> None:
    for i in range(20):
        (tmp_path / f"{i}.png").write_bytes(picture(i))
    with pytest.raises(DataError, match="20 pictures in .* have no labels: all lie in the folder itself.*add a CSV"):
        load(tmp_path)
    (tmp_path / "images").mkdir()
    for i in range(20):
        (tmp_path / f"{i}.png").rename(tmp_path / "images" / f"{i}.png")
    with pytest.raises(DataError, match="no labels: all lie in one folder"):
        load(tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="has no pictures .*Put them into"):
        load(tmp_path / "empty")
    with pytest.raises(DataError, match="does not exist"):
        load(tmp_path / "gone.csv")
    with pytest.raises(DataError, match="unknown data source 'genrator'.*generator, kaggle:"):
        load("genrator")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("file_name", "photo"), "no column 'image' .found: photo, Label.*Name a column one of: image, image_path"),
        (("Label", "kind"), "no column 'type'.*type, label, shoe_type"),
        (("Oxfords", "3"), "types in .* are numbers, such as 3"),
        (("Material", "Colour"), "colour"),
    ],
)
def test_wrong_columns_are_named(tmp_path: Path, change: tuple[str, str], said: str) -> None:
    table = labelled(tmp_path)
    table.write_text(table.read_text().replace(*change))
    if change[1] == "Colour":  # own spelling first: the column now holds materials
        said = "colour in .* is none of black, white, brown, red in 40 of 40 rows: 'leather'.*Rename the column"
    with pytest.raises(DataError, match=said):
        load(tmp_path)


def test_words_that_are_no_published_attribute_are_unknown_and_noted(tmp_path: Path) -> None:
    table = labelled(tmp_path)
    table.write_text(table.read_text().replace("BROWN", "Navy").replace("rubber", "Cork"))
    splits = load(tmp_path, None)
    assert {row["colour"] for row in everything(splits)} == {"black", "white", "red", ""}
    assert {row["material"] for row in everything(splits)} == {"leather", "fabric", ""}
    notes = " ".join(splits.report.notes)
    assert "colour in" in notes and "10 of 40 rows: 'Navy' (10); it counts as unknown" in notes and "'Cork'" in notes
    asked = {form: len(TASK.examples(splits["train"], form)) for form in TASK.forms}
    known = {name: sum(bool(word) for word in splits["train"][name]) for name in ("colour", "material")}
    assert asked == {"caption": 20, "type": 20, **known} and max(known.values()) < 20


def test_several_tables_have_to_be_told_apart(tmp_path: Path) -> None:
    table = labelled(tmp_path)
    (tmp_path / "other.csv").write_text(table.read_text())
    with pytest.raises(DataError, match="several tables: other.csv, shoes.csv.*Name the one"):
        load(tmp_path)
    assert load(table).report.usable == 28


# ---------- Kaggle (the rest in test_kaggle.py)
def test_a_mirror_on_kaggle_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    release(tmp_path / "ut-zap50k-images")
    monkeypatch.setenv("PEFT_LAB_INPUT", str(tmp_path))
    report = load("kaggle:steer01/ut-zap50k-images").report
    assert report.rows_read == 60 and report.source == "kaggle:steer01/ut-zap50k-images"
    assert any("attached to this notebook" in note for note in report.notes)


def test_pictures_of_captions_keep_their_bytes_or_their_place(tmp_path: Path) -> None:
    """What lesson 07 writes beside its captions is read back as a data set, to the last bit."""
    rows = list(islice(zappos_generator.rows(3), 60))
    lines = ["image_path,new_prompt,shoe_type,colour,material"]
    for i, row in enumerate(rows):
        path = picture_file(row["image"], tmp_path / "pictures", f"{i:05d}")
        assert path.read_bytes() == row["image"]["bytes"]
        words = caption(row["type"], row["colour"], "")
        lines.append(f"pictures/{path.name},{words},{row['type']},{row['colour']},")
    (tmp_path / "captions.csv").write_text("\n".join(lines))
    splits = TASK.load(n_train=40, n_eval=10, source=str(tmp_path / "captions.csv"))
    assert {row["material"] for row in splits["train"]} == {""} and set(splits["train"]["colour"]) == set(COLOURS)
    assert set(splits["train"]["type"]) <= {row["type"] for row in rows}
    assert picture_file({"bytes": None, "path": str(path)}, tmp_path, "x") == path
