//! Prints what this kernel's conntrack can be trusted with, on one screen.
//!
//! Changes nothing: what has to be tried out is tried out in a scratch namespace.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("{}", ctnetlink::Conntrack::open()?.capabilities()?);
    Ok(())
}
