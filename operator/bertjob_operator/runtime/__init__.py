"""The controller's machinery: HTTP cluster, reflector, store, work queue, Lease."""
