# Fine-tunes: one run each, evaluated on the test split; retrieval targets are ranked as well.
# Reads target images and zoo weights. Writes {finetune,retrieval}/<target>/.../seed<k>/.


rule finetune:
    input:
        unpack(RULES.inputs("finetune")),
    output:
        **RULES.outputs("finetune"),
    log:
        RULES.log("finetune"),
    benchmark:
        RULES.benchmark("finetune")
    conda:
        "../envs/xferpipe.yaml"
    threads: STUDY.compute_threads
    resources:
        gpu=GPUS,
        mem_mb=grown(8000),
        runtime=grown(720),
    params:
        key=RULES.key("finetune"),
        checkpoint=RULES.checkpoint("finetune"),
    script:
        "../scripts/stage.py"


rule retrieval:
    input:
        unpack(RULES.inputs("retrieval")),
    output:
        **{
            name: path
            for name, path in RULES.outputs("retrieval").items()
            if name != "picture"
        },
        picture=report(
            RULES.outputs("retrieval")["picture"],
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
        RULES.log("retrieval"),
    benchmark:
        RULES.benchmark("retrieval")
    conda:
        "../envs/xferpipe.yaml"
    threads: STUDY.compute_threads
    resources:
        gpu=GPUS,
        mem_mb=grown(8000),
        runtime=grown(120),
    params:
        key=RULES.key("retrieval"),
    script:
        "../scripts/stage.py"
