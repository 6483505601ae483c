"""What every cross-entropy must satisfy: properties with their inputs, and the tolerance that each allows.

docs/check-reference.md says who broke which. The inputs are the same in every run. ``setting`` says
what a property is; the other files have them by what they are about.
"""

from typing import Final

from xentcli.check.properties import (
    calls,
    gradients,
    invariance,
    knobs,
    labels,
    many,
    options,
    products,
    sizes,
    wide,
)

PROPERTIES: Final = (
    *invariance.PROPERTIES,
    *labels.PROPERTIES,
    *options.PROPERTIES,
    *knobs.PROPERTIES,
    *gradients.PROPERTIES,
    *sizes.PROPERTIES,
    *calls.PROPERTIES,
    *wide.PROPERTIES,
    *many.PROPERTIES,
    *products.PROPERTIES,
)
