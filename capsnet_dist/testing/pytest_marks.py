"""Each law of each plugin as a test of its own."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from capsnet_dist.testing.conduct import conduct
from capsnet_dist.testing.law import Broken, Law, select
from capsnet_dist.testing.subject import Subject


def parametrize(
    subjects: Sequence[Subject], laws: Iterable[Law[Any]], expected: Mapping[str, Mapping[str, str]]
) -> Any:
    """A pytest mark that gives `check`, to be called, for each plugin and law; expected failures are xfail."""
    import pytest

    laws, cases = list(laws), list[Any]()
    for subject in subjects:
        reasons = {**getattr(subject.plugin, "expected_failures", {}), **expected.get(subject.name, {})}
        select(laws, reasons)
        for law in laws:
            marks = [pytest.mark.xfail(reason=reasons[law.name], strict=True)] if law.name in reasons else []
            cases.append(pytest.param(_test(subject, law), marks=marks, id=f"{subject.name}-{law.name}"))
    return pytest.mark.parametrize("check", cases)


def _test(subject: Subject, law: Law[Any]) -> Callable[[], None]:
    def run() -> None:
        import pytest

        (result,) = conduct(subject, [law], {})
        if result.status == "skipped":
            pytest.skip(result.message)
        if result.status == "noted":
            pytest.xfail(result.message)
        if result.status == "failed":
            raise Broken(str(result))

    return run
