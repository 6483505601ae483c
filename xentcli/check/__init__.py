"""Anyone's loss against the atlas, the properties of cross-entropy and a search: loss → Report.

``plan`` names the checks, ``probes`` are what the loss is called with, ``findings`` judges a response,
``search`` looks further; ``run`` goes through them, and ``causes`` says why they fail.
``frameworks`` calls the loss, in a process of its own or in this one.
"""
