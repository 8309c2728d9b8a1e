"""Tables from many jobs' rows, and how the scores are judged by the fine-tunes.

`gather.py` concatenates; `oracle.py` lists the runs and `by_model.py` says how well each model
fine-tuned and what may choose; `agreement.py`, `intervals.py`, `ceiling.py`, `orders.py` and
`redraws.py` hold the statistics, and the other modules make one table each.
"""
