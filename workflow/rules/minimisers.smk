# Minimisers: pretrained solutions, the ways between them, and what fine-tuning makes of them.
# Reads zoo entries, fine-tuned weights and images. Writes results/{probe,probe_finetuned,path,continual}/.


rule probe:
    input:
        unpack(solution_inputs),
    output:
        "results/probe/{model}/minimisers.parquet",
    log:
        "results/logs/probe/{model}.log",
    benchmark:
        "results/benchmarks/probe/{model}.tsv"
    wildcard_constraints:
        model=matches(PRETRAINED),
    conda:
        "../envs/xferpipe.yaml"
    threads: STUDY.compute_threads
    resources:
        gpu=GPUS,
        mem_mb=grown(4000),
        runtime=grown(240),
    params:
        job=slice_of("probe"),
        code=code_of("probe"),
        key=key_of("probe"),
    script:
        "../scripts/probe.py"


rule probe_finetuned:
    input:
        unpack(finetuned_inputs),
    output:
        "results/probe_finetuned/{target}/{shots}/{model}/{recipe}/seed{seed}/minimisers.parquet",
    log:
        "results/logs/probe_finetuned/{target}/{shots}/{model}/{recipe}/seed{seed}.log",
    benchmark:
        "results/benchmarks/probe_finetuned/{target}/{shots}/{model}/{recipe}/seed{seed}.tsv"
    conda:
        "../envs/xferpipe.yaml"
    threads: STUDY.compute_threads
    resources:
        gpu=GPUS,
        mem_mb=grown(4000),
        runtime=grown(120),
    params:
        job=slice_of("probe_finetuned"),
        code=code_of("probe_finetuned"),
        key=key_of("probe_finetuned"),
    script:
        "../scripts/probe_finetuned.py"


rule path:
    input:
        unpack(pair_inputs),
    output:
        distances="results/path/{first}/{second}/distances.parquet",
        paths="results/path/{first}/{second}/paths.parquet",
    log:
        "results/logs/path/{first}/{second}.log",
    benchmark:
        "results/benchmarks/path/{first}/{second}.tsv"
    wildcard_constraints:
        first=matches(PRETRAINED),
        second=matches(PRETRAINED),
    conda:
        "../envs/xferpipe.yaml"
    threads: STUDY.compute_threads
    resources:
        gpu=GPUS,
        mem_mb=grown(8000),
        runtime=grown(240),
    params:
        job=slice_of("path"),
        code=code_of("path"),
        key=key_of("path"),
    script:
        "../scripts/path.py"


rule continual:
    input:
        unpack(target_inputs),
    output:
        "results/continual/{target}/{model}/seed{seed}/forgetting.parquet",
    log:
        "results/logs/continual/{target}/{model}/seed{seed}.log",
    benchmark:
        "results/benchmarks/continual/{target}/{model}/seed{seed}.tsv"
    conda:
        "../envs/xferpipe.yaml"
    threads: STUDY.compute_threads
    resources:
        gpu=GPUS,
        mem_mb=grown(8000),
        runtime=grown(720),
    params:
        job=slice_of("continual"),
        code=code_of("continual"),
        key=key_of("continual"),
        checkpoint="results/checkpoints/continual/{target}/{model}/seed{seed}.pt",
    script:
        "../scripts/continual.py"
