"""HTTP on the node's own machine: what other programs use it through."""
