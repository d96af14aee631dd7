"""
A cluster of real parts on loopback, without containers and without root.

etcd, kube-apiserver, kube-controller-manager, kube-scheduler, KServe's manager and an S3 gateway run as
children of one supervising process, which ends them all when it is told to, when its owner ends, or when it
is killed itself.
"""

from bertjob_local.parts.cluster import ClusterFailedError, LocalCluster
from bertjob_local.parts.settings import ALL_PARTS, API_ONLY, Settings

__all__ = ["ALL_PARTS", "API_ONLY", "ClusterFailedError", "LocalCluster", "Settings"]
