"""
How the processes of a run share one model: whole copies, or copies that are cut.

Every strategy computes the same steps: ``axes`` says who is where, ``starting`` cuts the model, ``strategy`` is what the loop
asks for. Torch's own parts do the work: DeviceMesh, ``parallelize_module``, ``fully_shard`` and the pipeline schedules.
"""
