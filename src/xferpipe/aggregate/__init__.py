"""Tables from many jobs' rows, and how the scores are judged by the fine-tunes.

`gather.py` concatenates, `oracle.py` says how well each model fine-tuned, `agreement.py` and
`orders.py` hold the statistics, and the other modules make one table each.
"""
