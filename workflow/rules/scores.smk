# Scores: one pass of a target's probe images through a model, then every score from what is cached.
# Reads target images and zoo entries. Writes results/{features,gradients,reference,scores}/.


rule features:
    input:
        unpack(target_inputs),
    output:
        "results/features/{target}/{shots}/{model}/features.safetensors",
    log:
        "results/logs/features/{target}/{shots}/{model}.log",
    benchmark:
        "results/benchmarks/features/{target}/{shots}/{model}.tsv"
    conda:
        "../envs/xferpipe.yaml"
    threads: STUDY.compute_threads
    resources:
        gpu=GPUS,
        mem_mb=grown(4000),
        runtime=grown(60),
    params:
        job=slice_of("features"),
        code=code_of("features"),
        key=key_of("features"),
    script:
        "../scripts/features.py"


rule gradients:
    input:
        unpack(target_inputs),
    output:
        "results/gradients/{target}/{shots}/{model}/gradients.safetensors",
    log:
        "results/logs/gradients/{target}/{shots}/{model}.log",
    benchmark:
        "results/benchmarks/gradients/{target}/{shots}/{model}.tsv"
    conda:
        "../envs/xferpipe.yaml"
    threads: STUDY.compute_threads
    resources:
        gpu=GPUS,
        mem_mb=grown(8000),
        runtime=grown(60),
    params:
        job=slice_of("gradients"),
        code=code_of("gradients"),
        key=key_of("gradients"),
    script:
        "../scripts/gradients.py"


rule reference:
    input:
        unpack(reference_inputs),
    output:
        "results/reference/{target}/{shots}/features.safetensors",
    log:
        "results/logs/reference/{target}/{shots}.log",
    benchmark:
        "results/benchmarks/reference/{target}/{shots}.tsv"
    conda:
        "../envs/xferpipe.yaml"
    threads: STUDY.compute_threads
    resources:
        gpu=GPUS,
        mem_mb=grown(4000),
        runtime=grown(60),
    params:
        job=slice_of("reference"),
        code=code_of("reference"),
        key=key_of("reference"),
    script:
        "../scripts/reference.py"


rule scores:
    input:
        unpack(score_inputs),
        features="results/features/{target}/{shots}/{model}/features.safetensors",
        card="results/zoo/{model}/card.parquet",
        class_means="results/zoo/{model}/class_means.safetensors",
    output:
        "results/scores/{target}/{shots}/{model}/scores.parquet",
    log:
        "results/logs/scores/{target}/{shots}/{model}.log",
    benchmark:
        "results/benchmarks/scores/{target}/{shots}/{model}.tsv"
    conda:
        "../envs/xferpipe.yaml"
    threads: STUDY.compute_threads
    resources:
        gpu=0,
        mem_mb=grown(4000),
        runtime=grown(60),
    params:
        job=slice_of("scores"),
        code=code_of("scores"),
        key=key_of("scores"),
    script:
        "../scripts/scores.py"
