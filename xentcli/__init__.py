"""xent: softmax cross-entropy experiments, reproduced to the digit.

The names of ``__all__`` are for Python programs, and docs/python.md shows them at work. Each is imported when
it is first used: ``import xentcli`` imports nothing.
"""

__version__ = "0.1.0"

TYPE_CHECKING = False  # type checkers take it for typing's, which would have to be imported
if TYPE_CHECKING:
    from xentcli.api import diagnose_logits, evaluate, explain_case, identify_value, load_case
    from xentcli.bridge.options import BadLoss, BadLossWarning
    from xentcli.bridge.watch import watch
    from xentcli.bridge.watched import Watched
    from xentcli.bulk import losses, losses_and_gradient
    from xentcli.errors import XentError
    from xentcli.testing import check_loss

__all__ = [
    "BadLoss",
    "BadLossWarning",
    "Watched",
    "XentError",
    "check_loss",
    "diagnose_logits",
    "evaluate",
    "explain_case",
    "identify_value",
    "load_case",
    "losses",
    "losses_and_gradient",
    "watch",
]

# None has the name of a module or folder of the package: importing that would replace it.
_MODULES = {
    "BadLoss": "bridge.options",
    "BadLossWarning": "bridge.options",
    "Watched": "bridge.watched",
    "XentError": "errors",
    "check_loss": "testing",
    "diagnose_logits": "api",
    "evaluate": "api",
    "explain_case": "api",
    "identify_value": "api",
    "load_case": "api",
    "losses": "bulk",
    "losses_and_gradient": "bulk",
    "watch": "bridge.watch",
}

if not TYPE_CHECKING:  # of which a type checker would conclude that any name is there

    def __getattr__(name: str) -> object:
        """Import a name of ``__all__``; it stays here."""
        if name not in _MODULES:
            raise AttributeError(f"module 'xentcli' has no attribute '{name}'")
        from importlib import import_module

        value = getattr(import_module(f"xentcli.{_MODULES[name]}"), name)
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
