"""The bertjob command."""
