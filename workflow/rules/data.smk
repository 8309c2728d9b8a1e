# Data sets: from files, generators or packages to one manifest and one array of images each.
# Reads the folders that the study names. Writes {generate,manifest,pack}/<dataset>/.


rule generate:
    input:
        unpack(RULES.inputs("generate")),
    output:
        **RULES.outputs("generate"),
    log:
        RULES.log("generate"),
    benchmark:
        RULES.benchmark("generate")
    conda:
        "../envs/xferpipe.yaml"
    threads: RULES.threads("generate")
    resources:
        **RULES.resources("generate"),
    params:
        **RULES.params("generate"),
    script:
        "../scripts/stage.py"


rule manifest:
    input:
        unpack(RULES.inputs("manifest")),
    output:
        **RULES.outputs("manifest"),
    log:
        RULES.log("manifest"),
    benchmark:
        RULES.benchmark("manifest")
    conda:
        "../envs/xferpipe.yaml"
    threads: RULES.threads("manifest")
    resources:
        **RULES.resources("manifest"),
    params:
        **RULES.params("manifest"),
    script:
        "../scripts/stage.py"


rule pack:
    input:
        unpack(RULES.inputs("pack")),
    output:
        **RULES.outputs("pack"),
    log:
        RULES.log("pack"),
    benchmark:
        RULES.benchmark("pack")
    conda:
        "../envs/xferpipe.yaml"
    threads: RULES.threads("pack")
    resources:
        **RULES.resources("pack"),
    params:
        **RULES.params("pack"),
    script:
        "../scripts/stage.py"
