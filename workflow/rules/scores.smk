# Scores: one pass of a target's probe images through a model, then every score from what is cached.
# Reads target images and zoo entries. Writes {features,gradients,reference,scores}/.


rule features:
    input:
        unpack(RULES.inputs("features")),
    output:
        **RULES.outputs("features"),
    log:
        RULES.log("features"),
    benchmark:
        RULES.benchmark("features")
    conda:
        "../envs/xferpipe.yaml"
    threads: STUDY.compute_threads
    resources:
        gpu=GPUS,
        mem_mb=grown(4000),
        runtime=grown(60),
    params:
        key=RULES.key("features"),
    script:
        "../scripts/stage.py"


rule gradients:
    input:
        unpack(RULES.inputs("gradients")),
    output:
        **RULES.outputs("gradients"),
    log:
        RULES.log("gradients"),
    benchmark:
        RULES.benchmark("gradients")
    conda:
        "../envs/xferpipe.yaml"
    threads: STUDY.compute_threads
    resources:
        gpu=GPUS,
        mem_mb=grown(8000),
        runtime=grown(60),
    params:
        key=RULES.key("gradients"),
    script:
        "../scripts/stage.py"


rule reference:
    input:
        unpack(RULES.inputs("reference")),
    output:
        **RULES.outputs("reference"),
    log:
        RULES.log("reference"),
    benchmark:
        RULES.benchmark("reference")
    conda:
        "../envs/xferpipe.yaml"
    threads: STUDY.compute_threads
    resources:
        gpu=GPUS,
        mem_mb=grown(4000),
        runtime=grown(60),
    params:
        key=RULES.key("reference"),
    script:
        "../scripts/stage.py"


rule scores:
    input:
        unpack(RULES.inputs("scores")),
    output:
        **RULES.outputs("scores"),
    log:
        RULES.log("scores"),
    benchmark:
        RULES.benchmark("scores")
    conda:
        "../envs/xferpipe.yaml"
    threads: STUDY.compute_threads
    resources:
        gpu=0,
        mem_mb=grown(4000),
        runtime=grown(60),
    params:
        key=RULES.key("scores"),
    script:
        "../scripts/stage.py"
