"""The bundled cases as a collection: by folder, by a phrase, by library, by what goes wrong in them."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from xentcli import load, run
from xentcli.errors import XentError, did_you_mean
from xentcli.judge import Result
from xentcli.judge.findings import FINDINGS
from xentcli.load import sources
from xentcli.model import Case


@dataclass(frozen=True, slots=True, eq=False)
class Entry:
    """One bundled case: the folder it stands in ('' for the blog's own), and its file as text."""

    case: Case
    folder: str
    text: str

    @property
    def libraries(self) -> set[str]:
        """Which libraries the case names."""
        about = self.case.about
        return {entry.library for entry in about.affects} | {entry.library for entry in about.prints}

    def result(self) -> Result:
        """Run what the case runs by default."""
        return run.evaluate(self.case)

    def findings(self) -> set[str]:
        """Name what is found in the methods that the case is about: those it expects something of."""
        result = self.result()
        about = {expectation.quantity for expectation in self.case.expectations}
        pairs = zip(result.outcomes, result.judgements, strict=True)
        judgements = [judgement for outcome, judgement in pairs if outcome.method in about]
        return {name for judgement in judgements if judgement for name in judgement.all_findings}


def entries() -> tuple[Entry, ...]:
    """Return every bundled case that runs here, folder by folder."""
    found, problems = sources.read_all(())
    texts = {source.path: source.data.decode() for source in found}
    cases = load.load_all(found, problems)
    return tuple(Entry(case, sources.folder_of(Path(case.path)), texts[case.path]) for case in cases)


def search(among: Iterable[Entry], phrase: str) -> tuple[tuple[Entry, ...], bool]:
    """Return the cases in whose folder, name or file most words of a phrase stand, and whether all do."""
    words = _plain(phrase).split()
    texts = {entry: _plain(f"{entry.folder} {entry.case.name} {entry.text}") for entry in among}
    found = {entry: sum(word in text for word in words) for entry, text in texts.items()}
    most = max(found.values(), default=0)
    return tuple(entry for entry, number in found.items() if number == most > 0), most == len(words)


def of_library(among: Iterable[Entry], name: str) -> tuple[Entry, ...]:
    """Return the cases that name a library; raises XentError where none does."""
    among = tuple(among)
    known = sorted({library for entry in among for library in entry.libraries}, key=str.casefold)
    wanted = next((library for library in known if library.casefold() == name.casefold()), None)
    if wanted is None:
        raise XentError(f"no case is of a library '{name}'{did_you_mean(name, known)}")
    return tuple(entry for entry in among if wanted in entry.libraries)


def showing(among: Iterable[Entry], finding: str) -> tuple[Entry, ...]:
    """Return the cases in which something is found; raises XentError where that is no finding."""
    known = [entry.name for entry in FINDINGS]
    if finding not in known:
        raise XentError(f"unknown finding '{finding}'{did_you_mean(finding, known)}")
    return tuple(entry for entry in among if finding in entry.findings())


def _plain(text: str) -> str:
    return text.casefold().replace("_", " ").replace("-", " ")
