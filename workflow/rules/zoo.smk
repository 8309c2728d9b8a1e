# The zoo: every entry ends as weights, a card and its source's class means, wherever it came from.
# Reads packed sources, caches of pretrained weights, or nothing. Writes zoo/<model>/, and
# cost/<model>/: what an image costs the model.


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
        model=RULES.models_of("pretrain"),
    conda:
        "../envs/xferpipe.yaml"
    threads: RULES.threads("pretrain")
    resources:
        **RULES.resources("pretrain"),
    params:
        **RULES.params("pretrain"),
    script:
        "../scripts/stage.py"


rule expert:
    input:
        unpack(RULES.inputs("expert")),
    output:
        **RULES.outputs("expert"),
    log:
        RULES.log("expert"),
    benchmark:
        RULES.benchmark("expert")
    conda:
        "../envs/xferpipe.yaml"
    threads: RULES.threads("expert")
    resources:
        **RULES.resources("expert"),
    params:
        **RULES.params("expert"),
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
        model=RULES.models_of("domain"),
    conda:
        "../envs/xferpipe.yaml"
    threads: RULES.threads("domain")
    resources:
        **RULES.resources("domain"),
    params:
        **RULES.params("domain"),
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
        model=RULES.models_of("load_weights"),
    # First of all that can run: weights that do not fit are told before hours of other jobs.
    priority: 1
    conda:
        "../envs/xferpipe.yaml"
    threads: RULES.threads("load_weights")
    resources:
        **RULES.resources("load_weights"),
    params:
        **RULES.params("load_weights"),
    script:
        "../scripts/stage.py"


rule cost:
    input:
        unpack(RULES.inputs("cost")),
    output:
        **RULES.outputs("cost"),
    log:
        RULES.log("cost"),
    benchmark:
        RULES.benchmark("cost")
    conda:
        "../envs/xferpipe.yaml"
    threads: RULES.threads("cost")
    resources:
        **RULES.resources("cost"),
    params:
        **RULES.params("cost"),
    script:
        "../scripts/stage.py"
