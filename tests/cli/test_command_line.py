"""The command line: help, exit codes, quiet pipes, and what `tables`, `doctor` and `init` do."""

from __future__ import annotations

import csv
import io
import json
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy
import pytest
import yaml
from PIL import Image
from terminal import in_terminal
from tests.datasets import layouts

from xferpipe.cli import DONE, NOT_IN_ORDER, WRONG_INPUT, main
from xferpipe.config import load_study
from xferpipe.datasets.user_files import missing_files
from xferpipe.records import TABLES, frame, write_table


@pytest.fixture
def run(capsys, monkeypatch):
    """Run a command line and return its exit code, output and messages."""
    monkeypatch.setenv("COLUMNS", "200")

    def call(*words):
        with pytest.raises(SystemExit) as left:
            main([str(word) for word in words])
        captured = capsys.readouterr()
        return left.value.code, captured.out, captured.err

    return call


@pytest.fixture
def results(tmp_path):
    """Write two small tables."""
    rows = [
        {"target": "t", "shots": "full", "model": f"m{i}", "method": "lfc", "value": i / 10}
        for i in range(12)
    ]
    write_table("scores", frame("scores", rows), tmp_path / "tables" / "scores.parquet")
    queries = [{"target": "t", "query": 1, "ap": 0.5, "thumbnail": b"jpeg"}]
    write_table(
        "retrieval_queries",
        frame("retrieval_queries", queries),
        tmp_path / "tables" / "retrieval_queries.parquet",
    )
    return tmp_path / "tables"


@pytest.fixture
def photos(tmp_path):
    """Write three classes of small pictures."""
    random = numpy.random.default_rng(0)
    for name in ("ash", "birch tree", "oak"):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for i in range(12):
            pixels = random.integers(0, 255, (20, 24, 3), dtype=numpy.uint8)
            Image.fromarray(pixels).save(tmp_path / "photos" / name / f"{i}.png")
    return tmp_path / "photos"


@pytest.mark.parametrize("words", [("nonsense",), ("tables", "head"), ("tables", "list", "--no")])
def test_usage_error_leaves_with_two(run, words):
    assert run(*words)[0] == WRONG_INPUT


def test_error_of_ours_is_one_message_without_traceback(run, tmp_path):
    code, out, err = run("tables", "head", "nothing", "--results", tmp_path)
    assert (code, out) == (WRONG_INPUT, "")
    assert err.startswith(
        "error: there is no table 'nothing'; allowed: manifest, image_findings, zoo"
    )
    assert "Traceback" not in err


def test_error_of_a_library_keeps_its_traceback(monkeypatch, results):
    import xferpipe.records

    def broken(*_):
        json.loads("{")

    monkeypatch.setattr(xferpipe.records, "load_table", broken)
    with pytest.raises(json.JSONDecodeError):
        main(["tables", "head", "scores", "--results", str(results)])


def test_traceback_variable_shows_where_an_error_comes_from(monkeypatch, tmp_path):
    monkeypatch.setenv("XFERPIPE_TRACEBACK", "1")
    with pytest.raises(ValueError, match="there is no table"):
        main(["tables", "head", "nothing"])


def test_tables_list_counts_rows(run, results):
    code, out, _ = run("tables", "list", "--results", results, "--json")
    assert code == DONE
    assert {row["table"]: row["rows"] for row in json.loads(out)} == {
        "scores": 12,
        "retrieval_queries": 1,
    }


def test_tables_list_without_tables_says_what_to_run(run, tmp_path):
    code, _, err = run("tables", "list", "--results", tmp_path)
    assert code == WRONG_INPUT
    assert "snakemake --cores all" in err


def write_results(folder, *studies):
    """Write tables of studies as the workflow lays them, one model and one score each."""
    for study in studies:
        tables = folder / "results" / study / "tables"
        key = {"target": "t", "shots": "full", "model": study}
        rows = {
            "scores": [{**key, "method": "lfc", "variant": "", "value": 0.5}],
            "finetunes": [],
            "answers": [{**key, "recipe": "r", "basis": "nothing"}],
            "zoo": [{"model": study}],
            "targets": [{"target": "t"}],
        }
        for name, content in rows.items():
            write_table(name, frame(name, content), tables / f"{name}.parquet")


WITHOUT_FOLDER = [
    ("tables", "list"),
    ("tables", "head", "scores"),
    ("tables", "export", "scores"),
    ("recommend", "t"),
]


@pytest.mark.parametrize("words", WITHOUT_FOLDER)
def test_tables_of_the_only_study_are_taken(run, tmp_path, monkeypatch, words):
    write_results(tmp_path, "only")
    # What else may lie there: a study without tables yet, and results of 0.1.
    (tmp_path / "results" / "begun" / "zoo").mkdir(parents=True)
    (tmp_path / "results" / "tables").mkdir()
    monkeypatch.chdir(tmp_path)
    code, out, err = run(*words)
    assert code == DONE, err
    assert ("only" if words[1] != "list" else "scores") in out


@pytest.mark.parametrize("words", WITHOUT_FOLDER)
def test_tables_of_several_studies_are_listed_and_none_is_taken(run, tmp_path, monkeypatch, words):
    write_results(tmp_path, "ours", "ours-smoke")
    monkeypatch.chdir(tmp_path)
    code, out, err = run(*words)
    assert (code, out) == (WRONG_INPUT, "")
    assert err == (
        "error: results holds the tables of several studies: ours, ours-smoke; "
        "name one, as --results results/ours\n"
    )
    for given in ("results/ours-smoke", "results/ours-smoke/tables"):
        code, out, err = run(*words, "--results", given)
        assert code == DONE, err
        assert out


@pytest.mark.parametrize("words", WITHOUT_FOLDER)
def test_no_tables_anywhere_says_what_to_run(run, tmp_path, monkeypatch, words):
    monkeypatch.chdir(tmp_path)
    code, out, err = run(*words)
    assert (code, out) == (WRONG_INPUT, "")
    assert err == (
        "error: results: no tables here; `xferpipe run FOLDER` or `snakemake --cores all` makes "
        "them\n"
    )


@pytest.mark.parametrize("table", TABLES)
def test_tables_schema_explains_every_column(run, table):
    code, out, _ = run("tables", "schema", table, "--json")
    assert code == DONE
    assert [column["column"] for column in json.loads(out)] == [c.name for c in TABLES[table]]


def test_tables_head_aligns_and_keeps_messages_off_stdout(run, results):
    arguments = ("--results", results, "--columns", "model,value", "--rows", 3)
    code, out, err = run("tables", "head", "scores", *arguments)
    assert code == DONE
    assert out.splitlines() == ["model  value", "m0         0", "m1       0.1", "m2       0.2"]
    assert "3 of 12 rows" in err


def test_tables_head_as_json_has_so_many_rows_and_every_column(run, results):
    code, out, _ = run("tables", "head", "scores", "--results", results, "--rows", 3, "--json")
    rows = json.loads(out)
    assert code == DONE
    assert [row["model"] for row in rows] == ["m0", "m1", "m2"]
    assert set(rows[0]) == {column.name for column in TABLES["scores"]}


def test_tables_head_passes_over_empty_columns(run, results):
    code, out, _ = run("tables", "head", "scores", "--results", results)
    assert code == DONE
    assert out.split("\n")[0].split() == ["target", "shots", "model", "method", "value"]


def test_tables_export_in_parts_has_one_head(run, results, monkeypatch):
    monkeypatch.setattr("xferpipe.cli.tables._ROWS_AT_ONCE", 5)
    code, out, _ = run("tables", "export", "scores", "--results", results)
    assert code == DONE
    assert [row["model"] for row in csv.DictReader(io.StringIO(out))] == [
        f"m{number}" for number in range(12)
    ]


def test_tables_head_unknown_column_lists_those_allowed(run, results):
    code, _, err = run("tables", "head", "scores", "--results", results, "--columns", "modell")
    assert code == WRONG_INPUT
    assert "no column modell (did you mean 'model'?); allowed: target, shots, model" in err


def test_tables_export_writes_all_rows_without_pictures(run, results, tmp_path):
    code, out, _ = run("tables", "export", "scores", "--results", results)
    assert code == DONE
    assert len(list(csv.DictReader(io.StringIO(out)))) == 12
    target = tmp_path / "out.csv"
    code, out, _ = run("tables", "export", "retrieval_queries", "-r", results, "-o", target)
    assert (code, out) == (DONE, "")
    header = target.read_text().splitlines()[0].split(",")
    assert "thumbnail" not in header
    assert "ap" in header


@pytest.mark.parametrize("words", [("head", "scores"), ("export", "scores"), ("list",)])
def test_tables_unreadable_file_is_named(run, tmp_path, words):
    (tmp_path / "scores.parquet").write_bytes(b"no parquet")
    code, _, err = run("tables", *words, "--results", tmp_path)
    assert code == WRONG_INPUT
    assert "scores.parquet: cannot be read as Parquet" in err


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("tables", "export", "scores", "--results", "tables", "--output", "."), "is a folder"),
        (("init", ".", "--force"), "is a folder; give the study a name in it"),
        (("plan", "--configfile", "none.yaml"), "none.yaml: no such file"),
        (("recommend", "t", "--results", "nowhere"), "nowhere: no such folder"),
    ],
)
def test_path_of_another_kind_is_one_message(run, results, monkeypatch, words, says):
    monkeypatch.chdir(results.parent)
    code, out, err = run(*words)
    assert (code, out) == (WRONG_INPUT, "")
    assert says in err
    assert len(err.splitlines()) == 1


def test_plan_has_a_table_and_the_time_of_what_ran_before(run, tmp_path, monkeypatch, tiny_study):
    from xferpipe.graph.plan import PlannedJob

    jobs = [PlannedJob("pack", {}, "not there yet", ())] * 2
    jobs += [PlannedJob("report", {}, "its input is made anew", ())]
    planned = SimpleNamespace(study=load_study(tiny_study), results=Path("results/tiny"))
    monkeypatch.setattr("xferpipe.graph.plan.planned_jobs", lambda arguments: (jobs, planned))
    time = tmp_path / "results/tiny/benchmarks/pack/a.tsv"
    time.parent.mkdir(parents=True)
    time.write_text("s\th:m:s\n3\t0:00:03\n")
    words = ("plan", "--directory", tmp_path, "--snakefile", tmp_path / "Snakefile", "--cores", 2)
    code, out, _ = run(*words)
    assert code == DONE
    *table, total = out.splitlines()
    assert [line.split() for line in table] == [
        ["rule", "jobs", "time", "disk", "why"],
        ["pack", "2", "6", "s", "–", "not", "there", "yet"],
        ["report", "1", "–", "–", "its", "input", "is", "made", "anew"],
    ]
    assert total == "3 jobs; about 3 s on 2 cores, by 1 of 2 rules that ran before"
    code, out, _ = run(*words, "--json")
    first, second = json.loads(out)["rules"]
    assert first == {
        "rule": "pack",
        "jobs": 2,
        "reasons": {"not there yet": 2},
        "seconds": 6.0,
        "disk_bytes": None,
    }
    assert second["seconds"] is None


def test_doctor_json_covers_what_it_promises(run, tmp_path):
    _, out, _ = run("doctor", "--directory", tmp_path, "--json")
    parts = {finding["part"]: finding for finding in json.loads(out)}
    promised = {
        "python",
        "torch",
        "kernels",
        "gpu",
        "disk",
        "torchvision weights",
        "conda",
        "slurm",
    }
    assert promised <= set(parts)
    assert all(finding["state"] in ("ok", "note", "problem") for finding in parts.values())


def test_doctor_missing_folder_is_a_problem_with_exit_code_one(run, tmp_path):
    code, out, _ = run("doctor", "--directory", tmp_path / "nowhere")
    assert code == NOT_IN_ORDER
    assert re.search(r"PROBLEM\s+disk", out)


def test_doctor_without_kernels_says_why(tmp_path):
    code = "from xferpipe.cli import main; main(['doctor', '--json'])"
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "XFERPIPE_NO_NATIVE": "1"},
    )
    parts = {finding["part"]: finding for finding in json.loads(done.stdout)}
    assert parts["kernels"]["state"] == "note"
    assert "XFERPIPE_NO_NATIVE is set" in parts["kernels"]["text"]
    assert parts["torchvision weights"]["text"].startswith("none in")


def test_init_flags_write_a_study_that_loads_and_explains_itself(run, photos, tmp_path):
    study = tmp_path / "trees.yaml"
    arguments = ("--images", photos, "--task", "classification", "--models", "small", "--json")
    code, out, _ = run("init", study, *arguments)
    assert code == DONE
    facts = json.loads(out)
    assert (facts["images"], facts["classes"]) == (36, 3)
    loaded = load_study(study)
    assert list(loaded.targets) == ["photos"]
    assert facts["finetunes"] == len(loaded.possible_runs()) == 5 * 3 * 3
    assert facts["budget"] == "30 min"
    text = study.read_text()
    assert "# Data sets by name." in text
    assert f"xferpipe run {photos} --study {study} " in text
    assert f"snakemake --cores all --configfile {study} " in text
    assert "The report is then results/photos/report.html, and the model" in text


def test_init_names_the_commands_that_run_it_anywhere(run, photos, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    arguments = ("--images", photos, "--task", "classification", "--models", "small")
    code, _, err = run("init", "s.yaml", *arguments)
    assert code == DONE
    assert f"xferpipe run {photos} --study s.yaml" in err
    command = 'snakemake --cores all --configfile s.yaml --snakefile "$(xferpipe snakefile)"'
    assert command in Path("s.yaml").read_text()


def test_snakefile_of_the_working_folder_comes_first(run, tmp_path, monkeypatch):
    root = Path(__file__).resolve().parents[2]
    monkeypatch.chdir(tmp_path)
    assert run("snakefile")[:2] == (DONE, f"{root / 'Snakefile'}\n")
    (tmp_path / "Snakefile").touch()
    assert run("snakefile")[:2] == (DONE, f"{tmp_path / 'Snakefile'}\n")


def test_snakefile_that_is_nowhere_is_one_message(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("xferpipe.cli.snakefile._PLACES", (tmp_path / "a", tmp_path / "b"))
    code, _, err = run("plan")
    assert code == WRONG_INPUT
    assert err.startswith(f"error: no Snakefile in {tmp_path}, {tmp_path / 'a'} or ")


@pytest.mark.parametrize("given", ["photos", "./photos", "absolute", "~/photos"])
def test_init_writes_the_root_as_given_and_expands_a_home(run, photos, monkeypatch, given):
    monkeypatch.chdir(photos.parent)
    monkeypatch.setenv("HOME", str(photos.parent))
    images = str(photos) if given == "absolute" else given
    arguments = ("--images", images, "--task", "classification", "--models", "small")
    assert run("init", "s.yaml", *arguments)[0] == DONE
    root = yaml.safe_load(Path("s.yaml").read_text())["datasets"]["photos"]["root"]
    assert root == ("photos" if given.endswith("photos") and given[0] != "~" else str(photos))
    assert missing_files(load_study("s.yaml")) == []
    comment = " ".join(Path("s.yaml").read_text().split("\n\n")[0].replace("#", "").split())
    assert "Relative paths count from the folder that it is started in" in comment


def test_init_table_keeps_its_relative_path_and_root(run, photos, monkeypatch):
    monkeypatch.chdir(photos.parent.parent)
    base = photos.parent.name
    rows = [
        "path,label",
        *(
            f"{path.relative_to(photos)},{path.parent.name}"
            for path in sorted(photos.rglob("*.png"))
        ),
    ]
    (photos / "list.csv").write_text("\n".join(rows))
    arguments = ("--images", f"{base}/photos/list.csv", "--task", "classification")
    code, _, err = run("init", f"{base}/s.yaml", *arguments, "--models", "small")
    assert code == DONE, err
    block = yaml.safe_load((photos.parent / "s.yaml").read_text())["datasets"]["list"]
    assert (block["path"], block["root"]) == (f"{base}/photos/list.csv", f"{base}/photos")


def test_init_torchvision_model_gets_its_newest_weights(run, photos, tmp_path):
    arguments = ("--task", "classification", "--models", "resnet50,alexnet", "--seeds", 1)
    code, _, _ = run("init", tmp_path / "s.yaml", "--images", photos, *arguments)
    assert code == DONE
    zoo = load_study(tmp_path / "s.yaml").zoo
    assert {name: entry.name for name, entry in zoo.items()} == {
        "resnet50": "IMAGENET1K_V2",
        "alexnet": "IMAGENET1K_V1",
    }


def test_init_reidentification_layout_is_recognised(run, tmp_path):
    from xferpipe.config.datasets import GeneratedVehicles, Veri776
    from xferpipe.config.jobs import GenerateJob
    from xferpipe.stages.generate import generate

    dataset = Veri776(generate=GeneratedVehicles(train_identities=4, test_identities=3, cameras=2))
    generate(GenerateJob(dataset=dataset, seed=0), root=tmp_path / "cars")
    arguments = ("--task", "retrieval", "--models", "small", "--json")
    code, out, err = run("init", tmp_path / "s.yaml", "--images", tmp_path / "cars", *arguments)
    assert code == DONE, err
    assert json.loads(out)["splits"].keys() == {"train", "query", "gallery"}
    assert load_study(tmp_path / "s.yaml").datasets["cars"].reader == "veri776"


def test_init_leaves_out_a_damaged_file_of_a_layout_of_identities(run, tmp_path):
    root = layouts.write("dukemtmc", tmp_path / "people")
    bad = "bounding_box_test/0007_c3_f0073.png"
    layouts.damage(root / bad)
    arguments = ("--images", root, "--task", "retrieval", "--models", "small")
    code, _, err = run("init", tmp_path / "s.yaml", *arguments)
    assert code == WRONG_INPUT
    assert bad in err
    assert "--skip-unreadable" in err
    code, out, err = run("init", tmp_path / "s.yaml", *arguments, "--skip-unreadable")
    assert code == DONE, err
    assert "images     15 (10 train, 3 gallery, 2 query)" in out
    assert f"note: 1 image is left out, as it cannot be decoded: {bad} (" in err
    written = load_study(tmp_path / "s.yaml").datasets["people"]
    assert (written.reader, written.unreadable) == ("dukemtmc", "skip")


def test_init_shows_what_a_pattern_read_of_the_first_files(run, tmp_path):
    for one in range(6):
        for camera in (1, 2):
            path = tmp_path / "cows" / f"cow{one}_cam{camera}.png"
            path.parent.mkdir(exist_ok=True)
            Image.new("RGB", (8, 16), (40 * one, 100 * camera, 0)).save(path)
    arguments = ("--images", tmp_path / "cows", "--task", "retrieval", "--models", "small")
    arguments += ("--pattern", r"cow(?P<identity>\d+)_cam(?P<camera>\d+)\.png")
    code, out, err = run("init", tmp_path / "s.yaml", *arguments)
    assert code == DONE, err
    shown = [line.split(maxsplit=1)[1] for line in out.splitlines() if line.startswith("read ")]
    assert [line.partition(":")[0] for line in shown] == [
        "cow0_cam1.png",
        "cow0_cam2.png",
        "cow1_cam1.png",
        "cow1_cam2.png",
        "cow2_cam1.png",
    ]
    assert shown[3].endswith(", identity 1, camera 2")
    written = load_study(tmp_path / "s.yaml").datasets["cows"]
    assert (written.reader, written.fit) == ("identity_folder", "stretch")


def test_init_asks_in_a_terminal_for_what_no_option_says(photos, tmp_path):
    """The task has a default, which Enter takes."""
    code = "import sys; from xferpipe.cli import main; main(sys.argv[1:])"
    answers = f"{photos}\n\nsmall\n"
    left, out, screen = in_terminal(code, "init", str(tmp_path / "s.yaml"), keys=answers)
    assert left == DONE, screen
    for question in ("Where are the images?", "classification or retrieval?", "Which models?"):
        assert question in screen
    assert "36 (" in out
    assert load_study(tmp_path / "s.yaml").targets["photos"].task == "classification"


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--task", "classification", "--models", "small"), "--images is needed"),
        (
            ("--images", "nowhere", "--task", "classification", "--models", "small"),
            "no such folder",
        ),
        (
            ("--images", "photos", "--task", "retrieval", "--models", "small"),
            "drawing query and gallery takes",
        ),
        (("--images", "photos", "--task", "classification"), "--models is needed"),
        (
            ("--images", "photos", "--task", "classification", "--models", "resnet51"),
            "'resnet51' is unknown",
        ),
        (
            (
                "--images",
                "photos",
                "--task",
                "classification",
                "--models",
                "small",
                "--name",
                "shapes",
            ),
            "give another name",
        ),
    ],
)
def test_init_wrong_input_is_one_message_and_no_file(run, photos, monkeypatch, words, says):
    monkeypatch.chdir(photos.parent)
    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    code, _, err = run("init", "s.yaml", *words)
    assert code == WRONG_INPUT
    assert says in err
    assert "Traceback" not in err
    assert not (photos.parent / "s.yaml").exists()


def test_init_existing_study_is_not_replaced_without_force(run, photos, tmp_path):
    (tmp_path / "s.yaml").write_text("mine")
    arguments = ("--images", photos, "--task", "classification", "--models", "small")
    code, _, err = run("init", tmp_path / "s.yaml", *arguments)
    assert code == WRONG_INPUT
    assert "--force" in err
    assert (tmp_path / "s.yaml").read_text() == "mine"
    assert run("init", tmp_path / "s.yaml", *arguments, "--force")[0] == DONE


def test_init_decodes_every_image_and_tells_all_that_cannot_be_read(run, photos, tmp_path):
    """The damage lies between sound ends: only decoding finds it."""
    for i in range(7):
        path = photos / "oak" / f"{i}.png"
        content = bytearray(path.read_bytes())
        start = content.index(b"IDAT") + 10
        content[start : start + 40] = bytes(40)
        path.write_bytes(content)
    arguments = ("--images", photos, "--task", "classification", "--models", "small")
    code, _, err = run("init", tmp_path / "s.yaml", *arguments)
    assert code == WRONG_INPUT
    assert "7 of 36 image files cannot be decoded" in err
    assert err.count("oak/") == 5
    assert "Traceback" not in err
    listed = tmp_path / "s_unreadable.csv"
    assert f"and 2 more, listed in {listed}" in err
    rows = listed.read_text().splitlines()
    assert rows[0] == "path,reason"
    assert [row.split(",")[0] for row in rows[1:]] == [
        str(photos / f"oak/{i}.png") for i in range(7)
    ]
    assert not (tmp_path / "s.yaml").exists()
    assert "--skip-unreadable" in err
    code, out, err = run("init", tmp_path / "s.yaml", *arguments, "--skip-unreadable")
    assert code == DONE
    assert "classes    3: ash (12), birch tree (12), oak (5)" in out
    assert "note: 7 images are left out, as they cannot be decoded: oak/0.png (" in err
    assert load_study(tmp_path / "s.yaml").datasets["photos"].unreadable == "skip"


def test_init_names_the_classes_and_tells_what_is_odd_of_the_files(run, photos, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (8, 9)).save(photos / "oak" / "turned.jpg", exif=exif)
    (photos / "ash" / "12.png").write_bytes((photos / "oak" / "3.png").read_bytes())
    (photos / "ash" / "labels.txt").write_text("ash")
    arguments = ("--images", photos, "--task", "classification", "--models", "small")
    code, out, err = run("init", tmp_path / "s.yaml", *arguments)
    assert code == DONE
    assert "classes    3: ash (13), birch tree (12), oak (13)" in out
    assert "note: 1 image is turned as its EXIF tag says: oak/turned.jpg" in err
    assert "note: 1 file is among the images and not read, as" in err
    assert "1 picture is in more than one class: ash/12.png = oak/3.png" in err.replace(
        "oak/3.png = ash/12.png", "ash/12.png = oak/3.png"
    )
    code, out, _ = run("init", tmp_path / "t.yaml", *arguments, "--json")
    facts = json.loads(out)
    assert facts["images_of_classes"] == {"ash": 13, "birch tree": 12, "oak": 13}
    assert len(facts["findings"]) >= 3


def test_init_bad_image_names_the_file(run, photos, tmp_path):
    (photos / "oak" / "0.png").write_bytes(b"")
    arguments = ("--images", photos, "--task", "classification", "--models", "small")
    code, _, err = run("init", tmp_path / "s.yaml", *arguments)
    assert code == WRONG_INPUT
    assert "oak/0.png" in err
