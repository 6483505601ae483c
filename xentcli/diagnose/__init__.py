"""A dump of logits: what is in it, which findings its rows have, and the worst rows as a case.

``files`` reads arrays, ``dumps`` says which are logits and labels. A part of the rows becomes ``columns``: by
the ``facts`` of each row, ``rules`` say which findings it has. ``summary`` sums parts up and merges them,
``survey`` has threads do so for a dump. ``diagnosis`` ranks what was found, ``extract`` writes the worst rows
as a case.
"""
