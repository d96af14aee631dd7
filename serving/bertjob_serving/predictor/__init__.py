"""The model server: text in, label and score out, on KServe's REST routes; torch is never loaded."""
