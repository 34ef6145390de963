"""The loads: what every server is put through, and what only ours is."""

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Load:
    """One run of websocket-bench against a server that was just started."""

    key: str
    command: str
    connections: int
    #: Connections of one user.
    each: int = 1
    #: Seconds that connections are held, with `deliver` before the first message.
    hold: int = 0
    #: `connect`: seconds that the server is watched after they have left.
    after: int = 0
    #: `deliver`: messages a second, none for as many as it can, and for how long.
    publish: int | None = None
    seconds: int = 0

    def limited(self, most: int | None) -> "Load":
        """The same with no more connections than that."""
        if most is None or self.connections <= most:
            return self
        return replace(self, connections=most, each=min(self.each, most))

    def arguments(self) -> list[str]:
        """What websocket-bench is told of the load."""
        arguments = [self.command, "--users", str(self.connections // self.each), "--connections-per-user", str(self.each)]
        if self.command == "connect":
            return [*arguments, "--parallel", "64", "--hold", str(self.hold), "--after", str(self.after)]
        rate = "max" if self.publish is None else str(self.publish)
        # The connects' aftermath is none of the deliveries'; the last messages have a moment to arrive; with `max` what is late is not waited for anyway.
        return [*arguments, "--parallel", "64", "--hold", str(self.hold), "--publish-rate", rate, "--seconds", str(self.seconds),
                "--settle", "2", "--bytes", "256"]


#: Every server gets these, with a fresh process for each.
#: What goes back to the system does so within forty seconds (docs/adr/0010).
CONNECT = Load("connect", "connect", 8_000, hold=20, after=45)
PACED = Load("paced", "deliver", 8_000, hold=2, publish=2_000, seconds=10)
MAX = Load("max", "deliver", 1_000, hold=2, seconds=8)
FAN_OUT = Load("fan_out", "deliver", 1_000, each=1_000, hold=2, publish=20, seconds=10)
ALL = [CONNECT, PACED, MAX, FAN_OUT]

#: Ours alone: connections of the table of growth, and the loads with one and two workers.
GROWTH = [replace(CONNECT, key=f"grow_{n}", connections=n, hold=10, after=0) for n in (1_000, 2_000, 4_000, 8_000, 16_000)]
GROWTH_PACED = [replace(PACED, key=f"grow_paced_{n.connections}", connections=n.connections, seconds=5) for n in GROWTH]
WORKERS = [PACED, MAX]


def quick(load: Load) -> Load:
    """The same in a few seconds, to see that all of it works. Its figures mean nothing."""
    connections = max(load.connections // 20, 50)
    each = connections if load.each > 1 else 1
    publish = None if load.publish is None else max(load.publish // 10, 5)
    return replace(load, connections=connections, each=each, hold=min(load.hold, 1), after=min(load.after, 1),
                   publish=publish, seconds=min(load.seconds, 2))
