"""xent in a test suite: ``check_loss`` for one check or all, ``checks`` to parametrise a test over them.

``plugin`` is the plug-in of pytest. pytest imports it, and this package, whenever it starts: nothing else is
imported before it is used.
"""

TYPE_CHECKING = False  # type checkers take it for typing's
if TYPE_CHECKING:
    from xentcli.testing.suite import check_loss, checks

__all__ = ["check_loss", "checks"]

if not TYPE_CHECKING:  # of which a type checker would conclude that any name is there

    def __getattr__(name: str) -> object:
        """Import a name of ``__all__``; it stays here."""
        if name not in __all__:
            raise AttributeError(f"module 'xentcli.testing' has no attribute '{name}'")
        from xentcli.testing import suite

        globals()[name] = value = getattr(suite, name)
        return value
