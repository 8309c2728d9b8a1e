# Data sets: from files, generators or packages to one manifest and one array of images each.
# Reads the folders that the study names. Writes results/{generate,manifest,pack}/<dataset>/.


rule generate:
    output:
        directory("results/generate/{dataset}"),
    log:
        "results/logs/generate/{dataset}.log",
    benchmark:
        "results/benchmarks/generate/{dataset}.tsv"
    wildcard_constraints:
        dataset=matches(GENERATED),
    conda:
        "../envs/xferpipe.yaml"
    threads: 1
    resources:
        gpu=0,
        mem_mb=grown(1000),
        runtime=grown(10),
    params:
        job=slice_of("generate"),
        code=code_of("generate"),
        key=key_of("generate"),
    script:
        "../scripts/generate.py"


rule manifest:
    input:
        root=lambda wildcards: dataset_root(wildcards.dataset),
    output:
        "results/manifest/{dataset}/manifest.parquet",
    log:
        "results/logs/manifest/{dataset}.log",
    benchmark:
        "results/benchmarks/manifest/{dataset}.tsv"
    conda:
        "../envs/xferpipe.yaml"
    threads: 1
    resources:
        gpu=0,
        mem_mb=grown(2000),
        runtime=grown(30),
    params:
        job=slice_of("manifest"),
        code=code_of("manifest"),
        key=key_of("manifest"),
    script:
        "../scripts/manifest.py"


rule pack:
    input:
        manifest="results/manifest/{dataset}/manifest.parquet",
        root=lambda wildcards: dataset_root(wildcards.dataset),
    output:
        "results/pack/{dataset}/images.npy",
    log:
        "results/logs/pack/{dataset}.log",
    benchmark:
        "results/benchmarks/pack/{dataset}.tsv"
    conda:
        "../envs/xferpipe.yaml"
    threads: 1
    resources:
        gpu=0,
        mem_mb=grown(4000),
        runtime=grown(120),
    params:
        job=slice_of("pack"),
        code=code_of("pack"),
        key=key_of("pack"),
    script:
        "../scripts/pack.py"
