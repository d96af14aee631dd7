"""
Elastic training on one node: the agent that starts, watches and restarts workers, and its rendezvous.

``pump``, ``budget``, ``machine`` and ``outcome`` need no torch; the others build on torch's elastic agent.
"""
