"""What runs, scores and earlier targets say together, and how sure that is.

`observed.py` takes runs from the tables, `observations.py` says what they measured and with what
noise, `merged.py` puts repeated runs together, `history.py` holds earlier targets, `prior.py` what
they teach of a new one, `posterior.py` puts it together, `gain.py` and `cost.py` say what one more
run is worth and takes, and `race.py` decides which runs are next. `answers.py` says what all that
comes to, with what `reported.py` sets beside it.
"""

from xferpipe.evidence.posterior import posterior

__all__ = ["posterior"]
