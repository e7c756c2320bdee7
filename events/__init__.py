"""The shared words: payload structs, delivery shapes, kinds, ids, signature, failures, runtime. Knows nobody."""
