//! End-to-end tests: the real programs, seen from outside.
