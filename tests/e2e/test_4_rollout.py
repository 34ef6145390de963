"""`kubectl rollout restart` under 2,000 connections: nothing lost, no storm, nobody killed."""

import threading
import time

from kube import CommandFailed, ready, until

CONNECTIONS = 2000
LAME_DUCK, SPREAD = 8, 20
# Seconds over which a rate is taken.
WINDOW = 5


class Held:
    """What each pod held, second by second, as the HPA's metric tells it."""

    def __init__(self, release):
        self.history = []
        self._release = release
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._poll, daemon=True)
        self._thread.start()

    def _poll(self):
        while not self._stop.wait(1):
            try:
                answer = self._release.metric("v1beta2", "pods/*/websocket_active_connections")
            except CommandFailed:
                continue
            self.history.append((time.time(), {
                one["describedObject"]["name"]: int(one["value"]) for one in answer["items"]}))

    def at(self, pod, when):
        """The pod's connections as last reported by then."""
        return [counts[pod] for at, counts in self.history if at <= when and pod in counts][-1]

    def close(self):
        self._stop.set()
        self._thread.join(30)


def planned(held, told, when):
    """Closes a second that the drains plan for that moment, all pods that drain then added up."""
    return sum(held.at(pod, start + LAME_DUCK) / SPREAD for pod, start in told.items()
               if start + LAME_DUCK <= when <= start + LAME_DUCK + SPREAD + WINDOW)


def test_rollout_restart(release, load, watch):
    release.upgrade("--set", "capacity.connectionsPerPod=4000", "--set", "capacity.targetPercent=70",
                    "--set", f"drain.lameDuckSeconds={LAME_DUCK}", "--set", f"drain.spreadSeconds={SPREAD}",
                    "--set", "drain.lingerSeconds=5")
    clients = load("fleet", users=CONNECTIONS, rate=400)
    clients.opened(CONNECTIONS)
    old = release.live()
    held = Held(release)
    address = {one["metadata"]["name"]: one["status"]["podIP"] for one in release.pods()}
    # Upgrades straight at one of the pods that leave, ten a second, before and through its lame duck.
    late = load("late", url=f"ws://{address[old[0]]}:8004/ws", users=1000, rate=10, hold=True)
    until("the late ones connect", lambda: late.last.get("open", 0) > 5, 30)

    release.namespace.kubectl("rollout", "restart", f"deployment/{release.fullname}")
    release.namespace.kubectl("rollout", "status", f"deployment/{release.fullname}", "--timeout=180s", timeout=200)
    until("the old pods are gone", lambda: not set(old) & {p["metadata"]["name"] for p in release.pods()}, 180)
    until("all are back", lambda: clients.last["open"] == CONNECTIONS, 60)
    held.close()

    # Readiness fails at once, as the kubelet sees it.
    told, unready = {}, {}
    for name in old:
        for at, _, state in watch.seen(name):
            if "deletionTimestamp" in state["metadata"]:
                told.setdefault(name, at)
                if not ready(state):
                    unready.setdefault(name, at)
    assert set(told) == set(unready) == set(old)
    slowest = max(unready[name] - told[name] for name in old)
    assert slowest <= 6, f"unready {slowest:.1f} s after the signal"

    # Upgrades succeeded in the lame duck, though the pod was unready.
    def opened_by(at):
        return max(one["opened"] for one in late.reports if one["seen"] <= at)
    lame_duck = opened_by(told[old[0]] + LAME_DUCK - 1) - opened_by(unready[old[0]])
    assert lame_duck > 0, late.reports[-1]

    # Only 1012, and no faster than planned.
    closes = clients.last["closes"]
    assert set(closes) == {"1012"}, closes
    assert closes["1012"] >= CONNECTIONS
    counted = [one for one in clients.reports if one["seen"] >= min(told.values())]
    worst = 0, 0, 0
    for before, after in zip(counted, counted[WINDOW:]):
        rate = (after["opened"] - before["opened"]) / (after["seen"] - before["seen"])
        plan = max(planned(held, told, when) for when in (before["seen"], after["seen"]))
        worst = max(worst, (rate / max(plan, 1), rate, plan))
    over, rate, plan = worst
    assert over <= 1.5, f"{rate:.0f} reconnects a second where {plan:.0f} are planned"

    # Nobody was killed: each container ended by itself.
    for name in old:
        codes = watch.exit_codes(name)
        assert codes.get("websocket-service") == 0, (name, codes)
    print(f"reconnects: {rate:.0f}/s at worst where {plan:.0f}/s are planned; unready after {slowest:.1f} s; "
          f"{lame_duck} upgrades in the lame duck; closes {closes}")
    assert clients.last["connect_errors"] in (0, {}), clients.last
    late.stop()
    clients.stop()
