"""Rounds of races, written as their jobs would write them."""

from __future__ import annotations

from tests.graph.studies import _Keys

from xferpipe.config.load import load_study
from xferpipe.graph.environment import Environment
from xferpipe.graph.races import Races
from xferpipe.graph.stages import STAGES
from xferpipe.records import frame, write_table
from xferpipe.records.stamp import stamping

PLACE = ("digits", "full")
LIBRARIES = {name: "" for stage in STAGES.values() for name in stage.libraries}


class Written:
    """A study and its results, in which rounds are written as their jobs would write them."""

    def __init__(self, study, results):
        self.results = results
        self.load(study)

    def load(self, study):
        study = load_study(study)
        self.keys = _Keys(study, Environment("", LIBRARIES))
        self.races = Races(self.keys, self.results)

    @property
    def study(self):
        return self.keys.study

    def write(self, number, *asked, stopped=None, place=PLACE, top=(), named=None):
        """Write a round that asks for (model, recipe, seed), with the key that it has now."""
        job = ("choose", *place, str(number))
        rows = []
        for model, recipe in self.study.races()[place].candidates():
            seeds = [seed for m, r, seed in asked if (m, r) == (model, recipe)]
            rows.append(
                {
                    **dict(zip(("target", "shots"), place, strict=True)),
                    **{"round": number, "model": model, "recipe": recipe},
                    **{"first_seed": min(seeds, default=0), "chosen": len(seeds)},
                    **{"stopped": stopped, "seconds": 1800.0},
                    **{"top": (model, recipe) in top, "named": (model, recipe) == named},
                }
            )
        path = self.results / STAGES["choose"].path(job[1:], "decision")
        with stamping(self.keys(*job).stamp):
            write_table("decisions", frame("decisions", rows), path)
        return path

    def race(self, **last):
        """Write a race of three rounds and return their files; `last` is of the last round."""
        files = []
        rounds = [[("drawn", "sgd", 0), ("drawn", "head", 0)], [("trained", "sgd", 0)], []]
        for number, asked in enumerate(rounds):
            more = {} if asked else {"stopped": "spent", **last}
            files.append(self.write(number, *asked, **more))
            self.races.follow()
        return files

    def runs(self):
        return [run[2:] for run in self.study.decided(*PLACE).runs]
