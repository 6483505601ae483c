"""Results → documents, one file per command: ``--format html``."""
