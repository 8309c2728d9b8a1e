# xferpipe: which pretrained model to fine-tune, with what recipe, and how sure that is.
#
#     snakemake --cores all                                   the default study, config.yaml
#     snakemake --cores all --configfile studies/s000.yaml    another study
#     snakemake --cores all --config smoke=true               its smallest form
from pathlib import Path

from snakemake.utils import min_version

min_version("9.27")


ROOT = Path(workflow.basedir)

# Snakemake lays a --configfile over the default one; two studies must not mix, so it is either or.
if not workflow.configfiles:

    configfile: ROOT / "config.yaml"


include: "workflow/rules/common.smk"
include: "workflow/rules/data.smk"
include: "workflow/rules/zoo.smk"
include: "workflow/rules/scores.smk"
include: "workflow/rules/choose.smk"
include: "workflow/rules/finetune.smk"
include: "workflow/rules/minimisers.smk"
include: "workflow/rules/tables.smk"
include: "workflow/rules/export.smk"


# The end results, and the intermediates whose loss must be noticed.
rule all:
    input:
        RULES.kept(),
