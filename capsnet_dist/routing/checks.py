"""What options of routings must satisfy."""

from capsnet_dist.errors import UserError


def at_least_one(iterations: int) -> None:
    """Refuse to route without at least one iteration.

    Raises:
        UserError: fewer than one iteration.
    """
    if iterations < 1:
        raise UserError(f"iterations={iterations}: routing needs at least 1.")


def positive(name: str, value: float) -> None:
    """Refuse an option that is not above zero.

    Raises:
        UserError: zero or below.
    """
    if not value > 0:
        raise UserError(f"{name}={value} must be above 0.")
