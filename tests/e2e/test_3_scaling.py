"""It scales by connections: up at once, down one at a time, the emptiest pod first."""

from kube import until

# 70 a pod, with room beyond it, so that nobody is refused while a pod starts. Windows that a test can wait for, and yet
# longer than what the adapter takes to be sure that a scale-in is coming.
SHORT = ["--set", "capacity.connectionsPerPod=200", "--set", "capacity.targetPercent=35",
         "--set", "autoscaling.scaleDown.stabilizationWindowSeconds=45",
         "--set", "autoscaling.scaleDown.periodSeconds=15",
         "--set", "drain.lameDuckSeconds=3", "--set", "drain.spreadSeconds=5", "--set", "drain.lingerSeconds=2"]
COST = "controller.kubernetes.io/pod-deletion-cost"


def test_up_and_down(release, load, watch):
    release.upgrade(*SHORT)
    least = release.replicas()
    steady = load("steady", users=60, rate=50)
    steady.opened(60)
    assert release.replicas() == least

    crowd = load("crowd", users=150, rate=50)
    until("the HPA adds a pod", lambda: release.replicas() > least, 60)
    crowd.opened(150)
    until("the new pods are ready", lambda: len(release.live()) == release.replicas(), 60)
    release.settled()
    grown = release.replicas()
    assert grown == 3, "210 connections at 70 a pod"

    # Down again, the crowd gone. Nobody moved to the newest pod, so it has fewest.
    crowd.stop()
    until("only the steady ones are left", lambda: sum(release.connections().values()) == 60, 20)
    held = release.connections()
    until("the HPA takes a pod away", lambda: release.replicas() < grown, 180)
    leaving = until("a pod leaves", lambda: [
        state["metadata"]["name"] for _, _, state in list(watch.events)
        if "deletionTimestamp" in state["metadata"] and state["metadata"]["name"] in held], 30)[0]
    assert held[leaving] == min(held.values()), f"{leaving} left of {held}"
    before = [state["metadata"].get("annotations", {}) for _, _, state in watch.seen(leaving)
              if "deletionTimestamp" not in state["metadata"]]
    others = [one["metadata"].get("annotations", {}) for one in release.pods() if one["metadata"]["name"] != leaving]
    assert COST in {**before[-1], **others[0]}, "the costs were written before the scale-in"
    release.settled()
    until("as few as before", lambda: release.replicas() == least, 120)
    assert steady.last["closes"] == {} or held[leaving] > 0

    # What was written for the scale-in does not stay.
    until("the costs are taken back", lambda: not [
        one for one in release.pods() if COST in one["metadata"].get("annotations", {})], 120)
    steady.stop()
