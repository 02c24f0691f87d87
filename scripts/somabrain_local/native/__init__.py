"""A one-node Kubernetes as plain processes in namespaces of their own.

`init` is the first process of a PID, mount and network namespace and starts all
others, so the kernel itself guarantees that nothing outlives it: when it dies,
every process, mount, link and firewall rule of the cluster goes with it. Outside
there are only one folder, one end of a virtual cable and one control group.

Pods reach each other, Services and the node; there is no way out to any other
address. The pod network is a plain bridge, which does not enforce NetworkPolicy.
"""
