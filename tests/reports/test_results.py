"""Results of many runs: the table for the terminal and the HTML page."""

from __future__ import annotations

import json
import re
from pathlib import Path

from begun_cases import QLORA, begin, fill
from run_cases import write_run

from helpers.evaluation.intervals import Estimate
from helpers.reports import results
from helpers.runs import records
from helpers.runs.display import computed_in
from helpers.runs.records import read_runs


def _some_runs(place: Path) -> list[records.RunRecord]:
    from matplotlib import pyplot as plt

    for name in ("a", "a-run-with-a-very-long-name-" + "x" * 60):
        run = begin(place, run_name=name)
        fill(run)
        run.add_system("few-shot, 3 examples, <b>bold</b>", {"accuracy": Estimate(0.5, 0.4, 0.6, 40)})
        figure, _ = plt.subplots()
        run.save_figure(figure, "training curve")
        run.finish()
    records.update_info(begin(place, run_name="z").folder, status="failed", error="ValueError: <oops>")
    return read_runs(place)


def test_results_table_fits_and_has_a_row_for_each_run_and_system(tmp_path: Path) -> None:
    runs = _some_runs(tmp_path)
    text = results.results_table(runs)
    assert all(len(line) <= 110 for line in text.splitlines())
    assert len(text.splitlines()) == 2 + 3 + 3 + 1
    assert "0.600 [0.500, 0.700]" in text and "(failed)" in text
    rows = results.results_rows(runs)
    assert len(rows) == 7 and json.loads(records.to_json(rows)) == rows
    assert results.results_table([]) == "no runs yet"
    used = computed_in(runs[0].info["hardware"])
    assert "thread" in used and results.formats_lines(runs) == f"computed in {used}: 04"
    assert {row["torch_threads"] for row in rows} == {runs[0].info["hardware"]["torch_threads"]} != {None}


def test_runs_whose_names_are_cut_are_still_told_apart(tmp_path: Path) -> None:
    for seed, rank in ((0, 4), (1, 4), (0, 16)):
        write_run(tmp_path, f"cpu-recipes-seed{seed}" + (f"-lora_r={rank}" if rank != 16 else ""), seed=seed)
    runs = read_runs(tmp_path)
    wide = results.results_table(runs, ["accuracy"])
    assert all(record.run_name in wide for record in runs)
    narrow = results.results_table(runs, ["accuracy"], width=55).splitlines()
    assert [line.split()[1] for line in narrow[2::2]] == ["…seed0", "…seed0-lora_r=4", "…seed1-lora_r=4"]
    assert max(map(len, narrow)) <= 55


def test_html_page_is_self_contained_and_its_links_resolve(tmp_path: Path) -> None:
    from urllib.parse import unquote

    _some_runs(tmp_path)
    page = results.write_html(tmp_path)
    text = page.read_text(encoding="utf-8")
    assert "<b>bold</b>" not in text and "ValueError: &lt;oops&gt;" in text
    links = re.findall(r'(?:href|src)="([^"]+)"', text)
    assert links and not [link for link in links if "://" in link]
    for link in links:
        if link.startswith("#"):
            assert f'id="{link[1:]}"' in text
        else:
            assert (tmp_path / unquote(link)).is_file(), link
    assert "training%20curve.png" in text
    assert f"<td>{computed_in(read_runs(tmp_path)[0].info['hardware'])}</td>" in text


def test_a_damaged_record_does_not_hide_the_others(tmp_path: Path) -> None:
    begin(tmp_path).finish()
    broken = tmp_path / QLORA / "broken"
    broken.mkdir()
    (broken / "run.json").write_text('{"status": "fini')
    found = {record.run_name: record for record in read_runs(tmp_path)}
    assert found["smoke-recipes-seed0"].status == "finished"
    assert found["broken"].status == "failed" and "cannot be read" in found["broken"].info["error"]
