"""The paper's experiments and its open questions, each a scenario that can be stopped and gone on with."""
