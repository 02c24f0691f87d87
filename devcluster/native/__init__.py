"""One-node Kubernetes as plain processes in their own namespaces.

`init` is the first process of a PID, mount and network namespace and starts all
others, so the kernel guarantees that nothing outlives it: when it dies, every
process, mount, link and firewall rule of the cluster is removed. Outside these
namespaces exist only one folder, one end of a veth pair and one control group.

Pods reach each other, Services and the node, and no other address. The pod
network is a plain bridge, which does not enforce NetworkPolicy.
"""
