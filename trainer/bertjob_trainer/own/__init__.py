"""
Own training scripts: ``spec.training.command`` runs below ``python -m bertjob_trainer.own``, one for each worker.

The script gets inputs, a folder for checkpoints and a folder for its result by environment; what it leaves there goes to storage
and comes back after a loss. Nothing in here needs torch before the script has ended.
"""
