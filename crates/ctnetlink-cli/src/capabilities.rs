//! `capabilities`.

use clap::Args;

use crate::failure::{Done, Failure};
use crate::options::Namespace;
use crate::output;

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Print them as JSON, as `Conntrack::use_capabilities` takes them
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(namespace: &Namespace, arguments: &Arguments) -> Result<Done, Failure> {
    let found = namespace.open()?.capabilities()?;
    output::print(&match arguments.json {
        true => serde_json::to_string(&found)?,
        false => found.to_string(),
    })
}
