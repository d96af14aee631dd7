"""
What is to be done, as ordered lists of named facts.

``lifecycle`` comes first; then each stage in turn: preflight, training, optimize, rollout. A stage that is done says what it
has established and is passed; the first stage that is not done gives the verdict.
"""
