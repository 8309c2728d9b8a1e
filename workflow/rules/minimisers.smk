# Minimisers: pretrained solutions, the ways between them, and what fine-tuning makes of them.
# Reads zoo entries, fine-tuned weights and images. Writes {probe,probe_finetuned,path,continual}/.


rule probe:
    input:
        unpack(RULES.inputs("probe")),
    output:
        **RULES.outputs("probe"),
    log:
        RULES.log("probe"),
    benchmark:
        RULES.benchmark("probe")
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
        key=RULES.key("probe"),
    script:
        "../scripts/stage.py"


rule probe_finetuned:
    input:
        unpack(RULES.inputs("probe_finetuned")),
    output:
        **RULES.outputs("probe_finetuned"),
    log:
        RULES.log("probe_finetuned"),
    benchmark:
        RULES.benchmark("probe_finetuned")
    conda:
        "../envs/xferpipe.yaml"
    threads: STUDY.compute_threads
    resources:
        gpu=GPUS,
        mem_mb=grown(4000),
        runtime=grown(120),
    params:
        key=RULES.key("probe_finetuned"),
    script:
        "../scripts/stage.py"


rule path:
    input:
        unpack(RULES.inputs("path")),
    output:
        **RULES.outputs("path"),
    log:
        RULES.log("path"),
    benchmark:
        RULES.benchmark("path")
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
        key=RULES.key("path"),
    script:
        "../scripts/stage.py"


rule continual:
    input:
        unpack(RULES.inputs("continual")),
    output:
        **RULES.outputs("continual"),
    log:
        RULES.log("continual"),
    benchmark:
        RULES.benchmark("continual")
    conda:
        "../envs/xferpipe.yaml"
    threads: STUDY.compute_threads
    resources:
        gpu=GPUS,
        mem_mb=grown(8000),
        runtime=grown(720),
    params:
        key=RULES.key("continual"),
        checkpoint=RULES.checkpoint("continual"),
    script:
        "../scripts/stage.py"
