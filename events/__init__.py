"""The shared words: payload, delivery shapes, kinds, ids, signature, failures, runtime. Knows nobody."""
