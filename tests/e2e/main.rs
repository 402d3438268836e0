//! End-to-end tests: the real programs, seen from outside.
//!
//! Every test has a namespace of its own, so all may run at once. Those with a broker or a database
//! of their own are in modules whose names end in `_faults`, or in `testkit::private`.

mod testkit;
