"""A dump of logits: what is in it, which findings its rows have, and the worst rows as a case.

``dumps`` opens files, ``survey`` goes through their rows once; by the ``facts`` of each, ``rules`` say which
findings it has. ``summary`` counts and ranks, ``extract`` writes the worst rows as a case.
"""
