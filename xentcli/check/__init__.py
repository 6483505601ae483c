"""Anyone's loss against the atlas, the properties of cross-entropy and a search: Loss → Report.

``conventions`` says how a loss is called, ``calls`` calls it, ``subjects`` keeps it in a process of its own.
``plan`` names the checks, ``probes`` what they ask, ``faults`` judges an answer, ``search`` looks further;
``run`` goes through them.
"""
