"""What was delivered: an envelope of a project webhook or of a distribution, or a raw payload."""

from typing import NamedTuple

from events.event import Shape
from events.failures import Malformed
from events.payload import Body, Data, Leaf


class Delivery(NamedTuple):
    """A payload taken out of whatever it came in."""

    shape: Shape
    data: Data
    event_type: str | None
    """None for raw payloads, and for envelopes whose type is no string."""
    event_id: Leaf


def unwrap(content: Body) -> Delivery:
    """Tell the shapes apart. Raises Malformed (unsupported_shape) for a redemption in the retired format."""
    if _is_retired(content):
        return _retired(content)
    event = content.event
    # A raw payload may have an `event` key of the marketer's own, but an event without data that names no
    # redemption either is an envelope whose type alone matters.
    if event is None or (content.data is None and _names_redemption(content)):
        return Delivery(Shape.RAW, content, None, None)
    distribution = content.source is not None and content.source.object == "distribution"
    shape = Shape.DISTRIBUTION if distribution else Shape.PROJECT
    data = content if content.data is None else content.data
    return Delivery(shape, data, event.type if isinstance(event.type, str) else None, event.id)


def _names_redemption(data: Data) -> bool:
    return data.redemption is not None or data.redemption_rollback is not None


def _is_retired(content: Body) -> bool:
    """The v2018-08-01 webhook: `type` and `data.object`, no `event`."""
    data = content.data
    return (
        content.event is None
        and data is not None
        and isinstance(content.type, str)
        and data.object is not None
        and not _names_redemption(content)
        and not _names_redemption(data)
    )


def _retired(content: Body) -> Delivery:
    if "redemption" in content.type.split("."):
        raise Malformed(
            "unsupported_shape",
            "the retired webhook version v2018-08-01 (type and data.object): set a newer one in the project",
        )
    return Delivery(Shape.PROJECT, content, content.type, None)
