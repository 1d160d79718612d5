"""What every routing must do."""

from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from capsnet_dist.testing import routing_relations, routing_values
from capsnet_dist.testing.common import MODULE_LAWS
from capsnet_dist.testing.conduct import OnFail, check
from capsnet_dist.testing.law import Law
from capsnet_dist.testing.pytest_marks import parametrize
from capsnet_dist.testing.report import Report
from capsnet_dist.testing.routing_subject import RoutingSubject
from capsnet_dist.testing.subject import Target

LAWS: tuple[Law[Any], ...] = (*routing_values.LAWS, *routing_relations.LAWS, *MODULE_LAWS)
NONE: Mapping[str, str] = MappingProxyType({})


def check_routing(
    target: Target,
    *,
    only: Iterable[str] | None = None,
    expected_failures: Mapping[str, str] = NONE,
    on_fail: OnFail = "raise",
) -> Report:
    """Try a routing on every law that routings obey.

    Args:
        target: A class, a factory that takes parts, part_dim, wholes and dim, or a choice with options.
        only: Names of the checks to run; all of them without.
        expected_failures: Checks that must fail, by name, each with the reason. A class may have an attribute of that
            name as well.
        on_fail: "raise", or "report" to leave it to the caller.

    Raises:
        ChecksFailed: a law does not hold, or one that was expected to fail does; it carries the report.
        UserError: there is no check of that name.

    >>> from capsnet_dist import routings
    >>> from capsnet_dist.testing import check_routing
    >>> print(check_routing(routings("dynamic", iterations=2), only=["shapes_fit", "couplings_are_shares"]))
    routing dynamic: 2 passed
    """
    return check(RoutingSubject(target), LAWS, only, expected_failures, on_fail)


def parametrize_with_routing_checks(
    targets: Sequence[Target], *, expected_failures: Mapping[str, Mapping[str, str]] = MappingProxyType({})
) -> Any:
    """Decorate a pytest function that takes `check` and calls it: one test for each routing and check.

    Args:
        targets: Classes, factories or choices.
        expected_failures: By name of the routing: checks that must fail, and why.
    """
    return parametrize([RoutingSubject(target) for target in targets], LAWS, expected_failures)
