"""`helm uninstall` leaves nothing, and the namespace deletes cleanly."""

from kube import run, until

KINDS = ("pods,deployments,replicasets,statefulsets,services,endpointslices,hpa,pdb,networkpolicies,secrets,configmaps,"
         "serviceaccounts,roles,rolebindings,leases,jobs,persistentvolumeclaims")


def test_uninstall(release):
    namespace = release.namespace
    namespace.kubectl("delete", "pod", "-l", "e2e=true", "--wait=true")
    namespace.helm("uninstall", "ws", "--wait", "--timeout", "4m")

    def left():
        found = {f"{one['kind']}/{one['metadata']['name']}" for one in namespace.items(KINDS)}
        return found - {"ConfigMap/kube-root-ca.crt", "ServiceAccount/default"}
    # Pods go at their own pace: nobody is connected, so that is at once.
    until("nothing is left", lambda: not left() or None, 60)
    cluster = run("kubectl", "get", "clusterroles,clusterrolebindings,apiservices", "-o", "name")
    assert not [line for line in cluster.splitlines() if "websocket" in line or "custom.metrics" in line]
    system = run("kubectl", "-n", "kube-system", "get", "rolebindings", "-o", "name")
    assert "websocket" not in system
    namespace.delete(seconds=60)
