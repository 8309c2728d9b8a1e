# Results: all rows in typed Parquet tables, scores judged against fine-tunes, one report page.
# Reads every job's rows. Writes tables/, figures/ and report.html.


rule aggregate:
    input:
        unpack(RULES.inputs("aggregate")),
    output:
        **RULES.outputs("aggregate"),
    log:
        RULES.log("aggregate"),
    benchmark:
        RULES.benchmark("aggregate")
    conda:
        "../envs/xferpipe.yaml"
    threads: 1
    resources:
        gpu=0,
        mem_mb=grown(4000),
        runtime=grown(60),
    params:
        key=RULES.key("aggregate"),
    script:
        "../scripts/stage.py"


rule report:
    input:
        unpack(RULES.inputs("report")),
    output:
        page=report(
            RULES.outputs("report")["page"],
            caption="../report/report.rst",
            category="Report",
        ),
    log:
        RULES.log("report"),
    benchmark:
        RULES.benchmark("report")
    conda:
        "../envs/xferpipe.yaml"
    threads: 1
    resources:
        gpu=0,
        mem_mb=grown(2000),
        runtime=grown(30),
    params:
        key=RULES.key("report"),
    script:
        "../scripts/stage.py"


rule figures:
    input:
        unpack(RULES.inputs("figures")),
    output:
        [
            report(
                path,
                caption=f"../report/{figure}.rst",
                category="Figures",
                labels={"figure": figure.replace("_", " ")},
            )
            for figure, path in RULES.outputs("figures").items()
        ],
    log:
        RULES.log("figures"),
    benchmark:
        RULES.benchmark("figures")
    conda:
        "../envs/xferpipe.yaml"
    threads: 1
    resources:
        gpu=0,
        mem_mb=grown(2000),
        runtime=grown(30),
    params:
        key=RULES.key("figures"),
    script:
        "../scripts/stage.py"
