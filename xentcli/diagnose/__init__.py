"""A dump of logits: what is in it, which findings its rows have, and the worst rows as a case.

``files`` reads arrays, ``dumps`` says which are logits and labels. A part of the rows becomes ``columns``: by
the ``facts`` of each row, ``rules`` say which findings it has. ``summary`` sums parts up and merges them,
``survey`` has threads do so for a dump. ``diagnosis`` ranks what was found, ``extract`` writes the worst rows
as a case.

The names of ``__all__`` are for programs that have their own machines go through a dump, as docs/scale.md
shows; each is imported when it is first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from xentcli.diagnose.cluster import by_cluster
    from xentcli.diagnose.dumps import open_shard, shards
    from xentcli.diagnose.summary import Summary, merge, summarise
    from xentcli.diagnose.survey import Part, by_threads

__all__ = ["Part", "Summary", "by_cluster", "by_threads", "merge", "open_shard", "shards", "summarise"]

_MODULES = {
    "Part": "survey",
    "Summary": "summary",
    "by_cluster": "cluster",
    "by_threads": "survey",
    "merge": "summary",
    "open_shard": "dumps",
    "shards": "dumps",
    "summarise": "summary",
}

if not TYPE_CHECKING:  # of which a type checker would conclude that any name is there

    def __getattr__(name: str) -> object:
        """Import a name of ``__all__``."""
        if name not in _MODULES:
            raise AttributeError(f"module 'xentcli.diagnose' has no attribute '{name}'")
        return getattr(import_module(f"xentcli.diagnose.{_MODULES[name]}"), name)
