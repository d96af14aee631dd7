"""The process kubelet: pods as local processes, Services as local sockets."""

from bertjob_local.kubelet.kubelet import Kubelet
from bertjob_local.kubelet.settings import Settings

__all__ = ["Kubelet", "Settings"]
