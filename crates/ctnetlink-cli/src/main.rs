//! The command `ctnetlink`.

fn main() -> std::process::ExitCode {
    ctnetlink_cli::run(std::env::args_os()).into()
}
