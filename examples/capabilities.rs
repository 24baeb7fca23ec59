//! Prints what this kernel's conntrack can be trusted with, on one screen.
//!
//! Changes nothing: what has to be tried out is tried out in a scratch namespace.

use std::process::ExitCode;

fn main() -> ExitCode {
    match ctnetlink::Conntrack::open().and_then(|ct| ct.capabilities()) {
        Ok(capabilities) => {
            println!("{capabilities}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
