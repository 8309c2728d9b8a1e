# The zoo: every entry ends as weights, a card and its source's class means, wherever it came from.
# Reads packed sources, caches of pretrained weights, or nothing. Writes results/zoo/<model>/.


rule pretrain:
    input:
        unpack(source_inputs),
    output:
        weights="results/zoo/{model}/weights.safetensors",
        card="results/zoo/{model}/card.parquet",
        class_means="results/zoo/{model}/class_means.safetensors",
        epochs="results/zoo/{model}/epochs.parquet",
    log:
        "results/logs/pretrain/{model}.log",
    benchmark:
        "results/benchmarks/pretrain/{model}.tsv"
    wildcard_constraints:
        model=matches(PRETRAINED),
    conda:
        "../envs/xferpipe.yaml"
    threads: STUDY.compute_threads
    resources:
        gpu=GPUS,
        mem_mb=grown(8000),
        runtime=grown(1440),
    params:
        job=slice_of("pretrain"),
        code=code_of("pretrain"),
        key=key_of("pretrain"),
        checkpoint="results/checkpoints/zoo/{model}.pt",
    script:
        "../scripts/pretrain.py"


rule expert:
    input:
        unpack(expert_inputs),
    output:
        domains=directory("results/expert/{expert}/domains"),
        epochs="results/expert/{expert}/epochs.parquet",
    log:
        "results/logs/expert/{expert}.log",
    benchmark:
        "results/benchmarks/expert/{expert}.tsv"
    wildcard_constraints:
        expert=matches(list(STUDY.experts)),
    conda:
        "../envs/xferpipe.yaml"
    threads: STUDY.compute_threads
    resources:
        gpu=GPUS,
        mem_mb=grown(16000),
        runtime=grown(2880),
    params:
        job=slice_of("expert"),
        code=code_of("expert"),
        key=key_of("expert"),
        checkpoint="results/checkpoints/expert/{expert}.pt",
    script:
        "../scripts/expert.py"


rule domain:
    input:
        lambda wildcards: f"results/expert/{STUDY.zoo[wildcards.model].expert}/domains",
    output:
        weights="results/zoo/{model}/weights.safetensors",
        card="results/zoo/{model}/card.parquet",
        class_means="results/zoo/{model}/class_means.safetensors",
    log:
        "results/logs/domain/{model}.log",
    benchmark:
        "results/benchmarks/domain/{model}.tsv"
    wildcard_constraints:
        model=matches(DOMAINS),
    conda:
        "../envs/xferpipe.yaml"
    threads: 1
    resources:
        gpu=0,
        mem_mb=grown(1000),
        runtime=grown(10),
    params:
        job=slice_of("domain"),
        code=code_of("domain"),
        key=key_of("domain"),
    script:
        "../scripts/domain.py"


rule load_weights:
    output:
        weights="results/zoo/{model}/weights.safetensors",
        card="results/zoo/{model}/card.parquet",
        class_means="results/zoo/{model}/class_means.safetensors",
    log:
        "results/logs/load_weights/{model}.log",
    benchmark:
        "results/benchmarks/load_weights/{model}.tsv"
    wildcard_constraints:
        model=matches(LOADED),
    conda:
        "../envs/xferpipe.yaml"
    threads: 1
    resources:
        gpu=0,
        mem_mb=grown(4000),
        runtime=grown(60),
    params:
        job=slice_of("load_weights"),
        code=code_of("load_weights"),
        key=key_of("load_weights"),
    script:
        "../scripts/load_weights.py"
