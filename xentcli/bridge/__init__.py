"""A running training → a dump: ``watch`` looks at each loss, and of a bad one saves the rows that made it.

``watch`` finds the library by its arrays and hands over to its file, which looks where the arrays are;
``capture`` says why a loss is bad, and ``save`` writes the rows. No library is imported but by its own file.
"""
