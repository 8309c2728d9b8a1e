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
    conda:
        "../envs/xferpipe.yaml"
    threads: RULES.threads("probe")
    resources:
        **RULES.resources("probe"),
    params:
        **RULES.params("probe"),
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
    threads: RULES.threads("probe_finetuned")
    resources:
        **RULES.resources("probe_finetuned"),
    params:
        **RULES.params("probe_finetuned"),
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
    conda:
        "../envs/xferpipe.yaml"
    threads: RULES.threads("path")
    resources:
        **RULES.resources("path"),
    params:
        **RULES.params("path"),
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
    threads: RULES.threads("continual")
    resources:
        **RULES.resources("continual"),
    params:
        **RULES.params("continual"),
    script:
        "../scripts/stage.py"
