# Data sets: from files, generators or packages to one manifest and one array of images each.
# Reads the folders that the study names. Writes {generate,manifest,pack}/<dataset>/.


rule generate:
    input:
        unpack(RULES.inputs("generate")),
    output:
        root=directory(RULES.outputs("generate")["root"]),
    log:
        RULES.log("generate"),
    benchmark:
        RULES.benchmark("generate")
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
        key=RULES.key("generate"),
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
    threads: 1
    resources:
        gpu=0,
        mem_mb=grown(2000),
        runtime=grown(30),
    params:
        key=RULES.key("manifest"),
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
    threads: 1
    resources:
        gpu=0,
        mem_mb=grown(4000),
        runtime=grown(120),
    params:
        key=RULES.key("pack"),
    script:
        "../scripts/stage.py"
