"""Telling observers, in an order that people can read."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from workflow.events import Event, Notice, Observer, StepStarted


class Teller:
    """Passes events on. A start is held back until the commits it ran ahead of have been told."""

    def __init__(self, observers: Sequence[Observer]) -> None:
        self._observers = list(observers)
        self._held: dict[int, tuple[StepStarted, set[int]]] = {}

    def tell(self, event: Event) -> None:
        for observer in tuple(self._observers):
            try:
                observer.on_event(event)
            except Exception as error:  # noqa: BLE001 observers may be anybody's
                # An observer never harms the run: it is dropped, and the others hear of it once.
                self._observers.remove(observer)
                self.tell(Notice(f"{type(observer).__name__} stopped reporting: {error!r}"))

    def hold_start(self, event: StepStarted, committing: Iterable[int]) -> None:
        """Tell of a start once the steps that are being committed have been told of."""
        self._held[event.step.number] = (event, set(committing))

    def drop_start(self, number: int) -> None:
        """Forget a start that did not come about."""
        self._held.pop(number, None)

    def tell_start_of(self, number: int) -> None:
        """Tell of the start of a step whose end comes next, if that has not been told."""
        held = self._held.pop(number, None)
        if held is not None:
            self.tell(held[0])

    def is_told(self, number: int) -> None:
        """Note that what became of a step has been told, and tell of the starts that waited for it."""
        for _, waits_for in self._held.values():
            waits_for.discard(number)
        self.tell_starts()

    def tell_starts(self) -> None:
        """Tell of the starts that wait for nothing."""
        for number, (event, waits_for) in list(self._held.items()) if self._held else ():
            if not waits_for:
                del self._held[number]
                self.tell(event)
