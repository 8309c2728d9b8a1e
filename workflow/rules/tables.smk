# Results: all rows in typed Parquet tables, scores judged against fine-tunes, one report page.
# Reads every job's rows. Writes results/tables/ and results/report.html.


rule aggregate:
    input:
        zoo=zoo_weights("card.parquet"),
        epochs=pretrain_epochs() + finetune_tables("epochs.parquet"),
        scores=score_tables(),
        features=score_tables("features", "features.safetensors"),
        finetunes=finetune_tables("run.parquet"),
        retrieval=finetune_tables("retrieval.parquet", "retrieval", "retrieval"),
        queries=finetune_tables("queries.parquet", "retrieval", "retrieval"),
        ranked_lists=finetune_tables("ranked_lists.parquet", "retrieval", "retrieval"),
        camera_pairs=finetune_tables("camera_pairs.parquet", "retrieval", "retrieval"),
        minimisers=minimiser_tables("minimisers.parquet", "probe", "probe_finetuned"),
        distances=minimiser_tables("distances.parquet", "path"),
        paths=minimiser_tables("paths.parquet", "path"),
        forgetting=minimiser_tables("forgetting.parquet", "continual"),
        feature_correlation=feature_correlation_tables(),
    output:
        directory("results/tables"),
    log:
        "results/logs/aggregate.log",
    benchmark:
        "results/benchmarks/aggregate.tsv"
    conda:
        "../envs/xferpipe.yaml"
    threads: 1
    resources:
        gpu=0,
        mem_mb=grown(4000),
        runtime=grown(60),
    params:
        job=slice_of("aggregate"),
        code=code_of("aggregate"),
        key=key_of("aggregate"),
    script:
        "../scripts/aggregate.py"


rule report:
    input:
        tables="results/tables",
    output:
        page=report(
            "results/report.html", caption="../report/report.rst", category="Report"
        ),
    log:
        "results/logs/report.log",
    benchmark:
        "results/benchmarks/report.tsv"
    conda:
        "../envs/xferpipe.yaml"
    threads: 1
    resources:
        gpu=0,
        mem_mb=grown(2000),
        runtime=grown(30),
    params:
        job=slice_of("report"),
        code=code_of("report"),
        key=key_of("report"),
    script:
        "../scripts/report.py"


rule figures:
    input:
        tables="results/tables",
    output:
        [
            report(
                f"results/figures/{figure}.svg",
                caption=f"../report/{figure}.rst",
                category="Figures",
                labels={"figure": figure.replace("_", " ")},
            )
            for figure in FIGURES
        ],
    log:
        "results/logs/figures.log",
    benchmark:
        "results/benchmarks/figures.tsv"
    conda:
        "../envs/xferpipe.yaml"
    threads: 1
    resources:
        gpu=0,
        mem_mb=grown(2000),
        runtime=grown(30),
    params:
        job=slice_of("report"),
        code=code_of("report"),
        key=key_of("report"),
    script:
        "../scripts/figures.py"
