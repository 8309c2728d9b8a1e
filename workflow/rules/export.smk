# Exports: the model that the answer picks for a target, as a folder that can be used anywhere.
# Reads tables/ and the weights of fine-tunes. Writes export/<target>/<shots>/.


rule export:
    input:
        unpack(RULES.inputs("export")),
    output:
        **RULES.outputs("export"),
    log:
        RULES.log("export"),
    benchmark:
        RULES.benchmark("export")
    conda:
        "../envs/xferpipe.yaml"
    threads: RULES.threads("export")
    resources:
        **RULES.resources("export"),
    params:
        **RULES.params("export"),
    script:
        "../scripts/stage.py"


rule export_onnx:
    input:
        unpack(RULES.inputs("export_onnx")),
    output:
        **RULES.outputs("export_onnx"),
    log:
        RULES.log("export_onnx"),
    benchmark:
        RULES.benchmark("export_onnx")
    conda:
        "../envs/xferpipe.yaml"
    threads: RULES.threads("export_onnx")
    resources:
        **RULES.resources("export_onnx"),
    params:
        **RULES.params("export_onnx"),
    script:
        "../scripts/stage.py"
