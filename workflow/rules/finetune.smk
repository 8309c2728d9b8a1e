# Fine-tunes: one run each, evaluated on the test split; retrieval targets are ranked as well.
# Reads target images and zoo weights. Writes results/{finetune,retrieval}/<target>/.../seed<k>/.


rule finetune:
    input:
        unpack(target_inputs),
    output:
        weights="results/finetune/{target}/{shots}/{model}/{recipe}/seed{seed}/weights.safetensors",
        run="results/finetune/{target}/{shots}/{model}/{recipe}/seed{seed}/run.parquet",
        epochs="results/finetune/{target}/{shots}/{model}/{recipe}/seed{seed}/epochs.parquet",
        feature_correlation="results/finetune/{target}/{shots}/{model}/{recipe}/seed{seed}/feature_correlation.parquet",
    log:
        "results/logs/finetune/{target}/{shots}/{model}/{recipe}/seed{seed}.log",
    benchmark:
        "results/benchmarks/finetune/{target}/{shots}/{model}/{recipe}/seed{seed}.tsv"
    conda:
        "../envs/xferpipe.yaml"
    threads: STUDY.compute_threads
    resources:
        gpu=GPUS,
        mem_mb=grown(8000),
        runtime=grown(720),
    params:
        job=slice_of("finetune"),
        code=code_of("finetune"),
        key=key_of("finetune"),
        checkpoint="results/checkpoints/finetune/{target}/{shots}/{model}/{recipe}/seed{seed}.pt",
    script:
        "../scripts/finetune.py"


rule retrieval:
    input:
        unpack(retrieval_inputs),
    output:
        retrieval="results/retrieval/{target}/{shots}/{model}/{recipe}/seed{seed}/retrieval.parquet",
        queries="results/retrieval/{target}/{shots}/{model}/{recipe}/seed{seed}/queries.parquet",
        ranked_lists="results/retrieval/{target}/{shots}/{model}/{recipe}/seed{seed}/ranked_lists.parquet",
        camera_pairs="results/retrieval/{target}/{shots}/{model}/{recipe}/seed{seed}/camera_pairs.parquet",
        picture=report(
            "results/retrieval/{target}/{shots}/{model}/{recipe}/seed{seed}/ranked_lists.png",
            caption="../report/ranked_lists.rst",
            category="Ranked lists",
            labels={
                "target": "{target}",
                "model": "{model}",
                "recipe": "{recipe}",
                "seed": "{seed}",
            },
        ),
    log:
        "results/logs/retrieval/{target}/{shots}/{model}/{recipe}/seed{seed}.log",
    benchmark:
        "results/benchmarks/retrieval/{target}/{shots}/{model}/{recipe}/seed{seed}.tsv"
    conda:
        "../envs/xferpipe.yaml"
    threads: STUDY.compute_threads
    resources:
        gpu=GPUS,
        mem_mb=grown(8000),
        runtime=grown(120),
    params:
        job=slice_of("retrieval"),
        code=code_of("retrieval"),
        key=key_of("retrieval"),
    script:
        "../scripts/retrieval.py"
