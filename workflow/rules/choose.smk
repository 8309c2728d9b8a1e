# Races: rounds that ask for the next fine-tunes, until the answer is found or the budget is spent.
# Reads scores, cards and what runs there are. Writes choose/<target>/<shots>/round<k>/.


checkpoint choose:
    input:
        unpack(RULES.inputs("choose")),
    output:
        **RULES.outputs("choose"),
    log:
        RULES.log("choose"),
    benchmark:
        RULES.benchmark("choose")
    conda:
        "../envs/xferpipe.yaml"
    threads: RULES.threads("choose")
    resources:
        **RULES.resources("choose"),
    params:
        **RULES.params("choose"),
    script:
        "../scripts/stage.py"
