//! Nothing here: the benches are `*.rs` beside this file, run with `make bench`.
