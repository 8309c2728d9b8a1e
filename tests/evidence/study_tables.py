"""Tables of a small finished study."""

from pathlib import Path

from xferpipe.records import frame, write_table

RUN = {"shots": "full", "recipe": "sgd"}


def write_tables(folder: Path) -> Path:
    """Write the tables of a study: two targets, three models, two seeds; one run diverged."""
    runs, predictions = [], []
    for target in ("cats", "dogs"):
        for i, model in enumerate("abc"):
            for seed in (0, 1):
                run = RUN | {"target": target, "model": model, "seed": seed}
                about = {"task": "classification", "judged_by": "accuracy", "seconds": 2.0}
                if (target, model, seed) == ("dogs", "c", 1):
                    runs.append(run | about | {"status": "diverged"})
                    continue
                figures = {"validation_accuracy": (6 + i) / 10, "validation_images": 10}
                figures |= {"test_accuracy": 0.7, "test_images": 30}
                runs.append(run | about | {"status": "finished"} | figures)
                predictions += [
                    run | {"split": "validation", "row": row, "label": 1, "predicted": row < 6 + i}
                    for row in reversed(range(10))
                ]
    scores = [
        {"target": target, "shots": "full", "model": model, "method": "lfc", "variant": variant}
        | {"value": value, "seconds": 0.1, "feature_seconds": 0.5}
        for target in ("cats", "birds")
        for model in "abc"
        for variant, value in (("", 0.5), ("k=2", float("nan")))
    ]
    zoo = [{"model": model, "parameters": 1000, "source_accuracy": None} for model in "abc"]
    for name, rows in (
        ("finetunes", runs),
        ("predictions", predictions),
        ("scores", scores),
        ("zoo", zoo),
        ("retrieval", []),
    ):
        write_table(name, frame(name, rows), folder / f"{name}.parquet")
    return folder
