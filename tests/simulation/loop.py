"""An event loop whose time is a number and whose order is drawn by a seed: nothing in it waits or races."""

import asyncio
import heapq
import types
from asyncio import events
from collections import deque
from collections.abc import Callable, Coroutine, Generator
from contextvars import Context, ContextVar, copy_context
from itertools import count
from random import Random
from typing import Any

MOST_STEPS = 400_000
"""A schedule that takes more goes round in a circle."""


class Circling(Exception):
    """The code under test never came to rest."""


class Machine:
    """One simulated process: what was begun in it lives, stands still and dies together."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.frozen = False
        self.dead = False
        self.tasks: dict[int, asyncio.Task[Any]] = {}
        """Not ended yet, in the order they were begun."""
        self.held: list[Ready] = []
        """What would have run while it stood still."""
        self.steps_left: int | None = None
        """Dies when it has taken so many more steps."""

    def __repr__(self) -> str:
        return self.name


WORLD = Machine("world")
CURRENT: ContextVar[Machine] = ContextVar("machine", default=WORLD)


class Ready:
    """A callback whose turn comes: asyncio's Handle without what only debugging needs."""

    __slots__ = ("args", "callback", "cancelled_", "context")

    def __init__(self, callback: Callable[..., Any], args: tuple[Any, ...], context: Context | None) -> None:
        self.callback = callback
        self.args = args
        self.context = copy_context() if context is None else context
        self.cancelled_ = False

    def cancel(self) -> None:
        self.cancelled_ = True

    def cancelled(self) -> bool:
        return self.cancelled_


class Timer(Ready):
    __slots__ = ("when_",)

    when_: float

    def when(self) -> float:
        return self.when_


class NumberedTask(asyncio.Task[Any]):
    """Sets of tasks, of which asyncio has many, come in one order; by address it would vary."""

    number: int

    def __hash__(self) -> int:
        return self.number


class SimulatedLoop(asyncio.BaseEventLoop):
    """Runs what is ready, one callback at a time; when nothing is, time jumps to what comes next.

    `disorder`: how often a callback that was ready later goes first. With 0 callbacks keep asyncio's order,
    and only the times that things take decide.
    """

    def __init__(self, chance: Random, disorder: float) -> None:
        super().__init__()
        self._chance = chance
        self._disorder = disorder
        self._now = 0.0
        self._numbers = count()
        self._queue: deque[Ready] = deque()
        self._timers: list[tuple[float, int, Timer]] = []
        self.steps = 0
        self.tasks: dict[int, asyncio.Task[Any]] = {}
        """Not ended yet, in the order they were begun."""
        self.wrong: list[str] = []
        """What went wrong where nobody listens, such as an exception that nobody awaited."""
        self.on_doom: Callable[[Machine], None] = lambda machine: None
        """Called when a machine's steps have run out."""
        self.set_task_factory(self._numbered)
        self.set_exception_handler(self._note)

    def time(self) -> float:
        return self._now

    # Typed more loosely than asyncio's, whose callers never look at the handle's class.

    def call_soon(  # type: ignore[override]
        self, callback: Any, *args: Any, context: Context | None = None
    ) -> Ready:
        ready = Ready(callback, args, context)
        self._queue.append(ready)
        return ready

    def call_at(  # type: ignore[override]
        self, when: float, callback: Any, *args: Any, context: Context | None = None
    ) -> Timer:
        timer = Timer(callback, args, context)
        timer.when_ = when
        heapq.heappush(self._timers, (when, next(self._numbers), timer))
        return timer

    def call_later(  # type: ignore[override]
        self, delay: float, callback: Any, *args: Any, context: Context | None = None
    ) -> Timer:
        return self.call_at(self._now + delay, callback, *args, context=context)

    def begin(self, machine: Machine, work: Coroutine[Any, Any, Any], name: str) -> asyncio.Task[Any]:
        """Start a task that belongs to `machine`, and with it all that it starts."""
        context = copy_context()
        context.run(CURRENT.set, machine)
        return self.create_task(work, name=name, context=context)

    def thaw(self, machine: Machine) -> None:
        machine.frozen = False
        self._queue.extend(machine.held)
        machine.held = []

    def kill(self, machine: Machine) -> None:
        """Its tasks unwind, but as it is dead nothing they do reaches anybody."""
        machine.dead = True
        self.thaw(machine)
        for task in list(machine.tasks.values()):
            task.cancel()

    def _run_once(self) -> None:
        queue, disorder, chance = self._queue, self._disorder, self._chance
        while not self._stopping:  # type: ignore[attr-defined]
            while not queue:
                self._pass_time()
            if disorder and len(queue) > 1 and chance.random() < disorder:
                place = chance.randrange(len(queue))
                ready = queue[place]
                del queue[place]
            else:
                ready = queue.popleft()
            if ready.cancelled_:
                continue
            machine = ready.context.get(CURRENT, WORLD)
            if machine.frozen:
                machine.held.append(ready)
                continue
            self._count(machine)
            ready.context.run(ready.callback, *ready.args)

    def _count(self, machine: Machine) -> None:
        self.steps += 1
        if self.steps > MOST_STEPS:
            raise Circling(f"{MOST_STEPS} steps, and it is {self._now:.1f} s")
        if machine.steps_left is not None:
            machine.steps_left -= 1
            if machine.steps_left <= 0:
                machine.steps_left = None
                self.on_doom(machine)

    def _pass_time(self) -> None:
        if not self._timers:
            raise Circling("nothing will ever happen again")
        self._now = max(self._now, self._timers[0][0])
        while self._timers and self._timers[0][0] <= self._now:
            timer = heapq.heappop(self._timers)[2]
            if not timer.cancelled_:
                self._queue.append(timer)

    def _numbered(
        self, loop: asyncio.AbstractEventLoop, coroutine: Any, context: Context | None = None
    ) -> NumberedTask:
        task = NumberedTask.__new__(NumberedTask)
        task.number = number = next(self._numbers)
        NumberedTask.__init__(task, coroutine, loop=loop, context=context)
        machine = (context or copy_context()).get(CURRENT, WORLD)
        machine.tasks[number] = self.tasks[number] = task
        task.add_done_callback(lambda _: (machine.tasks.pop(number, None), self.tasks.pop(number, None)))
        return task

    def _note(self, loop: asyncio.AbstractEventLoop, told: dict[str, Any]) -> None:
        task = told.get("future") or told.get("task")
        error = told.get("exception")
        self.wrong.append(f"nobody awaited: {told['message']}: {task!r} {error!r}")

    def _process_events(self, event_list: Any) -> None:
        raise NotImplementedError

    def _write_to_self(self) -> None:
        """Nobody sleeps who would have to be woken."""


@types.coroutine
def _let_go() -> Generator[None, None, None]:
    yield


async def pause(chance: Random, longest: float, share: float = 1.0) -> None:
    """Let others go first, at times for a while (seconds); never goes on in a machine that died meanwhile."""
    if chance.random() < share:
        await asyncio.sleep(chance.random() * longest)
    else:
        await _let_go()
    if CURRENT.get().dead:
        raise asyncio.CancelledError


def run(loop: SimulatedLoop, main: Coroutine[Any, Any, Any]) -> Any:
    """Run to the end with this loop as the current one."""
    before = events._get_running_loop()
    events._set_running_loop(None)
    try:
        asyncio.set_event_loop(loop)
        return loop.run_until_complete(main)
    finally:
        asyncio.set_event_loop(None)
        events._set_running_loop(before)
