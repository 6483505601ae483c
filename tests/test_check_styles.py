"""xent check on right losses of many styles: none is ever accused, whatever the seed and the budget."""

import importlib
from typing import Any

import pytest
from losses.faults import Entry
from losses.styles import STYLES
from test_check_faults import findings, report

# The seed draws the rows of the search alone. What a short budget does not reach is no finding.
SEEDS = range(10)
BUDGETS = (0.05, 0.3, 1, 3)
SEARCHED = 5  # seconds for a search, which ends sooner but where labels are spread over many classes
# By library: the module with the losses, and how many there are.
LIBRARIES = {
    "torch": ("styles_torch", 7),
    "jax": ("styles_jax", 5),
    "tensorflow": ("styles_others", 1),
    "numba": ("styles_others", 1),
    "triton": ("styles_triton", 1),
}
OTHERS = [(library, number) for library, (_, count) in LIBRARIES.items() for number in range(count)]


def styles_of(library: str) -> list[Entry]:
    """Import the right losses of a library."""
    pytest.importorskip(library, reason="is not installed; .ci/run tests with it")
    styles: Any = importlib.import_module(f"losses.{LIBRARIES[library][0]}").STYLES
    return styles[library] if isinstance(styles, dict) else styles


def test_there_are_many_styles() -> None:
    assert len(STYLES) + len(OTHERS) >= 40
    assert len({each.name for each in STYLES}) == len(STYLES)


@pytest.mark.parametrize("entry", STYLES[::5], ids=lambda entry: entry.name)
def test_a_right_loss_is_not_accused_in_no_time(entry: Entry) -> None:
    assert findings(report(entry, budget=0.05)) == {}


@pytest.mark.slow
@pytest.mark.parametrize("entry", STYLES, ids=lambda entry: entry.name)
def test_a_right_loss_is_not_accused(entry: Entry) -> None:
    assert findings(report(entry)) == {}


@pytest.mark.slow
@pytest.mark.parametrize("entry", STYLES, ids=lambda entry: entry.name)
def test_a_right_loss_is_not_accused_whatever_the_seed_and_the_budget(entry: Entry) -> None:
    seeds = {seed: findings(report(entry, SEARCHED, only=["search"], seed=seed)) for seed in SEEDS}
    budgets = {budget: findings(report(entry, budget)) for budget in BUDGETS}

    assert seeds == {seed: {} for seed in SEEDS}
    assert budgets == {budget: {} for budget in BUDGETS}


@pytest.mark.slow
@pytest.mark.frameworks
@pytest.mark.parametrize(("library", "number"), OTHERS)
def test_a_right_loss_of_a_library_is_not_accused(library: str, number: int) -> None:
    entry = styles_of(library)[number]

    for seed, budget in ((0, 20), (1, 1), (2, 5)):
        assert findings(report(entry, budget, seed=seed)) == {}


@pytest.mark.slow
@pytest.mark.frameworks
@pytest.mark.parametrize("library", LIBRARIES)
def test_every_right_loss_of_a_library_is_counted(library: str) -> None:
    assert len(styles_of(library)) == LIBRARIES[library][1]
