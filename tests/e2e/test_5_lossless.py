"""Clients that resume lose nothing while pods go: 1,000 of them under 500 messages a second, beside some that do not resume."""

from kube import until

USERS, RATE = 1000, 500
PLAIN_USERS, PLAIN_RATE = 200, 100


class Crowds:
    """Clients of both kinds, under way."""

    def __init__(self, delivery, name):
        self.v1 = delivery(name, users=USERS, messages_per_second=RATE)
        self.plain = delivery(name + "-plain", users=PLAIN_USERS, messages_per_second=PLAIN_RATE, mode="plain")

    def flow(self):
        self.v1.flows(2 * RATE)
        self.plain.flows(2 * PLAIN_RATE)

    def settle(self):
        """Ends the publishing; the report of those that resume must tell of no loss."""
        plain, report = self.plain.stop(), self.v1.stop()
        slowest = report["longest_silence_ms"] / 1000
        print(f"{self.v1.name}: {report['lost']} of {report['expected']} lost, {report['twice']} twice, {report['gaps']} gaps, "
              f"{report['reconnects']} reconnects, slowest client {slowest:.1f} s, closes {report['closes']}; "
              f"plain: {plain['lost']} of {plain['expected']} lost")
        assert report["lossless"], report
        assert (report["lost"], report["twice"], report["gaps"]) == (0, 0, 0), report
        assert report["accepted"] > 0 and report["ended"] == 0, report
        return report


def test_a_rollout_loses_nothing(release, delivery):
    release.upgrade("--set", "capacity.connectionsPerPod=4000", "--set", "capacity.targetPercent=70",
                    "--set", "drain.lameDuckSeconds=5", "--set", "drain.spreadSeconds=15",
                    "--set", "drain.lingerSeconds=5")
    crowds = Crowds(delivery, "rolled")
    crowds.flow()
    old = release.live()
    release.namespace.kubectl("rollout", "restart", f"deployment/{release.fullname}")
    release.settled()
    until("the old pods are gone", lambda: not set(old) & {p["metadata"]["name"] for p in release.pods()}, 180)
    crowds.flow()
    report = crowds.settle()
    assert report["resumed"] >= USERS, "everybody was moved"


def test_a_deleted_pod_loses_nothing(release, delivery):
    crowds = Crowds(delivery, "bereft")
    crowds.flow()
    victim = max(release.connections().items(), key=lambda pair: pair[1])[0]
    release.namespace.kubectl("delete", "pod", victim, "--grace-period=0", "--force")
    release.settled()
    crowds.flow()
    report = crowds.settle()
    assert report["resumed"] > 0, "somebody was on that pod"
