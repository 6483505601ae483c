"""The words that a case file and the command line share; apart, because ``--help`` needs nothing else."""

DTYPES = ("float16", "bfloat16", "float32", "float64")
ACCUMULATES = ("float32", "float64")
SEQUENTIAL = "sequential"
BAD_LABELS = ("nan", "wrap", "as_is")  # the first two of indices, the last of binary labels
REDUCTIONS = ("none", "mean", "sum")
Z_LOSS = "z_loss"
SMOOTHINGS = ("classes", "others")  # what the share of a label is spread over
SWAPPED = "swapped"  # what no case asks for: the share and what is left of it are mistaken for each other
EXAMPLES, CLASSES, COPIES = ALONG = ("examples", "classes", "copies")  # what parts of a batch divide
ARITHMETICS = ("numpy", "eigen", "eigen-avx")

SHEET_FORMATS = ("table", "plain", "csv", "markdown")
LISTING_FORMATS = (*SHEET_FORMATS, "json")
FORMATS = ("table", "plain", "json", "csv", "markdown", "junit", "html")
IGNORE_INDEX = -100  # what PyTorch ignores unless told otherwise
MOST_ROWS = 100  # that a diagnosis shows: all methods are tried on each, some ten milliseconds a row
