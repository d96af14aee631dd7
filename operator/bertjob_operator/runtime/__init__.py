"""
How the operator stays in touch with a cluster: HTTP API, watches, caches, work queue, leadership, health.

Knows nothing of BertJob. ``controller`` and what it needs work with any ``bertjob_api.cluster.Cluster``; only ``http``,
``auth``, ``health`` and ``metrics`` import anything beyond the standard library.
"""
