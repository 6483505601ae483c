"""What a loss is known to fail, in a file that a person keeps: read it, hold a report against it, update it.

``update`` ← ``compare`` (a report and the entries) ← ``entries`` (the file) ← ``releases`` (versions).
"""
