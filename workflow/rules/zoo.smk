# The zoo: every entry ends as weights, a card and its source's class means, wherever it came from.
# Reads packed sources, caches of pretrained weights, or nothing. Writes zoo/<model>/.


rule pretrain:
    input:
        unpack(RULES.inputs("pretrain")),
    output:
        **RULES.outputs("pretrain"),
    log:
        RULES.log("pretrain"),
    benchmark:
        RULES.benchmark("pretrain")
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
        key=RULES.key("pretrain"),
        checkpoint=RULES.checkpoint("pretrain"),
    script:
        "../scripts/stage.py"


rule expert:
    input:
        unpack(RULES.inputs("expert")),
    output:
        domains=directory(RULES.outputs("expert")["domains"]),
        epochs=RULES.outputs("expert")["epochs"],
    log:
        RULES.log("expert"),
    benchmark:
        RULES.benchmark("expert")
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
        key=RULES.key("expert"),
        checkpoint=RULES.checkpoint("expert"),
    script:
        "../scripts/stage.py"


rule domain:
    input:
        unpack(RULES.inputs("domain")),
    output:
        **RULES.outputs("domain"),
    log:
        RULES.log("domain"),
    benchmark:
        RULES.benchmark("domain")
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
        key=RULES.key("domain"),
    script:
        "../scripts/stage.py"


rule load_weights:
    input:
        unpack(RULES.inputs("load_weights")),
    output:
        **RULES.outputs("load_weights"),
    log:
        RULES.log("load_weights"),
    benchmark:
        RULES.benchmark("load_weights")
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
        key=RULES.key("load_weights"),
    script:
        "../scripts/stage.py"
