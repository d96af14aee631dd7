"""A cluster in memory: objects, their changes, and the few controllers a BertJob needs."""

from bertjob_local.embedded.cluster import EmbeddedCluster
from bertjob_local.embedded.settings import Settings

__all__ = ["EmbeddedCluster", "Settings"]
