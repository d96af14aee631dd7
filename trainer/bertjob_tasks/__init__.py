"""What each task is: reading, encoding, decoding, metrics; shared by trainer, optimize and predictor."""
