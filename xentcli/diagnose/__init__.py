"""A dump of logits: what is in it, which methods it would spoil and where, and its guilty rows as a case.

``dumps`` reads files, ``survey`` goes through their rows once, ``spoilers`` says what each method and clip
makes of a row, ``summary`` what came out of it all, ``extract`` writes the guilty rows as a case.
"""
